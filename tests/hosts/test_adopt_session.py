"""A host's own session: bound to an install, its listeners hear in the same transaction what happens."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from uuid import UUID

import pytest
from fastapi import FastAPI
from sqlalchemy import ForeignKey, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.pool import NullPool

from denizen import (
    Accounts,
    EmailTaken,
    Settings,
    User,
    UserUpdate,
    change_user,
    create_account,
    delete_user,
    erase_user,
    install,
)
from denizen.core.database import Database
from denizen.core.events import Event
from denizen.core.feature import Feature
from denizen.core.hashers import NullHasher
from denizen.features import FEATURES
from denizen.users.errors import UserInUse
from tests.hosts.conftest import MakeSettings

Begin = Callable[[], AbstractAsyncContextManager[AsyncSession]]


class NotesBase(DeclarativeBase):
    """The listener's own."""


class Note(NotesBase):
    """What a listener heard, written where it happened."""

    __tablename__ = "notes"

    id: Mapped[int] = mapped_column(primary_key=True)
    event: Mapped[str]
    user_id: Mapped[UUID]


class Pet(NotesBase):
    """What keeps its owner's account from being erased."""

    __tablename__ = "pets"

    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[UUID] = mapped_column(ForeignKey(User.id, ondelete="RESTRICT"))


async def note(db: AsyncSession, event: Event) -> None:
    """Write what happened beside it."""
    db.add(Note(event=type(event).__name__, user_id=event.user_id))  # type: ignore[attr-defined]  # the users' events
    await db.flush()


@pytest.fixture
async def accounts(host: FastAPI, settings: Settings) -> AsyncIterator[Accounts]:
    """An install with a listener, and the listener's table."""
    accounts = install(
        host, settings=settings, features=(*FEATURES, Feature("notes", listeners=(note,))), hasher=NullHasher()
    )
    async with accounts.writing() as db:
        await (await db.connection()).run_sync(NotesBase.metadata.create_all)
    yield accounts
    await accounts.close()


@pytest.fixture
async def begin(settings: Settings) -> AsyncIterator[Begin]:
    """Begin a transaction of the host's own, which its install knows nothing of."""
    url = Database(settings.database_url).url
    if url.get_backend_name() == "postgresql":
        engine = create_async_engine(url.set(drivername="postgresql+psycopg"), poolclass=NullPool)
        yield async_sessionmaker(engine).begin
        await engine.dispose()
    else:
        own = Database(url)
        yield own.write.begin
        await own.close()


async def notes(accounts: Accounts) -> list[str]:
    """What was heard, in order."""
    async with accounts.database.read.session() as db:
        return list(await db.scalars(select(Note.event).order_by(Note.id)))


async def people(accounts: Accounts) -> list[str | None]:
    """Who there is."""
    async with accounts.database.read.session() as db:
        return list(await db.scalars(select(User.email)))


async def test_what_happens_in_a_hosts_session_is_heard_in_its_transaction(accounts: Accounts, begin: Begin) -> None:
    async with begin() as db:
        accounts.adopt(db)
        ada = await create_account(accounts, db, username=None, email="ada@example.org")
        eve = await create_account(accounts, db, username=None, email="eve@example.org")
        await change_user(db, ada.id, UserUpdate(full_name="Ada"), versions=None, at=accounts.clock())
        await erase_user(db, eve.id, versions=None)
        assert await notes(accounts) == []  # nothing of it is committed, by us least of all

    assert await notes(accounts) == ["UserCreated", "UserCreated", "UserUpdated", "UserDeleted", "UserErased"]
    assert await people(accounts) == ["ada@example.org"]


async def test_what_a_host_has_not_written_yet_comes_before_an_erasure(accounts: Accounts, begin: Begin) -> None:
    async with begin() as db:
        db.autoflush = True  # as a session is by default
        ada = await create_account(accounts, db, username=None, email="ada@example.org")
        pet = Pet(owner_id=ada.id)
        db.add(pet)
        await db.flush()
        await db.delete(pet)
        await erase_user(db, ada.id, versions=None)

    assert await people(accounts) == []


async def test_erasure_that_a_hosts_row_refuses_was_not_heard_and_the_host_goes_on(
    accounts: Accounts, begin: Begin
) -> None:
    async with begin() as db:
        ada = await create_account(accounts, db, username=None, email="ada@example.org")
        db.add(Pet(owner_id=ada.id))
        await db.flush()
        for refused in (
            erase_user(db, ada.id, versions=None),
            delete_user(accounts, db, ada.id, versions=None, at=accounts.clock()),
        ):
            with pytest.raises(UserInUse):
                await refused

    assert await notes(accounts) == ["UserCreated"]
    assert await people(accounts) == ["ada@example.org"]


async def test_what_was_heard_is_undone_with_a_hosts_transaction(accounts: Accounts, begin: Begin) -> None:
    with pytest.raises(ZeroDivisionError):  # noqa: PT012  (a whole transaction)
        async with begin() as db:
            await create_account(accounts, db, username=None, email="ada@example.org")
            assert list(await db.scalars(select(Note.event))) == ["UserCreated"]
            raise ZeroDivisionError

    assert await notes(accounts) == []
    assert await people(accounts) == []


async def test_what_a_host_undoes_in_a_savepoint_was_not_heard(accounts: Accounts, begin: Begin) -> None:
    async with begin() as db:
        await create_account(accounts, db, username=None, email="ada@example.org")
        with pytest.raises(ZeroDivisionError):  # noqa: PT012  (a whole savepoint)
            async with db.begin_nested():
                await create_account(accounts, db, username=None, email="eve@example.org")
                raise ZeroDivisionError
        with pytest.raises(EmailTaken):
            await create_account(accounts, db, username=None, email="ADA@example.org")

    assert await notes(accounts) == ["UserCreated"]
    assert await people(accounts) == ["ada@example.org"]


async def test_creating_an_account_binds_the_session(accounts: Accounts, begin: Begin) -> None:
    async with begin() as db:
        ada = await create_account(accounts, db, username=None, email="ada@example.org")
        await erase_user(db, ada.id, versions=None)

    assert await notes(accounts) == ["UserCreated", "UserDeleted", "UserErased"]


async def test_a_session_that_nobody_bound_is_refused_with_what_to_do(accounts: Accounts, begin: Begin) -> None:
    async with accounts.writing() as db:
        ada = await create_account(accounts, db, username=None, email="ada@example.org")

    with pytest.raises(LookupError, match=r"nobody would hear of UserDeleted. .* say `accounts.adopt\(db\)` first"):
        async with begin() as db:
            await erase_user(db, ada.id, versions=None)

    assert await people(accounts) == ["ada@example.org"]


async def test_a_listener_that_raises_undoes_the_hosts_work(settings: Settings, begin: Begin) -> None:
    async def refuse(db: AsyncSession, event: Event) -> None:
        raise PermissionError

    accounts = install(FastAPI(), settings=settings, features=(Feature("strict", listeners=(refuse,)),))
    with pytest.raises(PermissionError):
        async with begin() as db:
            await create_account(accounts, db, username=None, email="ada@example.org")

    assert await people(accounts) == []
    await accounts.close()


async def test_a_session_is_bound_to_one_install(host: FastAPI, accounts: Accounts, settings_of: MakeSettings) -> None:
    guests = install(host, prefix="/guests", settings=settings_of("guests"), hasher=NullHasher())
    try:
        async with accounts.writing() as db:
            accounts.adopt(db)
            with pytest.raises(ValueError, match="belongs to the install under '', not to the one under '/guests'"):
                await create_account(guests, db, username=None, email="ada@example.org")
    finally:
        await guests.close()
