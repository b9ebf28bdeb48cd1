"""What a host does wrong is told when it starts, with what to change."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any, get_type_hints

import pytest
from fastapi import APIRouter, FastAPI
from httpx import ASGITransport, AsyncClient
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from denizen import (
    Accounts,
    CurrentUser,
    Db,
    Dependencies,
    Installed,
    Settings,
    UserUpdate,
    change_user,
    create_account,
    delete_user,
    erase_user,
    get_user,
    get_user_by_email,
    install,
    restore_user,
    suspend_user,
)
from denizen.core.hashers import NullHasher
from denizen.core.ids import new_id
from denizen.migrations import runner
from denizen.migrations.errors import SchemaNotReady
from tests.conftest import BASE_URL
from tests.hosts.conftest import MakeSettings

USES: list[Callable[[Accounts, Any], Awaitable[object]]] = [
    lambda accounts, db: create_account(accounts, db, username="ada", email=None),
    lambda accounts, db: change_user(db, new_id(), UserUpdate(full_name="Ada"), versions=None, at=accounts.clock()),
    lambda accounts, db: erase_user(db, new_id(), versions=None),
    lambda accounts, db: delete_user(accounts, db, new_id(), versions=None, at=accounts.clock()),
    lambda accounts, db: restore_user(db, new_id(), at=accounts.clock()),
    lambda accounts, db: suspend_user(db, new_id(), at=accounts.clock()),
    lambda _, db: get_user(db, new_id()),
    lambda _, db: get_user_by_email(db, "ada@example.org"),
]


async def test_what_is_no_async_session_is_refused_before_anything_is_asked_of_it(accounts: Accounts) -> None:
    engine = create_engine("sqlite://")
    with Session(engine) as session:
        with pytest.raises(TypeError, match=r"this is a sqlalchemy\.orm\.session\.Session: take `Db`"):
            accounts.adopt(session)  # type: ignore[arg-type]  # what is tested
        for use in USES:
            with pytest.raises(TypeError, match="Denizen works in an AsyncSession"):
                await use(accounts, session)
            with pytest.raises(TypeError, match=r"a denizen\.core\.database\.Database: take"):
                await use(accounts, accounts.database)
    engine.dispose()


def test_features_are_known_by_name(settings: Settings) -> None:
    with pytest.raises(ValueError, match=r"There is no feature 'session'\. Did you mean 'sessions'\?"):
        install(FastAPI(), settings=settings, features=["users", "session"])
    with pytest.raises(ValueError, match=r"There is no feature 'xyz'\. There are account, audit, "):
        install(FastAPI(), settings=settings, features=["xyz"])
    with pytest.raises(TypeError, match=r"several: features=\['users'\]"):
        install(FastAPI(), settings=settings, features="users")
    with pytest.raises(TypeError, match="named by text, and not by 7"):
        install(FastAPI(), settings=settings, features=[7])  # type: ignore[list-item]  # what is tested


def test_arguments_of_the_wrong_kind_are_refused(settings: Settings) -> None:
    with pytest.raises(TypeError, match="this is of APIRouter"):
        install(APIRouter(), settings=settings)  # type: ignore[arg-type]  # what is tested
    with pytest.raises(TypeError, match=r"Settings are a denizen\.Settings, and this is of dict"):
        install(FastAPI(), settings={})  # type: ignore[arg-type]  # what is tested
    with pytest.raises(TypeError, match="A prefix is text"):
        install(FastAPI(), prefix=None, settings=settings)  # type: ignore[arg-type]  # what is tested


async def test_two_installs_on_one_database_are_refused(host: FastAPI, accounts: Accounts, settings: Settings) -> None:
    with pytest.raises(ValueError, match=r"under '/accounts' and under '/people' on one database .* give each its own"):
        install(host, prefix="/people", settings=settings)

    inner = FastAPI()
    install(inner, settings=settings, hasher=NullHasher())
    host.mount("/inner", inner)
    with pytest.raises(ValueError, match="on one database"):
        async with host.router.lifespan_context(host):
            pass


@pytest.fixture
def both(settings_of: MakeSettings) -> FastAPI:
    """A host with two installs."""
    app = FastAPI()
    for name in ("staff", "guests"):
        install(app, prefix=f"/{name}", settings=settings_of(name), hasher=NullHasher())
    return app


@asynccontextmanager
async def starting(app: FastAPI) -> AsyncIterator[None]:
    """The lifespan of an application."""
    async with app.router.lifespan_context(app):
        yield


async def test_a_route_that_could_mean_either_of_two_installs_is_named_at_the_start(both: FastAPI) -> None:
    router = APIRouter(prefix="/pets")

    @router.post("/")
    async def adopt(db: Db) -> None: ...

    @router.get("/mine")
    async def show(user: CurrentUser, db: Annotated[AsyncSession, Dependencies("/nowhere").read_db]) -> None: ...

    both.include_router(router, prefix="/v1")
    expected = r"(?s)GET /v1/pets/mine: .*say which one you mean, by what `install` returned"

    with pytest.raises(LookupError, match=expected):
        async with starting(both):
            pass

    async with AsyncClient(transport=ASGITransport(both), base_url=BASE_URL) as client:
        with pytest.raises(LookupError, match=r"POST /v1/pets/: "):  # no lifespan runs: the first use is the start
            await client.post("/staff/users/", json={"username": "ada", "email": "ada@example.org"})
    both.dependency_overrides = dict.fromkeys((*dependencies(adopt), *dependencies(show)), lambda: None)
    async with starting(both):
        pass


def dependencies(endpoint: Any) -> list[Any]:
    """What the annotations of an endpoint call."""
    hints = get_type_hints(endpoint, include_extras=True)
    return [each.__metadata__[0].dependency for name, each in hints.items() if name != "return"]


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_a_mounted_application_has_no_install_of_its_own(host: FastAPI, accounts: Installed) -> None:
    inner = FastAPI()
    host.mount("/inner", inner)

    @inner.get("/mine")
    async def show(user: Annotated[object, accounts.current_user]) -> None: ...

    async with starting(host):
        pass

    @inner.get("/pets")
    async def list_pets(db: Db) -> None: ...

    with pytest.raises(LookupError, match=r"GET /inner/pets: Denizen is not installed in the application that has"):
        async with starting(host):
            pass


async def test_a_database_that_nobody_migrated_is_refused_at_the_start(host: FastAPI, settings: Settings) -> None:
    runner.downgrade(settings.database_url, "base")
    install(host, settings=settings, hasher=NullHasher())

    with pytest.raises(SchemaNotReady, match="denizen migrate up"):
        async with starting(host):
            pass
