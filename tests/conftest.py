"""What every test stands on: a real, migrated database of its own, on SQLite and on PostgreSQL, and the application.

One migrated SQLite file and one migrated PostgreSQL database are made a run (a worker); each test gets a copy.
Production middleware stays on; passwords are hashed by `NullHasher` unless a test asks for argon2id.
"""

from __future__ import annotations

import gc
import os
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import hypothesis
import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient
from sqlalchemy import delete

from denizen.app import create_app
from denizen.core.accounts import Accounts
from denizen.core.auth import Scope
from denizen.core.deps import installs_of
from denizen.core.hashers import NullHasher
from denizen.keys.service import issue_key
from denizen.mail.models import Mail
from denizen.migrations import runner
from denizen.onetime.models import OneTimeToken
from denizen.roles.schemas import RoleCreate
from denizen.roles.service import define_role, grant_roles
from denizen.sessions.service import open_session
from denizen.settings import Settings
from denizen.users.service import create_account
from tests.postgres import Postgres
from tests.ready import ReadyDatabases
from tests.sharing import SHARING, share_what_is_made_once

# Commands and servers that tests start read what the first of them compiled, whatever the shell around us wishes.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Property tests look for wrong answers; how long one example takes on a busy machine is not their business.
hypothesis.settings.register_profile("denizen", deadline=None)
hypothesis.settings.load_profile("denizen")

share_what_is_made_once()

SECRET = "kX7v2Qm9Lp4Zr8Tn3Wc6Yb1Hd5Gf0SaJe"
BASE_URL = "http://testserver"

PATIENT: dict[str, Any] = {
    "database_timeout": 30,
    "database_connect_timeout": 30,
    "database_pool_timeout": 30,
    "database_statement_timeout": 30,
    "database_lock_timeout": 30,
}
"""Settings for tests of races, in which a busy machine must not be told from a wrong answer."""

MakeKey = Callable[..., Awaitable[dict[str, str]]]
MakeUser = Callable[..., Awaitable[dict[str, Any]]]


@dataclass(frozen=True)
class Person:
    """Somebody who has signed in.

    Attributes:
        headers: that carry the sign-in.
    """

    id: UUID
    username: str
    headers: dict[str, str]


MakePerson = Callable[..., Awaitable[Person]]


ALIKE = (
    "tests/batch/test_run_batch.py::test_thousand_at_once",
    "tests/cli/",
    "tests/homes/",
    "tests/hostile/",
    "tests/mail/",
    "tests/metrics/",
    "tests/roles/test_define_roles.py",
    "tests/search/test_find_users.py",
    "tests/transfer/test_export_",
    "tests/transfer/test_import_over_http.py",
    "tests/transfer/test_import_users.py",
    "tests/transfer/test_import_worst_files.py",
    "tests/transfer/test_resume_import.py",
    "tests/transfer/test_transfer_commands.py",
)
"""Tests of what is decided outside of a database for the most part: held to both, to PostgreSQL by `make test-all`."""


LATER = (
    "tests/account/",
    "tests/audit/",
    "tests/founder/",
    "tests/hosts/",
    "tests/housekeeping/",
    "tests/idempotency/",
    "tests/invitations/",
    "tests/jobs/",
    "tests/keys/",
    "tests/passwordless/",
    "tests/profiles/",
    "tests/refresh/",
    "tests/roles/",
    "tests/search/",
    "tests/sessions/",
    "tests/signing/",
    "tests/signup/",
    "tests/transfer/",
)
"""Tests whose half on PostgreSQL is among the slow ones: the rooms below them show on both what these stand on."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put these halves where they belong; whatever is thorough is slow as well."""
    for item in items:
        given = getattr(item, "callspec", None)
        if given is not None and given.params.get("database_kind") == "postgresql":
            if item.nodeid.startswith(ALIKE):
                item.add_marker(pytest.mark.thorough)
            elif item.nodeid.startswith(LATER):
                item.add_marker(pytest.mark.slow)
        if item.get_closest_marker("thorough") is not None:
            item.add_marker(pytest.mark.slow)


