"""Runs `denizen serve` as its operators do, in processes of its own, on a database that a test breaks."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil

from denizen.core.assembly import assemble
from denizen.core.auth import Scope
from denizen.core.hashers import NullHasher
from denizen.features import FEATURES
from denizen.keys.service import issue_key
from denizen.settings import PREFIX, Settings
from denizen.users.service import create_account
from tests.conftest import SECRET
from tests.server.running import ROOT, free_port

PASSWORD = "correct horse battery"

T = TypeVar("T")


@dataclass
class Served:
    """A server. It can be killed and started again, on the same port and database.

    Attributes:
        command: what runs it, if not `denizen serve`; the port follows.
    """

    environment: dict[str, str]
    folder: Path
    port: int
    token: str
    command: tuple[str, ...] = ("denizen", "serve")
    process: subprocess.Popen[bytes] | None = None
    clients: list[httpx.AsyncClient | Wire] = field(default_factory=list)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self.folder / "server.log").read_text()

    @property
    def family(self) -> list[psutil.Process]:
        """The process and its workers."""
        assert self.process is not None
        parent = psutil.Process(self.process.pid)
        return [parent, *parent.children(recursive=True)]

    def client(self, *, key: bool = True, timeout: float = 30) -> httpx.AsyncClient:
        """A client with as many connections as it likes."""
        headers = {"Authorization": f"Bearer {self.token}"} if key else {}
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=200)
        client = httpx.AsyncClient(base_url=self.base_url, headers=headers, timeout=timeout, limits=limits)
        self.clients.append(client)
        return client

    async def start(self) -> None:
        """Start it, and return once it answers."""
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(  # noqa: ASYNC220  (killed and waited for without a loop, too)
                [sys.executable, "-m", *self.command, "--port", str(self.port)],
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        async with httpx.AsyncClient(base_url=self.base_url) as client:
            for _ in range(1200):
                assert self.process.poll() is None, self.log
                with suppress(httpx.TransportError):
                    if (await client.get("/healthz")).status_code == 200:
                        return
                await asyncio.sleep(0.05)
        raise AssertionError(self.log)

    def kill(self) -> None:
        """Kill it and its workers at once, as a crash does."""
        for process in self.family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        assert self.process is not None
        self.process.wait(10)

    async def stop(self) -> int:
        """Ask it to end, as an operator does; give its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(self.process.wait, 20)


@asynccontextmanager
async def serving(
    folder: Path, database_url: str, *, command: tuple[str, ...] = ("denizen", "serve"), **settings: Any
) -> AsyncIterator[Served]:
    """Run a server on a migrated database until the block ends; its settings are given without their prefix."""
    port = free_port()
    chosen = {
        "database_url": database_url,
        "secret_key": SECRET,
        "base_url": f"http://127.0.0.1:{port}",
        "signup_rate_per_address": 0,
        "signup_rate_total": 0,
        "log_format": "json",
        **settings,
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    kept["PYTHONPATH"] = str(ROOT)
    environment = kept | {PREFIX + name.upper(): str(value) for name, value in chosen.items()}
    server = Served(environment, folder, port, await make_token(database_url), command)
    try:
        await server.start()
        yield server
    finally:
        for client in server.clients:
            await client.aclose()
        if server.process is not None and server.process.poll() is None:
            server.kill()


def _settings(database_url: str) -> Settings:
    return Settings(_env_file=None, database_url=database_url, secret_key=SECRET)


async def make_token(database_url: str) -> str:
    """Make an API key with every scope, past any server."""
    accounts = assemble(_settings(database_url), FEATURES)
    try:
        async with accounts.writing(timeout=30) as db:
            at = accounts.clock()
            return (await issue_key(db, name="t", scopes=tuple(Scope), maker=None, expires_at=None, at=at))[1]
    finally:
        await accounts.close()


async def make_people(database_url: str, count: int) -> list[str]:
    """Store accounts without passwords, past any server; give their ids."""
    accounts = assemble(_settings(database_url), FEATURES, hasher=NullHasher())
    try:
        async with accounts.writing(timeout=30) as db:
            people = [
                await create_account(accounts, db, username=f"seed{n}", email=f"seed{n}@example.org")
                for n in range(count)
            ]
            return [str(user.id) for user in people]
    finally:
        await accounts.close()


class Wire:
    """One connection that is kept, and nothing else: many of these cost a test less than what they try."""

    def __init__(self, server: Served) -> None:
        server.clients.append(self)
        self._server = server
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        """Make a request with the key; give the answer's status and body."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._server.port)
        reader, writer = self._streams
        content = b"" if body is None else json.dumps(body).encode()
        writer.write(
            f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {self._server.token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n".encode()
            + content
        )
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = re.search(r"\ncontent-length: (\d+)", head)
        answer = await reader.readexactly(int(length[1])) if length else b""
        return int(head.split(" ", 2)[1]), answer

    async def aclose(self) -> None:
        """Drop the connection, whatever it is in the middle of."""
        if self._streams is not None:
            self._streams[1].transport.abort()


def person(name: object) -> dict[str, str]:
    """What signs somebody up."""
    return {"username": f"p{name}", "email": f"p{name}@example.org", "password": PASSWORD}


async def together(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Do all at once, and leave nothing running when one of them fails."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each) for each in work]
    return [task.result() for task in tasks]


@dataclass
class Answered:
    """An answer, and the seconds it took."""

    response: httpx.Response
    seconds: float

    @property
    def status(self) -> int:
        return self.response.status_code


async def timed(request: Awaitable[httpx.Response]) -> Answered:
    """Measure a request."""
    began = time.monotonic()
    return Answered(await request, time.monotonic() - began)


async def until(check: Callable[[], Awaitable[bool]], *, within: float) -> float:
    """Ask again and again until `check` holds; give the seconds it took."""
    began = time.monotonic()
    while time.monotonic() - began < within:
        if await check():
            return time.monotonic() - began
        await asyncio.sleep(0.05)
    raise AssertionError(f"not within {within} s")


def check_unavailable(answered: Answered, *, within: float = 3.0) -> None:
    """Hold an answer to the promise: a 503 with `Retry-After`, in time, as a problem document.

    Args:
        within: seconds.
    """
    assert answered.status == 503, answered.response.text
    assert answered.seconds < within
    assert int(answered.response.headers["retry-after"]) >= 1
    assert answered.response.headers["content-type"] == "application/problem+json"
    assert answered.response.json()["status"] == 503
