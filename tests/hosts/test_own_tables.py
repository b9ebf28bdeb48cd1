"""A host's tables refer to ours, by foreign keys and by relationships, across two metadatas."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from fastapi import FastAPI
from httpx import AsyncClient
from sqlalchemy import ForeignKey, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, backref, mapped_column, relationship, selectinload

from denizen import Accounts, Settings, User, create_account, install
from denizen.core.hashers import NullHasher
from denizen.users.states import erase_due
from tests.conftest import Clock
from tests.hosts.conftest import issue


class Base(DeclarativeBase):
    """The host's own, with a metadata of its own."""


class Note(Base):
    """Goes with its owner; its reviewer's place is emptied."""

    __tablename__ = "host_notes"

    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[UUID] = mapped_column(ForeignKey(User.id, ondelete="CASCADE"))
    reviewer_id: Mapped[UUID | None] = mapped_column(ForeignKey(User.id, ondelete="SET NULL"))
    owner: Mapped[User] = relationship(User, foreign_keys=owner_id, backref=backref("host_notes", passive_deletes=True))


class Page(Base):
    """Goes with its note."""

    __tablename__ = "host_pages"

    id: Mapped[int] = mapped_column(primary_key=True)
    note_id: Mapped[int] = mapped_column(ForeignKey(Note.id, ondelete="CASCADE"))


class Contract(Base):
    """Keeps its signer, and by default its witness."""

    __tablename__ = "host_contracts"

    id: Mapped[int] = mapped_column(primary_key=True)
    signer_id: Mapped[UUID | None] = mapped_column(ForeignKey(User.id, ondelete="RESTRICT"))
    witness_id: Mapped[UUID | None] = mapped_column(ForeignKey(User.id))
    clerk_id: Mapped[UUID | None] = mapped_column(ForeignKey(User.id, ondelete="SET DEFAULT"))


@pytest.fixture
async def accounts(host: FastAPI, settings: Settings, clock: Clock) -> AsyncIterator[Accounts]:
    accounts = install(host, settings=settings, hasher=NullHasher(), clock=clock)
    async with accounts.writing() as db:
        await (await db.connection()).run_sync(Base.metadata.create_all)
    yield accounts
    await accounts.close()


async def make(accounts: Accounts, *names: str) -> list[UUID]:
    async with accounts.writing() as db:
        return [
            (await create_account(accounts, db, username=name, email=None, password="s3cr3t of " + name)).id
            for name in names
        ]


async def test_relationships_go_both_ways(accounts: Accounts) -> None:
    """With the rows of both in one transaction, loaded eagerly either way."""
    async with accounts.writing() as db:
        ada = await create_account(accounts, db, username="ada", email="ada@example.org")
        db.add_all([Note(id=1, owner=ada), Note(id=2, owner_id=ada.id)])

    async with accounts.database.read.session() as db:
        note = (await db.scalars(select(Note).where(Note.id == 1).options(selectinload(Note.owner)))).one()
        user = (await db.scalars(select(User).options(selectinload(User.host_notes)))).one()  # type: ignore[attr-defined]  # the back reference
        joined = await db.execute(select(User.username, Note.id).join(Note.owner).order_by(Note.id))

        assert note.owner is user
        assert sorted(each.id for each in user.host_notes) == [1, 2]  # type: ignore[attr-defined]  # as above
        assert joined.all() == [("ada", 1), ("ada", 2)]


async def test_foreign_keys_act_at_the_erasure_and_restrict_at_the_deletion(
    accounts: Accounts, client: AsyncClient, clock: Clock
) -> None:
    ada, eve = await make(accounts, "ada", "eve")
    async with accounts.writing() as db:
        db.add_all([Note(id=1, owner_id=ada), Note(id=2, owner_id=eve, reviewer_id=ada)])
        db.add_all([Contract(id=1, signer_id=ada), Contract(id=2, witness_id=ada), Contract(id=3, clerk_id=ada)])
        await db.flush()
        db.add_all([Page(id=1, note_id=1), Page(id=2, note_id=1), Page(id=3, note_id=2)])
    client.headers.update(await issue(accounts))

    async def plan() -> tuple[bool, set[tuple[str, int, str]]]:
        told = (await client.delete(f"/users/{ada}?dry_run=true")).json()
        tables = [each for each in told["tables"] if each["table"].startswith("host_")]
        return told["refused"], {(each["table"], each["rows"], each["action"]) for each in tables}

    reached = {
        ("host_notes", 1, "deleted"), ("host_notes", 1, "emptied"), ("host_pages", 2, "deleted"),
        ("host_contracts", 1, "reset"),
    }  # fmt: skip
    assert await plan() == (True, reached | {("host_contracts", 2, "refused")})
    for kept in (1, 2):
        assert (await client.delete(f"/users/{ada}")).json()["code"] == "user_in_use"
        async with accounts.writing() as db:
            await db.delete(await db.get_one(Contract, kept))
    assert await plan() == (False, reached)

    assert (await client.delete(f"/users/{ada}")).status_code == 204
    async with accounts.writing() as db:
        assert await db.scalar(select(func.count()).select_from(Page)) == 3
        clock.turn(days=30)
        assert await erase_due(accounts, db, accounts.clock(), 10) == 1

    async with accounts.database.read.session() as db:
        assert [(each.id, each.reviewer_id) for each in await db.scalars(select(Note))] == [(2, None)]
        assert list(await db.scalars(select(Page.id))) == [3]
        assert [(each.id, each.clerk_id) for each in await db.scalars(select(Contract))] == [(3, None)]
