"""When a key was last used is noted, but never on the way of a request."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from fastapi import FastAPI
from httpx import AsyncClient

from denizen.core.accounts import Accounts
from denizen.core.errors import Unavailable
from denizen.keys import crud
from denizen.keys.service import write_last_uses
from tests.conftest import Clock, MakeKey


async def test_use_is_noted_off_the_request_at_most_once_a_minute(
    client: AsyncClient, make_key: MakeKey, accounts: Accounts, clock: Clock
) -> None:
    headers = await make_key()
    ran: list[str] = []
    accounts.database.observers.append(ran.append)

    async def last_used() -> str | None:
        found: str | None = (await client.get("/keys/current", headers=headers)).json()["last_used_at"]
        return found

    async def writes() -> int:
        ran.clear()
        await write_last_uses(accounts)
        return len([statement for statement in ran if statement.startswith("UPDATE")])

    assert await last_used() is None
    assert await last_used() is None
    assert {statement.split()[0] for statement in ran} == {"SELECT"}
    assert await writes() == 1
    assert await last_used() == "2026-01-31T09:30:00.123456Z"

    clock.turn(seconds=59)
    assert await last_used() == "2026-01-31T09:30:00.123456Z"
    assert await writes() == 0
    clock.turn(seconds=1)
    await last_used()
    assert await writes() == 1
    assert await last_used() == "2026-01-31T09:31:00.123456Z"


async def test_later_use_that_another_process_stored_stays(
    client: AsyncClient, make_key: MakeKey, accounts: Accounts, clock: Clock
) -> None:
    key_id = UUID((await client.get("/keys/current", headers=await make_key())).json()["id"])

    async with accounts.writing() as db:
        await crud.note_last_uses(db, {key_id: clock.at})
        await crud.note_last_uses(db, {key_id: clock.at - timedelta(seconds=1)})

    async with accounts.database.read.session() as db:
        assert (await crud.get_key(db, key_id)).last_used_at == clock.at


class TestHurried:
    @pytest.fixture
    def overrides(self) -> dict[str, Any]:
        return {"database_timeout": 2.0, "database_lock_timeout": 0.5}

    @pytest.mark.slow
    async def test_use_that_could_not_be_written_is_written_later(
        self, client: AsyncClient, make_key: MakeKey, accounts: Accounts, clock: Clock
    ) -> None:
        headers = await make_key()
        key_id = UUID((await client.get("/keys/current", headers=headers)).json()["id"])

        async with accounts.writing(timeout=10) as db:
            await crud.get_key(db, key_id, for_update=True)  # so that nobody else writes
            with pytest.raises(Unavailable):
                await write_last_uses(accounts)
        await write_last_uses(accounts)

        async with accounts.database.read.session() as db:
            assert (await crud.get_key(db, key_id)).last_used_at == clock.at
        assert not accounts.noticed["key"]


async def test_refused_key_is_not_used(
    client: AsyncClient, make_key: MakeKey, accounts: Accounts, clock: Clock
) -> None:
    headers = await make_key(expires_in=timedelta(minutes=1))
    clock.turn(minutes=1)

    await client.get("/users/", headers=headers)

    assert not accounts.noticed["key"]


async def test_what_waits_is_written_when_the_server_stops(
    app: FastAPI, client: AsyncClient, make_key: MakeKey, accounts: Accounts, clock: Clock
) -> None:
    headers = await make_key()

    async with app.router.lifespan_context(app):
        key_id = UUID((await client.get("/keys/current", headers=headers)).json()["id"])

    async with accounts.database.read.session() as db:
        assert (await crud.get_key(db, key_id)).last_used_at == clock.at
