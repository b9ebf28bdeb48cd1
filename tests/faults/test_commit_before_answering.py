"""The answer leaves after the commit: what it says is so, and where the commit fails it says that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI
from httpx import ASGITransport, AsyncClient
from sqlalchemy import text

from denizen.app import install
from denizen.core.accounts import Accounts
from denizen.core.auth import Scope
from denizen.core.database import Database
from denizen.core.deps import Db, installs_of
from denizen.core.hashers import NullHasher
from denizen.settings import Settings
from denizen.users.models import User
from tests.conftest import BASE_URL, PATIENT, Clock, MakeKey, MakeUser
from tests.core.ground import checked_out
from tests.faults.serving import make_people, serving

FAILS_AT_COMMIT = {
    "sqlite": [
        "CREATE TABLE tied (user_id TEXT REFERENCES nobody (id) DEFERRABLE INITIALLY DEFERRED)",
        "CREATE TABLE nobody (id TEXT PRIMARY KEY)",
        "CREATE TRIGGER tie AFTER INSERT ON denizen_users BEGIN INSERT INTO tied VALUES (NEW.id); END",
    ],
    "postgresql": [
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not today'; END $$",
        """CREATE CONSTRAINT TRIGGER tie AFTER INSERT ON denizen_users DEFERRABLE INITIALLY DEFERRED
           FOR EACH ROW EXECUTE FUNCTION refuse()""",
    ],
}
"""What lets a row be written and refuses it only when the transaction ends."""


@pytest.mark.parametrize("database_kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True)
async def test_the_row_is_there_when_the_answer_is(database_url: str, tmp_path: Path) -> None:
    """Another connection, another worker, past the server: whoever looks after the answer sees the change."""
    (user_id,) = await make_people(database_url, 1)
    direct = Database(database_url)
    async with serving(tmp_path, database_url, workers=2) as server:
        writer, readers = server.client(), [server.client() for _ in range(4)]
        for number in range(20):
            answer = await writer.patch(f"/users/{user_id}", json={"full_name": f"Name {number}"})
            async with direct.read.session() as db:
                stored = await db.get_one(User, user_id, populate_existing=True)
            seen = await asyncio.gather(*(reader.get(f"/users/{user_id}") for reader in readers))

            assert answer.status_code == 200
            assert {each.json()["full_name"] for each in seen} == {f"Name {number}"} == {stored.full_name}
    await direct.close()


async def test_a_commit_that_fails_is_never_a_201(client: AsyncClient, accounts: Accounts, make_user: MakeUser) -> None:
    await make_user()
    async with accounts.database.write.begin() as db:
        for statement in FAILS_AT_COMMIT[accounts.database.kind]:
            await db.execute(text(statement))

    answer = await client.post(
        "/users/", json={"username": "ada", "email": "ada@example.org", "password": "correct horse battery"}
    )

    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "internal_error"
    assert "location" not in answer.headers
    async with accounts.database.write.begin() as db:
        assert (await db.execute(text("SELECT username FROM denizen_users"))).scalars().all() == ["person1"]


class Broken(Exception):
    """Raised by a host's route."""


async def late() -> AsyncIterator[str]:
    """A dependency that fails when the answer is built."""
    yield "late"
    raise Broken


@pytest.fixture
def overrides() -> dict[str, Any]:
    """A hundred at once wait for each other, and are not to be told so."""
    return PATIENT


@pytest.fixture
async def host(settings: Settings, clock: Clock) -> AsyncIterator[FastAPI]:
    """A host whose own routes write through our session, and fail in every way."""
    host = FastAPI()
    install(host, prefix="/accounts", settings=settings, hasher=NullHasher(), clock=clock)

    @host.post("/raise/{kind}")
    async def fail(kind: str, db: Db) -> dict[str, str]:
        await db.execute(text("UPDATE denizen_users SET full_name = :kind"), {"kind": kind})
        if kind == "raise":
            raise Broken
        if kind == "statement":
            await db.execute(text("SELECT nonsense"))
        if kind == "answer":
            return {"not": object()}  # type: ignore[dict-item]  # the mistake to be found
        if kind == "cancel":
            raise asyncio.CancelledError
        return {"kind": kind}

    @host.post("/late")
    async def fail_late(db: Db, _: Annotated[str, Depends(late, scope="function")]) -> None:
        await db.execute(text("UPDATE denizen_users SET full_name = 'late'"))

    yield host
    for accounts in installs_of(host):
        await accounts.close()


@pytest.mark.slow
async def test_whatever_a_route_raises_undoes_its_work(host: FastAPI, settings: Settings) -> None:
    (accounts,) = installs_of(host)
    await make_people(settings.database_url, 1)
    statuses: dict[str, set[int]] = {}

    async def names() -> list[Any]:
        async with accounts.database.read.session() as db:
            return list((await db.execute(text("SELECT full_name FROM denizen_users"))).scalars())

    async with AsyncClient(transport=ASGITransport(host, raise_app_exceptions=False), base_url=BASE_URL) as client:
        for path in ("raise/raise", "raise/statement", "raise/answer", "late"):
            answers = await asyncio.gather(*(client.post(f"/{path}") for _ in range(100)))
            statuses[path] = {answer.status_code for answer in answers}
        for _ in range(20):
            with pytest.raises(asyncio.CancelledError):
                await client.post("/raise/cancel")
        assert await names() == [None]
        assert (await client.post("/raise/none")).status_code == 200

    assert list(statuses.values()) == [{500}] * 4
    assert await names() == ["none"]
    assert checked_out(accounts.database) == 0


@pytest.mark.slow
async def test_five_hundred_requests_leave_no_connection_behind(
    client: AsyncClient, accounts: Accounts, make_key: MakeKey, make_user: MakeUser
) -> None:
    user = await make_user()
    key, reader = await make_key(), await make_key(Scope.USERS_READ)
    path = f"/users/{user['id']}"
    requests: list[dict[str, Any]] = [
        {"method": "GET", "url": path, "headers": key},
        {"method": "GET", "url": "/users/", "headers": key, "params": {"count": "exact", "skip": 1}},
        {"method": "GET", "url": "/users/", "headers": key, "params": {"cursor": "none"}},
        {"method": "GET", "url": path, "headers": {"Authorization": "Bearer dzk_no"}},
        {"method": "PATCH", "url": path, "headers": key, "json": {"full_name": "N"}},
        {"method": "PATCH", "url": path, "headers": key | {"If-Match": '"999999"'}, "json": {"full_name": "N"}},
        {"method": "PATCH", "url": path, "headers": reader, "json": {"full_name": "N"}},
        {"method": "PATCH", "url": "/users/nobody", "headers": key, "json": {"full_name": "N"}},
        {"method": "POST", "url": "/users/", "json": {"username": user["username"], "email": "x@example.org"}},
        {"method": "POST", "url": "/users/", "json": {**user, "password": "correct horse battery"}},
    ]
    for _ in range(5):
        await asyncio.gather(*(client.request(**request) for request in requests * 10))

    assert checked_out(accounts.database) == 0
    assert (await client.get(path, headers=key)).json()["version"] > 10
