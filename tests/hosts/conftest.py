"""Somebody else's application, with routes and a table of its own, into which Denizen is installed."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient

from denizen import Accounts, Installed, Scope, Settings, install
from denizen.core.deps import installs_of
from denizen.core.hashers import NullHasher
from denizen.keys.service import issue_key
from tests.conftest import BASE_URL, SECRET

MakeSettings = Callable[[str], Settings]


@pytest.fixture
def host() -> FastAPI:
    """The application of somebody else."""
    return FastAPI()


@pytest.fixture
async def accounts(host: FastAPI, settings: Settings) -> AsyncIterator[Installed]:
    """What is installed in it, under `/accounts`."""
    accounts = install(host, prefix="/accounts", settings=settings, hasher=NullHasher())
    yield accounts
    await accounts.close()


@pytest.fixture
async def client(host: FastAPI, accounts: Accounts) -> AsyncIterator[AsyncClient]:
    """A client of the host. No lifespan runs."""
    async with AsyncClient(transport=ASGITransport(host, raise_app_exceptions=False), base_url="http://host") as client:
        yield client


@pytest.fixture
def settings_of(tmp_path: Path, sqlite_template: Path) -> MakeSettings:
    """Settings for a database of its own, by a name."""

    def make(name: str) -> Settings:
        path = tmp_path / f"{name}.db"
        shutil.copy(sqlite_template, path)
        return Settings(
            _env_file=None,
            database_url=f"sqlite:///{path}",
            secret_key=SECRET,
            base_url=BASE_URL,
            allowed_hosts="testserver",
            signup_rate_per_address=0,
            signup_rate_total=0,
        )

    return make


@asynccontextmanager
async def reach(app: FastAPI) -> AsyncIterator[AsyncClient]:
    """A client of an application whose lifespan does not run. What is installed in it is closed at the end."""
    async with AsyncClient(transport=ASGITransport(app, raise_app_exceptions=False), base_url=BASE_URL) as client:
        yield client
    for accounts in installs_of(app):
        await accounts.close()


async def issue(accounts: Accounts, *scopes: Scope) -> dict[str, str]:
    """Make a key of an install, with all scopes unless some are named; gives the headers that carry it."""
    async with accounts.writing() as db:
        _, token = await issue_key(
            db, name="test", scopes=scopes or tuple(Scope), maker=None, expires_at=None, at=accounts.clock()
        )
    return {"Authorization": f"Bearer {token}"}


async def connect(app: Any, path: str, *messages: str, denies: bool = True, **headers: str) -> list[dict[str, Any]]:
    """Open a WebSocket as a server does, send messages and go away; give what comes back.

    Args:
        messages: text.
        denies: the server can answer instead of accepting.
    """
    told: list[dict[str, Any]] = []
    heard: list[dict[str, Any]] = [{"type": "websocket.receive", "text": message} for message in messages]
    heard = [{"type": "websocket.connect"}, *heard, {"type": "websocket.disconnect", "code": 1000}]

    async def receive() -> dict[str, Any]:
        return heard.pop(0)

    async def send(message: dict[str, Any]) -> None:
        told.append(message)

    scope: dict[str, Any] = {
        "type": "websocket",
        "scheme": "ws",
        "path": path,
        "root_path": "",
        "query_string": b"",
        "subprotocols": [],
    }
    scope["headers"] = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    scope["extensions"] = {"websocket.http.response": {}} if denies else {}
    await app(scope, receive, send)
    return told


def texts(told: list[dict[str, Any]]) -> list[str]:
    """Give what was sent over one that was accepted."""
    assert told[0]["type"] == "websocket.accept", told
    return [message["text"] for message in told if message["type"] == "websocket.send"]
