"""What `docs/embedding.md` promises to a host: its own rows and ours in one transaction, its own errors as they are."""

from __future__ import annotations

import asyncio
import traceback
from typing import Any
from uuid import UUID

import pytest
from fastapi import FastAPI, Response
from httpx import AsyncClient
from sqlalchemy import ForeignKey, func, insert, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from denizen import Accounts, CurrentCaller, Db, EmailTaken, Here, ReadDb, Settings, User, create_account, install
from denizen.app import create_app
from denizen.core.failures import RowRefused
from denizen.core.hashers import NullHasher
from denizen.migrations.errors import SchemaNotReady
from denizen.settings import SettingsError
from tests.conftest import MakeKey


class HostBase(DeclarativeBase):
    """The host's own."""


class Pet(HostBase):
    """A table of the host that points to ours."""

    __tablename__ = "pets"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    owner_id: Mapped[UUID] = mapped_column(ForeignKey(User.id, ondelete="CASCADE"))


@pytest.fixture
async def pets(host: FastAPI, accounts: Accounts) -> None:
    """The host's table and its routes."""
    async with accounts.writing() as db:
        await (await db.connection()).run_sync(HostBase.metadata.tables["pets"].create)

    @host.post("/pets/", status_code=201)
    async def adopt(accounts: Here, db: Db, email: str, name: str) -> dict[str, str]:
        owner = await create_account(accounts, db, username=None, email=email)
        db.add(Pet(name=name, owner_id=owner.id))
        return {"owner": str(owner.id)}

    @host.post("/pets/unless-taken", status_code=201)
    async def adopt_anyway(accounts: Here, db: Db, email: str, name: str) -> dict[str, bool]:
        owner = await db.scalar(select(User).where(User.email_key == "ada@example.org"))
        try:
            owner = await create_account(accounts, db, username=None, email=email)
        except EmailTaken:
            taken = True
        else:
            taken = False
        assert owner is not None
        db.add(Pet(name=name, owner_id=owner.id))
        return {"taken": taken}

    @host.get("/pets/count")
    async def count(db: ReadDb) -> int:
        return (await db.scalar(select(func.count()).select_from(Pet))) or 0


@pytest.mark.usefixtures("pets")
async def test_a_hosts_row_and_an_account_are_stored_together(client: AsyncClient) -> None:
    answer = await client.post("/pets/", params={"email": "ada@example.org", "name": "Byron"})

    assert answer.status_code == 201, answer.text
    assert (await client.get("/pets/count")).json() == 1


@pytest.mark.usefixtures("pets")
async def test_neither_is_stored_when_one_is_refused(client: AsyncClient) -> None:
    await client.post("/pets/", params={"email": "ada@example.org", "name": "Byron"})

    answer = await client.post("/pets/", params={"email": "ADA@example.org", "name": "Puff"})

    assert answer.status_code == 409
    assert answer.json()["code"] == "email_taken"
    assert (await client.get("/pets/count")).json() == 1


@pytest.mark.usefixtures("pets")
async def test_a_host_can_catch_a_conflict_and_go_on(client: AsyncClient) -> None:
    await client.post("/pets/", params={"email": "ada@example.org", "name": "Byron"})

    answer = await client.post("/pets/unless-taken", params={"email": "ada@example.org", "name": "Puff"})

    assert answer.json() == {"taken": True}
    assert (await client.get("/pets/count")).json() == 2


async def test_a_hosts_reading_route_cannot_write(host: FastAPI, client: AsyncClient) -> None:
    @host.delete("/everybody")
    async def sweep(db: ReadDb) -> None:
        await db.execute(text("DELETE FROM denizen_users"))

    assert (await client.delete("/everybody")).status_code == 500


async def test_a_host_asks_who_is_calling(host: FastAPI, client: AsyncClient, make_key: MakeKey) -> None:
    @host.get("/me")
    async def read_me(caller: CurrentCaller) -> str:
        return str(caller.id)

    assert (await client.get("/me")).status_code == 401
    assert (await client.get("/me", headers=await make_key())).status_code == 200


async def test_a_hosts_own_timeout_is_not_told_as_the_databases(host: FastAPI, client: AsyncClient) -> None:
    @host.exception_handler(TimeoutError)
    async def answer_timeout(*_: object) -> Response:
        return Response("the weather service is slow", status_code=504)

    @host.get("/weather")
    async def read_weather(db: Db) -> None:
        async with asyncio.timeout(0.001):
            await asyncio.sleep(1)

    assert (await client.get("/weather")).status_code == 504


async def test_an_unexpected_error_tells_a_hosts_log_nothing_of_a_person(accounts: Accounts) -> None:
    ada = User(email="ada@example.org", created_at=accounts.clock(), updated_at=accounts.clock())
    ada.hashed_password = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA"

    with pytest.raises((DBAPIError, RowRefused)) as raised:
        async with accounts.writing() as db:
            await db.execute(insert(User).values(id=ada.id, email=ada.email, hashed_password=ada.hashed_password))

    said = "".join(traceback.format_exception(raised.value))
    assert "denizen_users" in said
    assert "ada@example.org" not in said
    assert "$argon2id" not in said


@pytest.mark.parametrize("database_kind", ["postgresql"])
async def test_pools_talk_under_sqlalchemys_name(accounts: Accounts) -> None:
    await accounts.database.ping()

    opened: Any = accounts.database.opened
    assert opened._readers.pool.logger.name.startswith("sqlalchemy.pool")


@pytest.mark.parametrize("database_kind", ["postgresql"])
async def test_a_host_on_postgresql_without_a_secret_does_not_start(database_url: str) -> None:
    host = FastAPI()
    install(host, settings=Settings(_env_file=None, database_url=database_url), hasher=NullHasher())

    with pytest.raises(SettingsError, match="DENIZEN_SECRET_KEY must be set"):
        async with host.router.lifespan_context(host):
            pass


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_a_start_that_is_refused_leaves_nothing_open(host: FastAPI, accounts: Accounts) -> None:
    async with accounts.writing() as db:
        await db.execute(text("DELETE FROM denizen_schema"))

    with pytest.raises(SchemaNotReady):
        async with host.router.lifespan_context(host):
            pass

    assert accounts.database.opened is None


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_a_server_that_has_offered_its_link_starts_while_another_process_writes(settings: Settings) -> None:
    app = create_app(settings, hasher=NullHasher())
    async with app.router.lifespan_context(app):
        pass
    other = create_app(settings, hasher=NullHasher())
    busy = install(FastAPI(), settings=settings, hasher=NullHasher())

    async with busy.writing() as db:
        await db.execute(text("UPDATE denizen_roles SET name = name"))
        async with asyncio.timeout(2), other.router.lifespan_context(other):
            pass
    await busy.close()