def pytest_collection_finish() -> None:
    """Let the collector of garbage look at what tests make, and not at the modules over and over again: that takes a
    sixth of the time of all tests.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """asyncio on uvloop, as in production."""
    return ("asyncio", {"use_uvloop": True})


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the environment nor a `.env` of whoever runs the tests has a say."""
    for name in list(os.environ):
        if name.startswith("DENIZEN_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server for this run."""
    with Postgres() as server:
        yield server


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty SQLite file."""
    path = tmp_path_factory.mktemp("template") / "template.db"
    runner.create(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgres_template(postgres: Postgres) -> str:
    """The name of a migrated, empty database."""
    runner.upgrade(postgres.create_database("template_migrated"))
    return "template_migrated"


@pytest.fixture(scope="session")
def ready_databases(postgres: Postgres, postgres_template: str) -> Iterator[ReadyDatabases]:
    """Migrated, empty databases to use again and again."""
    databases = ReadyDatabases(postgres, postgres_template)
    yield databases
    databases.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_kind(request: pytest.FixtureRequest) -> str:
    """Which of the two databases; a test that takes it runs on both."""
    kind: str = request.param
    return kind


@pytest.fixture
def database_url(database_kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A migrated, empty database of this test alone."""
    if database_kind == "sqlite":
        path = tmp_path / "denizen.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite:///{path}"
        return
    databases: ReadyDatabases = request.getfixturevalue("ready_databases")
    name = databases.lend()
    yield request.getfixturevalue("postgres").url(name)
    databases.take_back(name)


class Clock:
    """A clock that stands still until a test turns it."""

    def __init__(self) -> None:
        self.at = datetime(2026, 1, 31, 9, 30, 0, 123456, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at

    def turn(self, **by: float) -> None:
        """Turn it on, by what `timedelta` takes."""
        self.at += timedelta(**by)


@pytest.fixture
def clock() -> Clock:
    """The application's clock."""
    return Clock()


@pytest.fixture
def overrides() -> dict[str, Any]:
    """Settings that a module of tests wants otherwise: it defines this fixture anew."""
    return {}


@pytest.fixture
def settings(database_url: str, overrides: dict[str, Any]) -> Settings:
    """Settings for this test's database."""
    chosen = {
        "base_url": BASE_URL,
        "signup_rate_per_address": 0,
        "signup_rate_total": 0,
        "allowed_hosts": "testserver",
        **overrides,
    }
    # Read once for each choice: to read and check them all takes longer than most tests do.
    known = repr(sorted(chosen.items()))
    if known not in _SETTINGS:
        _SETTINGS[known] = Settings(_env_file=None, database_url=database_url, secret_key=SECRET, **chosen)
    return _SETTINGS[known].model_copy(update={"database_url": database_url})


_SETTINGS: dict[str, Settings] = {}


@pytest.fixture
async def app(settings: Settings, clock: Clock) -> AsyncIterator[FastAPI]:
    """The standalone application, whole. No lifespan runs: it is opened on first use."""
    app = create_app(settings, hasher=NullHasher(), clock=clock)
    SHARING.add(app)
    yield app
    for accounts in installs_of(app):
        await accounts.close()


@pytest.fixture
def accounts(app: FastAPI) -> Accounts:
    """The install inside the application."""
    return installs_of(app)[0]


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[AsyncClient]:
    """A client without credentials."""
    async with AsyncClient(transport=ASGITransport(app, raise_app_exceptions=False), base_url=BASE_URL) as client:
        yield client


@pytest.fixture
def make_key(accounts: Accounts) -> MakeKey:
    """Make an API key; gives the headers that carry it."""

    async def make(*scopes: Scope, expires_in: timedelta | None = None) -> dict[str, str]:
        at = accounts.clock()
        async with accounts.writing() as db:
            _, token = await issue_key(
                db,
                name="test",
                scopes=scopes or tuple(Scope),
                maker=None,
                expires_at=at + expires_in if expires_in else None,
                at=at,
            )
        return {"Authorization": f"Bearer {token}"}

    return make


@pytest.fixture
async def admin(client: AsyncClient, make_key: MakeKey) -> AsyncClient:
    """The client, with a key that has every scope."""
    client.headers.update(await make_key())
    return client


@pytest.fixture
def make_user(client: AsyncClient, accounts: Accounts) -> MakeUser:
    """Sign somebody up; gives the account as answered. The letter that he is sent is thrown away."""
    count = iter(range(1, 1_000_000))

    async def make(**fields: Any) -> dict[str, Any]:
        number = next(count)
        body = {
            "username": f"person{number}",
            "email": f"person{number}@example.org",
            "password": "correct horse battery",
            **fields,
        }
        answer = await client.post("/users/", json=body)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        async with accounts.writing() as db:
            await db.execute(delete(Mail).where(Mail.user_id == UUID(made["id"])))
            await db.execute(delete(OneTimeToken).where(OneTimeToken.user_id == UUID(made["id"])))
        return made

    return make


@pytest.fixture
def make_person(accounts: Accounts) -> MakePerson:
    """Make an account without a password that has signed in, and may do some things.

    `make_person("users:read", roles=["admin"])`: a role of its own for its permissions, beside those named.
    """
    count = iter(range(1, 1_000_000))

    async def make(*permissions: str, roles: Sequence[str] = (), **fields: Any) -> Person:
        number = next(count)
        username = f"somebody{number}"
        at = accounts.clock()
        async with accounts.writing() as db:
            user = await create_account(
                accounts, db, **{"username": username, "email": f"{username}@example.org", **fields}
            )
            names = list(roles)
            if permissions:
                data = RoleCreate(name=f"of-{username}", permissions=set(permissions))
                names.append((await define_role(db, data, caller=None, at=at)).name)
            await grant_roles(db, user.id, names, caller=None, at=at)
            if not user.is_active:
                return Person(user.id, username, {})
            _, token = await open_session(accounts, db, user.id, method="password", at=at)
        return Person(user.id, username, {"Authorization": f"Bearer {token}"})

    return make
