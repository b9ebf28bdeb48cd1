"""Hooks of a host: before the commit they can veto, after it they hear of nothing that was undone."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from uuid import UUID

import pytest
from fastapi import FastAPI
from httpx import AsyncClient
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm.session import JoinTransactionMode
from sqlalchemy.pool import NullPool

from denizen import (
    Accounts,
    Db,
    EmailTaken,
    Event,
    Forbidden,
    Here,
    Installed,
    Settings,
    User,
    UserCreated,
    UserErased,
    UsersImported,
    UserUpdate,
    change_user,
    create_account,
    erase_user,
    install,
)
from denizen.core.database import Database
from denizen.core.hashers import NullHasher
from denizen.sessions.service import open_session
from tests.hosts.conftest import issue

ADA = {"username": "ada", "email": "ada@example.org", "password": "correct horse battery"}


class NotOnTheList(Forbidden):
    """Who is not on the host's list."""

    code = "not_on_the_list"
    title = "Not on the list"


async def emails(accounts: Accounts) -> list[str | None]:
    """Who there is."""
    async with accounts.database.read.session() as db:
        return list(await db.scalars(select(User.email).order_by(User.email)))


async def test_a_hook_before_the_commit_can_veto(accounts: Installed, client: AsyncClient) -> None:
    after: list[Event] = []

    @accounts.on(UserCreated)
    async def look_up(db: AsyncSession, event: UserCreated) -> None:
        user = await db.get_one(User, event.user_id)
        if user.email == "eve@example.org":
            raise NotOnTheList("Ask at the door.")
        if user.email == "bug@example.org":
            raise ZeroDivisionError

    @accounts.after(UserCreated)
    async def greet(event: UserCreated) -> None:
        after.append(event)

    made = await client.post("/accounts/users/", json=ADA)
    vetoed = await client.post("/accounts/users/", json={**ADA, "username": "eve", "email": "eve@example.org"})
    broken = await client.post("/accounts/users/", json={**ADA, "username": "bug", "email": "bug@example.org"})
    await accounts.told()

    assert made.status_code == 201
    assert (vetoed.status_code, vetoed.json()["code"]) == (403, "not_on_the_list")
    assert (broken.status_code, broken.headers["content-type"]) == (500, "text/plain; charset=utf-8")
    assert await emails(accounts) == ["ada@example.org"]
    assert [str(event.user_id) for event in after if isinstance(event, UserCreated)] == [made.json()["id"]]


