"""A migrated database for each test, the application on it, and people who have signed in.

On SQLite; on PostgreSQL where TEST_DATABASE_URL names a server on which databases may be made:
postgresql://user:password@host/postgres
"""

import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from pathlib import Path

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient

from denizen import Accounts
from denizen.testing import Clock, NullHasher, SignedIn, make_person, make_settings
from notes.app import create_app

SERVER = os.environ.get("TEST_DATABASE_URL", "")
TEMPLATE, COPY = "notes_template", "notes_test"

MakePerson = Callable[..., Awaitable[SignedIn]]
Write = Callable[..., Awaitable[int]]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


def alembic(act: str, url: str, *arguments: str) -> None:
    """Run a command of Alembic on a database, with the application's own history."""
    config = Config(Path(__file__).parents[1] / "alembic.ini")
    config.attributes["url"] = url  # which env.py takes, instead of the one of DENIZEN_DATABASE_URL
    getattr(command, act)(config, *arguments)


def on_server(statement: str) -> None:
    with psycopg.connect(SERVER, autocommit=True) as connection:
        connection.execute(statement.encode())


def named(database: str) -> str:
    """The URL of another database on the same server."""
    return SERVER.rpartition("/")[0] + "/" + database


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a database on which all migrations have run."""
    if not SERVER:
        url = f"sqlite:///{tmp_path_factory.mktemp('template')}/{TEMPLATE}.db"
        alembic("upgrade", url, "heads")
        yield url
        return
    on_server(f"DROP DATABASE IF EXISTS {TEMPLATE} WITH (FORCE)")
    on_server(f"CREATE DATABASE {TEMPLATE}")
    url = named(TEMPLATE)
    alembic("upgrade", url, "heads")
    yield url
    on_server(f"DROP DATABASE {TEMPLATE} WITH (FORCE)")


@pytest.fixture
def database_url(template: str, tmp_path: Path) -> Iterator[str]:
    """The URL of a copy for one test."""
    if not SERVER:
        shutil.copy(template.removeprefix("sqlite:///"), tmp_path / f"{COPY}.db")
        yield f"sqlite:///{tmp_path}/{COPY}.db"
        return
    on_server(f"DROP DATABASE IF EXISTS {COPY} WITH (FORCE)")
    on_server(f"CREATE DATABASE {COPY} TEMPLATE {TEMPLATE}")
    yield named(COPY)
    on_server(f"DROP DATABASE {COPY} WITH (FORCE)")


@pytest.fixture
async def app(database_url: str, tmp_path: Path) -> AsyncIterator[FastAPI]:
    settings = make_settings(tmp_path, database_url=database_url)
    app = create_app(settings, hasher=NullHasher(), clock=Clock())
    yield app
    await app.state.accounts.close()


@pytest.fixture
def accounts(app: FastAPI) -> Accounts:
    accounts: Accounts = app.state.accounts
    return accounts


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(transport=ASGITransport(app), base_url="http://testserver") as client:
        yield client


@pytest.fixture
def person(accounts: Accounts) -> MakePerson:
    """`await person("notes:moderate", username="ada")`: somebody who may do that, and has signed in."""

    async def make(*permissions: str, username: str, roles: Iterable[str] = ()) -> SignedIn:
        return await make_person(accounts, *permissions, username=username, roles=roles)

    return make


@pytest.fixture
def write(client: AsyncClient) -> Write:
    """Write a note into somebody's newest notebook; gives its id."""

    async def write(author: SignedIn, title: str = "A note") -> int:
        notebooks = await client.get("/notebooks/", headers=author.headers)
        path = f"/notebooks/{notebooks.json()['items'][0]['id']}/notes/"
        written = await client.post(path, json={"title": title}, headers=author.headers)
        assert written.status_code == 201, written.text
        return int(written.json()["id"])

    return write
