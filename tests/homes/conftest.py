"""One application in three settings: Denizen inside it, Denizen elsewhere, and a made-up one.

A test that takes `place` runs in all of them, embedded and remote on both databases.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI

from denizen import Accounts, Scope, install, remote
from denizen.app import create_app
from denizen.core.deps import installs_of
from denizen.core.hashers import NullHasher
from denizen.elsewhere.home import RemoteHome
from denizen.keys.service import issue_key
from denizen.testing import Clock, FakeHome, FakePerson, SignedIn, make_person
from denizen.users.states import delete_user, suspend_user
from tests.conftest import BASE_URL
from tests.homes.sample import make_app

Who = SignedIn | FakePerson


class Place(ABC):
    """The application, and what a test does to the people who use it."""

    def __init__(self, app: FastAPI, clock: Clock) -> None:
        self.app = app
        self.clock = clock
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://host"
        )

    @abstractmethod
    async def make_person(self, *permissions: str, **fields: Any) -> Who:
        """Somebody who has signed in."""

    @abstractmethod
    async def make_key(self, *scopes: str) -> dict[str, str]:
        """Headers of an operator's key."""

    @abstractmethod
    async def suspend(self, who: Who) -> None:
        """Keep somebody out; whoever remembers him is told."""

    @abstractmethod
    async def delete(self, who: Who) -> None:
        """Let somebody be gone; whoever remembers him is told."""

    async def close(self) -> None:
        """Let go of everything."""
        await self.client.aclose()


class Installed(Place):
    """Denizen is inside the application, or in another one that is reached over HTTP."""

    def __init__(self, app: FastAPI, clock: Clock, accounts: Accounts, home: RemoteHome | None = None) -> None:
        super().__init__(app, clock)
        self.accounts = accounts
        self.home = home

    async def make_person(self, *permissions: str, **fields: Any) -> Who:
        return await make_person(self.accounts, *permissions, **fields)

    async def make_key(self, *scopes: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {await issue(self.accounts, *scopes)}"}

    async def suspend(self, who: Who) -> None:
        async with self.accounts.writing() as db:
            await suspend_user(db, who.id, reason=None, until=None, at=self.clock(), caller=None)
        self._tell(who.id)

    async def delete(self, who: Who) -> None:
        async with self.accounts.writing() as db:
            await delete_user(self.accounts, db, who.id, versions=None, at=self.clock(), caller=None)
        self._tell(who.id)

    def _tell(self, user_id: UUID) -> None:
        if self.home is not None:
            self.home.forget(user_id)

    async def close(self) -> None:
        await super().close()
        if self.home is not None:
            await self.home.close()
        await self.accounts.close()


class Faked(Place):
    """Everybody is made up."""

    def __init__(self, app: FastAPI, clock: Clock) -> None:
        super().__init__(app, clock)
        self.home = FakeHome(clock=clock).attach(app)

    async def make_person(self, *permissions: str, **fields: Any) -> Who:
        return self.home.make_person(*permissions, **fields)

    async def make_key(self, *scopes: str) -> dict[str, str]:
        return self.home.make_key(*scopes).headers

    async def suspend(self, who: Who) -> None:
        assert isinstance(who, FakePerson)
        self.home.change(who, suspended_at=self.clock())

    async def delete(self, who: Who) -> None:
        assert isinstance(who, FakePerson)
        self.home.remove(who)


SERVICE = (Scope.TOKENS_INTROSPECT, Scope.USERS_READ)
"""What the key of a service that asks elsewhere may do."""
PLACES = ["embedded-sqlite", "embedded-postgresql", "remote-sqlite", "remote-postgresql", "faked-sqlite"]


@pytest.fixture
def clock() -> Clock:
    """The clock of everybody: of the application, its home, and the server elsewhere."""
    return Clock(datetime(2026, 1, 31, 9, 30, 0, 123456, tzinfo=UTC))


@pytest.fixture(params=PLACES)
def place_name(request: pytest.FixtureRequest) -> str:
    """Where Denizen runs, and on which database."""
    name: str = request.param
    return name


@pytest.fixture
def database_kind(request: pytest.FixtureRequest) -> str:
    """That of the place; SQLite where a test is about one kind of place alone."""
    if "place_name" not in request.fixturenames:
        return "sqlite"
    name: str = request.getfixturevalue("place_name")
    return name.partition("-")[2]


async def issue(accounts: Accounts, *scopes: Any) -> str:
    """Make an operator's key; gives its token."""
    async with accounts.writing() as db:
        _, token = await issue_key(db, name="x", scopes=scopes, maker=None, expires_at=None, at=accounts.clock())
    return token


@pytest.fixture
async def place(place_name: str, clock: Clock, request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    """The sample application in one of its settings."""
    app = make_app()
    kind = place_name.partition("-")[0]
    if kind == "faked":
        made: Place = Faked(app, clock)
    elif kind == "embedded":
        settings = request.getfixturevalue("settings")
        made = Installed(
            app, clock, install(app, prefix="/accounts", settings=settings, hasher=NullHasher(), clock=clock)
        )
    else:
        server = create_app(request.getfixturevalue("settings"), hasher=NullHasher(), clock=clock)
        (accounts,) = installs_of(server)
        key = await issue(accounts, *SERVICE)
        transport = httpx.ASGITransport(server)
        home = remote(BASE_URL, key, transport=transport, insecure=True, clock=clock).attach(app)
        made = Installed(app, clock, accounts, home)
    yield made
    await made.close()