async def test_what_is_told_after_the_commit_cannot_change_the_answer(
    accounts: Installed, client: AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[str | None] = []

    @accounts.after(UserCreated)
    async def fail(event: UserCreated) -> None:
        raise ZeroDivisionError

    @accounts.after(Event)
    async def look(event: Event) -> None:
        heard.extend(await emails(accounts))  # it is committed

    with caplog.at_level(logging.ERROR):
        answer = await client.post("/accounts/users/", json=ADA)
        await accounts.close()  # which lets them end

    assert answer.status_code == 201
    assert "hook_failed" in caplog.text
    assert set(heard) == {"ada@example.org"}


async def test_nothing_is_told_of_what_a_host_undid(host: FastAPI, accounts: Installed, client: AsyncClient) -> None:
    heard: list[str] = []

    @accounts.after(Event)
    async def hear(event: Event) -> None:
        heard.append(type(event).__name__)

    @host.post("/pets/")
    async def adopt(here: Here, db: Db, email: str, fails: bool = False) -> None:
        ada = await create_account(here, db, username=None, email=email)
        with pytest.raises(EmailTaken):
            await create_account(here, db, username=None, email=email)
        with pytest.raises(ZeroDivisionError):  # noqa: PT012  (a whole savepoint, and one inside it that is released)
            async with db.begin_nested():
                async with db.begin_nested():
                    await erase_user(db, ada.id, versions=None)
                raise ZeroDivisionError
        async with db.begin_nested():
            await change_user(db, ada.id, UserUpdate(full_name="Ada"), versions=None, at=here.clock())
        assert heard == []
        if fails:
            raise ZeroDivisionError

    undone = await client.post("/pets/", params={"email": "eve@example.org", "fails": True})
    await accounts.told()
    assert (undone.status_code, heard) == (500, [])

    done = await client.post("/pets/", params={"email": "ada@example.org"})
    await accounts.told()
    assert (done.status_code, heard) == (200, ["UserCreated", "UserUpdated"])


@pytest.mark.parametrize("database_kind", ["postgresql"])
async def test_a_session_of_the_hosts_own_is_asked_what_became_of_it(accounts: Installed, settings: Settings) -> None:
    heard: list[str] = []

    @accounts.after(Event)
    async def hear(event: Event) -> None:
        heard.append(type(event).__name__)

    engine = create_async_engine(
        Database(settings.database_url).url.set(drivername="postgresql+psycopg"), poolclass=NullPool
    )
    async with async_sessionmaker(engine)() as db:
        accounts.adopt(db)
        await create_account(accounts, db, username=None, email="given-up@example.org")
        await db.close()  # without a word
        ada_id = (await create_account(accounts, db, username=None, email="ada@example.org")).id
        await db.commit()
        await accounts.told()
        assert heard == ["UserCreated"]
        await erase_user(db, ada_id, versions=None)
        await db.rollback()
        await change_user(db, ada_id, UserUpdate(full_name="Ada"), versions=None, at=accounts.clock())
        await db.commit()
    await engine.dispose()
    await accounts.told()

    assert heard == ["UserCreated", "UserUpdated"]
    assert await emails(accounts) == ["ada@example.org"]


Bound = Callable[[JoinTransactionMode], AbstractAsyncContextManager[tuple[AsyncConnection, AsyncSession]]]


@pytest.fixture
def bound(accounts: Installed, settings: Settings) -> Bound:
    """A session of the host's on a connection whose transaction has begun, as test suites and units of work have it."""

    @asynccontextmanager
    async def make(mode: JoinTransactionMode) -> AsyncIterator[tuple[AsyncConnection, AsyncSession]]:
        url = Database(settings.database_url).url.set(drivername="postgresql+psycopg")
        engine = create_async_engine(url, poolclass=NullPool)
        async with engine.connect() as connection:
            await connection.begin()
            async with AsyncSession(connection, join_transaction_mode=mode, expire_on_commit=False) as db:
                accounts.adopt(db)
                yield connection, db
        await engine.dispose()

    return make


@pytest.mark.parametrize("database_kind", ["postgresql"])
@pytest.mark.parametrize("mode", ["create_savepoint", "rollback_only"])
async def test_a_commit_inside_the_hosts_transaction_is_told_when_that_is_committed(
    accounts: Installed, bound: Bound, mode: JoinTransactionMode
) -> None:
    heard: list[str] = []

    @accounts.after(UserCreated)
    async def hear(event: UserCreated) -> None:
        async with accounts.database.read.session() as db:
            heard.append(str((await db.get_one(User, event.user_id)).username))  # it is there

    async def create(db: AsyncSession, name: str) -> None:
        await create_account(accounts, db, username=name, email=None)
        await db.commit()

    async with bound(mode) as (connection, db):
        await create(db, "undone")
        await connection.rollback()
        await connection.begin()
        await create(db, "ada")
        async with connection.begin_nested() as savepoint:
            await create(db, "eve")
            await savepoint.rollback()
        async with connection.begin_nested():
            await create(db, "kay")
        await accounts.told()
        assert heard == []
        await connection.commit()
        await accounts.told()
        assert heard == ["ada", "kay"]
        await connection.begin()
        await create(db, "mo")
    await accounts.told()

    assert heard == ["ada", "kay"]


@pytest.mark.parametrize("database_kind", ["postgresql"])
async def test_a_commit_that_the_database_refuses_is_told_to_nobody(accounts: Installed, bound: Bound) -> None:
    heard: list[Event] = []

    @accounts.after(Event)
    async def hear(event: Event) -> None:
        heard.append(event)

    async with bound("create_savepoint") as (connection, db):
        await connection.execute(text("CREATE TEMP TABLE one (id int UNIQUE DEFERRABLE INITIALLY DEFERRED)"))
        await connection.execute(text("INSERT INTO one VALUES (1), (1)"))
        await create_account(accounts, db, username=None, email="ada@example.org")
        await db.commit()
        with pytest.raises(IntegrityError):
            await connection.commit()
    await accounts.told()
    assert heard == []

    async with bound("control_fully") as (_, db):
        await create_account(accounts, db, username=None, email="ada@example.org")
        await db.commit()
    await accounts.told()
    assert len(heard) == 1


async def test_what_never_came_to_sqlalchemy_is_told_too(accounts: Installed, client: AsyncClient) -> None:
    """Sign-ins run compiled statements; on SQLite without a connection of SQLAlchemy's."""
    heard: list[str] = []
    ada = (await client.post("/accounts/users/", json=ADA)).json()

    @accounts.after(Event)
    async def hear(event: Event) -> None:
        heard.append(event.action)

    sent = {"username": "ada", "password": ADA["password"]}
    assert (await client.post("/accounts/auth/login", json=sent)).status_code == 200
    async with accounts.writing() as db:
        await open_session(accounts, db, UUID(ada["id"]), method="code", at=accounts.clock())
        await db.rollback()
    await accounts.told()

    assert heard == ["session.created"]


async def test_a_batch_is_vetoed_operation_by_operation_and_an_import_as_a_whole(
    accounts: Installed, client: AsyncClient
) -> None:
    heard: list[str] = []

    @accounts.on(UserCreated)
    async def refuse(db: AsyncSession, event: UserCreated) -> None:
        if (await db.get_one(User, event.user_id)).username == "eve":
            raise NotOnTheList("Ask at the door.")

    @accounts.after(Event)
    async def hear(event: Event) -> None:
        heard.append(event.action)

    operations = [
        {"op": "create", "user": {"username": name, "email": f"{name}@example.org"}} for name in ("ada", "eve", "kay")
    ]
    all_may = await issue(accounts)
    await accounts.told()
    heard.clear()

    batch = await client.post("/accounts/users/batch", json={"operations": operations}, headers=all_may)
    await accounts.told()

    assert [result["status"] for result in batch.json()["results"]] == [201, 403, 201], batch.text
    assert await emails(accounts) == ["ada@example.org", "kay@example.org"]
    assert heard == ["user.created", "user.created"]
    heard.clear()

    @accounts.on(UsersImported)
    async def refuse_whole(db: AsyncSession, event: UsersImported) -> None:
        if len(event.user_ids) > 1:
            raise NotOnTheList("One at a time.")

    csv = {**all_may, "content-type": "text/csv"}
    vetoed = await client.post("/accounts/users/import", content="username\nmo\nlu\n", headers=csv)
    taken = await client.post("/accounts/users/import", content="username\nju\n", headers=csv)
    await accounts.told()

    assert vetoed.json()["error"]["code"] == "not_on_the_list"
    assert json.loads(taken.text.splitlines()[-1])["summary"]["created"] == 1
    assert heard == ["users.imported"]


def test_what_can_be_no_hook_is_refused_when_it_is_registered(host: FastAPI, settings: Settings) -> None:
    accounts = install(host, settings=settings, hasher=NullHasher())

    def forget(db: AsyncSession, event: UserErased) -> None:
        """Not awaited."""

    with pytest.raises(TypeError, match=r"write `async def` for '.*forget'"):
        accounts.on(UserErased)(forget)  # type: ignore[arg-type]  # what is tested
    with pytest.raises(TypeError, match=r"such as denizen\.UserCreated, and not for 'user\.created'"):
        accounts.after("user.created")(forget)  # type: ignore[arg-type]  # what is tested
