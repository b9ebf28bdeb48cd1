"""People who sign in, with Denizen and with fastapi-users, and the tokens they get."""

from __future__ import annotations

import json
import secrets
import sqlite3
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import urlencode

from ..contenders import Denizen
from ..databases import Databases
from ..processes import Server
from ..wire import Answer, Client, Request
from .environment import python_of

PASSWORD = "correct horse battery staple"
PEOPLE = 50


class Bearers(Protocol):
    """One application whose people sign in."""

    name: str
    server: Server

    def sign_ins(self) -> Iterator[Request]:
        """Yield a sign-in of each, with the right password."""

    def reads(self) -> Iterator[Request]:
        """Yield `GET /users/me` of each."""


def token_of(answer: Answer) -> str:
    """Return the token of a sign-in.

    Raises:
        RuntimeError: it was refused.
    """
    if answer.status != 200:
        raise RuntimeError(f"A sign-in was answered {answer.status}: {answer.body[:300]!r}")
    return str(answer.json()["access_token"])


@dataclass
class DenizenBearers:
    """People of a Denizen that has been filled already; its server is up."""

    denizen: Denizen
    name: str = "denizen"
    tokens: list[str] = field(init=False, default_factory=list)
    _names: list[str] = field(init=False, default_factory=list)

    @property
    def server(self) -> Server:
        """Denizen's own."""
        return self.denizen.server

    def prepare(self) -> None:
        """Make the people, and sign each in."""
        batch = secrets.token_hex(4)
        self._names = [f"bearer-{batch}-{number}" for number in range(PEOPLE)]
        with Client(self.server.port, timeout=60) as client:
            for name in self._names:
                body = {"username": name, "email": f"{name}@example.com", "password": PASSWORD}
                made = client.ask(Request("POST", "/users/", self.denizen.token, json.dumps(body)))
                if made.status != 201:
                    raise RuntimeError(f"{made.status} {made.body[:300]!r}")
            self.tokens = [token_of(client.ask(each)) for each in self.sign_ins()]

    def sign_ins(self) -> Iterator[Request]:
        for name in self._names:
            yield Request("POST", "/auth/login", body=json.dumps({"username": name, "password": PASSWORD}))

    def reads(self) -> Iterator[Request]:
        return (Request("GET", "/users/me", token) for token in self.tokens)


@dataclass
class PeerBearers:
    """People of the application under `fastapi_users`, with so many others beside them."""

    databases: Databases
    folder: Path
    users: int
    name: str = "fastapi-users"
    server: Server = field(init=False)
    tokens: list[str] = field(init=False, default_factory=list)
    _url: str = field(init=False)

    def __post_init__(self) -> None:
        self._url = self.databases.create("peer")
        driver = self._url.replace("sqlite:", "sqlite+aiosqlite:").replace("postgresql:", "postgresql+asyncpg:")
        module = "benchmarks.peers.fastapi_users.main:app"
        options = ["--no-access-log", "--log-level", "warning", "--port"]
        self.server = Server(
            [str(python_of("fastapi_users")), "-m", "uvicorn", module, *options],
            settings={"PEER_DATABASE_URL": driver.partition("?")[0]},
            folder=self.folder,
            probe="/openapi.json",
        )

    def fill(self, encoded: str) -> None:
        """Put everybody in; the server is down before and after.

        Args:
            encoded: the hash of `PASSWORD`, which all have.
        """
        self.server.start()  # makes the tables
        self.server.stop()
        rows = ((str(uuid.uuid4()), f"person{number}@example.com", encoded) for number in range(self.users))
        columns = "id, email, hashed_password, is_active, is_superuser, is_verified"
        if self.databases.kind == "sqlite":
            with sqlite3.connect(self._url.removeprefix("sqlite:///")) as connection:
                connection.executemany(f'INSERT INTO "user" ({columns}) VALUES (?, ?, ?, 1, 0, 1)', rows)
            connection.close()
            return
        import psycopg

        with (
            psycopg.connect(self._url) as server,
            server.cursor().copy(f'COPY "user" ({columns}) FROM STDIN') as copy,
        ):
            for row in rows:
                copy.write_row((*row, True, False, True))
        self.databases.settle("peer")

    def prepare(self) -> None:
        """Sign each in."""
        with Client(self.server.port, timeout=60) as client:
            self.tokens = [token_of(client.ask(each)) for each in self.sign_ins()]

    def sign_ins(self) -> Iterator[Request]:
        for number in range(PEOPLE):
            form = urlencode({"username": f"person{number}@example.com", "password": PASSWORD})
            yield Request("POST", "/auth/login", body=form)

    def reads(self) -> Iterator[Request]:
        return (Request("GET", "/users/me", token) for token in self.tokens)
