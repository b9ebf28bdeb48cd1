"""Who is measured: the tutorial's application and Denizen, how each fills its database, and what each is asked."""

from __future__ import annotations

import json
import random
import secrets
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from .databases import Databases
from .people import make_people, write
from .processes import Run, Server, run
from .wire import Client, Request

Case = Literal["one user", "list of 10", "list of 100", "who is this bearer", "create"]
CASES: tuple[Case, ...] = ("one user", "list of 10", "list of 100", "who is this bearer", "create")
REQUESTS = 20_000
"""How many different requests a case sends in turn: of 100,000 people, every fifth or so."""
PAGE = 1000
PASSWORD = "correct horse battery staple"


class Contender(Protocol):
    """One application under measurement, on one database."""

    name: str
    server: Server

    def fill(self, users: int) -> None:
        """Make the database and put `users` people into it; the server is down before and after."""

    def requests(self, case: Case) -> Iterator[Request]:
        """Yield the requests of a case, in random order from a fixed seed; the server is up."""


def draw(users: int) -> random.Random:
    """Return the generator that picks people: the same for both contenders."""
    return random.Random(users)


def creates(bearer: str) -> Iterator[Request]:
    """Yield creates of people who exist nowhere yet."""
    batch = secrets.token_hex(4)
    for number in range(REQUESTS):
        name = f"new-{batch}-{number}"
        body = {"username": name, "email": f"{name}@example.com", "full_name": "Nia New", "password": PASSWORD}
        yield Request("POST", "/users/", bearer, json.dumps(body))


@dataclass
class Tutorial:
    """The application under `peers/tutorial`, on Uvicorn with uvloop and httptools and without an access log."""

    databases: Databases
    folder: Path
    name: str = "tutorial"
    server: Server = field(init=False)
    _url: str = field(init=False)
    _users: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self._url = self.databases.create("tutorial")
        command = ["-m", "uvicorn", "benchmarks.peers.tutorial.main:app", "--no-access-log", "--log-level", "warning"]
        self.server = Server(
            [sys.executable, *command, "--port"],
            settings={"TUTORIAL_DATABASE_URL": self._url},
            folder=self.folder,
            probe="/openapi.json",
        )

    def fill(self, users: int) -> None:
        self.server.start()  # makes the table
        self.server.stop()
        self._users = users
        rows = (
            (person.username, person.email, person.full_name, f"fake:{PASSWORD}", True) for person in make_people(users)
        )
        columns = "username, email, full_name, hashed_password, is_active"
        if self.databases.kind == "sqlite":
            with sqlite3.connect(self._url.removeprefix("sqlite:///")) as connection:
                connection.executemany(f"INSERT INTO users ({columns}) VALUES (?, ?, ?, ?, ?)", rows)
            connection.close()
            return
        import psycopg

        with psycopg.connect(self._url) as server, server.cursor().copy(f"COPY users ({columns}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        self.databases.settle("tutorial")

    def requests(self, case: Case) -> Iterator[Request]:
        pick = draw(self._users)
        match case:
            case "one user":
                return (Request("GET", f"/users/{pick.randint(1, self._users)}") for _ in range(REQUESTS))
            case "list of 10":
                return iter([Request("GET", "/users/?skip=0&limit=10")])
            case "list of 100":
                return iter([Request("GET", "/users/?skip=0&limit=100")])
            case "who is this bearer":
                names = [person.username for person in make_people(self._users) if person.username.isascii()]
                return (Request("GET", "/users/me", pick.choice(names)) for _ in range(REQUESTS))
            case "create":
                return creates("")


@dataclass
class Denizen:
    """`denizen serve`, with an API key that may read and write users on every request."""

    databases: Databases
    folder: Path
    name: str = "denizen"
    server: Server = field(init=False)
    token: str = field(init=False, default="")
    ids: list[str] = field(init=False, default_factory=list)
    _settings: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        secret = secrets.token_urlsafe(48)
        self._settings = {"DENIZEN_DATABASE_URL": self.databases.create(self.name), "DENIZEN_SECRET_KEY": secret}
        command = [sys.executable, "-m", "denizen", "serve", "--host", "127.0.0.1", "--port"]
        self.server = Server(command, settings=self._settings, folder=self.folder, probe="/healthz")

    @property
    def url(self) -> str:
        """Of its database."""
        return self._settings["DENIZEN_DATABASE_URL"]

    def run(self, *command: str, pinned: bool = True) -> Run:
        """Run a `denizen` command to its end."""
        started = [sys.executable, "-m", "denizen", *command]
        return run(started, settings=self._settings, folder=self.folder, pinned=pinned)

    def prepare(self) -> None:
        """Make the empty database and a key."""
        if self.databases.kind == "sqlite":
            self.server.start()  # a fresh file is made by `serve` alone
            self.server.stop()
        else:
            self.run("migrate", "up")
        self.token = make_key(self)

    def people(self, users: int, *, start: int = 0) -> Path:
        """Return a CSV file of people, written at the first call."""
        path = self.folder / f"people-{start}-{users}.csv"
        if not path.exists():
            write(make_people(users, start=start), path)
        return path

    def take(self, users: int, *, start: int = 0) -> Run:
        """Import `users` people without passwords from a CSV file, the first of them number `start`."""
        done = self.run("users", "import", str(self.people(users, start=start)))
        self.databases.settle(self.name)
        return done

    def fill(self, users: int) -> None:
        self.prepare()
        self.take(users)

    def requests(self, case: Case) -> Iterator[Request]:
        if not self.ids:
            self.ids = list(walk(self.server.port, self.token))
        pick = draw(len(self.ids))
        match case:
            case "one user":
                return (Request("GET", f"/users/{pick.choice(self.ids)}", self.token) for _ in range(REQUESTS))
            case "list of 10":
                return iter([Request("GET", "/users/?skip=0&limit=10", self.token)])
            case "list of 100":
                return iter([Request("GET", "/users/?skip=0&limit=100", self.token)])
            case "who is this bearer":
                return (Request("GET", "/keys/current", token) for token in make_keys(self.server.port, self.token))
            case "create":
                return creates(self.token)


def make_key(denizen: Denizen) -> str:
    """Make an API key and return its token."""
    done = denizen.run("keys", "create", "--name", "bench", "--scopes", "all", "--json")
    return str(json.loads(done.output)["token"])


def make_keys(port: int, token: str, count: int = 50) -> Iterator[str]:
    """Make more keys, so that not the same one is looked up again and again, and yield their tokens."""
    with Client(port, bearer=token) as client:
        for number in range(count):
            made = client.ask(Request("POST", "/keys/", body=f'{{"name": "bench-{number}", "scopes": ["users:read"]}}'))
            yield str(made.json()["token"])


def walk(port: int, token: str) -> Iterator[str]:
    """Yield the id of every user, page by page along the cursors."""
    with Client(port, bearer=token) as client:
        path = f"/users/?limit={PAGE}"
        while path:
            page = client.get(path)
            if page.status != 200:
                raise RuntimeError(f"{path} answered {page.status}: {page.body[:500]!r}")
            yield from (user["id"] for user in page.json())
            cursor = page.headers.get("x-next-cursor")
            path = f"/users/?limit={PAGE}&cursor={cursor}" if cursor else ""
