"""Transactions that take longer than they may: undone in time, told so, and never mixed with those of others."""

# ruff: noqa: PT012  (what is refused is a whole transaction, its end included)

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest
from fastapi import FastAPI
from httpx import AsyncClient
from sqlalchemy import insert, text
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from denizen.core.accounts import Accounts
from denizen.core.database import Database, DatabaseOptions
from denizen.core.errors import Conflict, Unavailable
from tests.conftest import PATIENT
from tests.core.ground import NOTES, WAYS, checked_out, note, note_later, note_shortly, noted

SHORT = 0.8
"""Seconds of a transaction that is to be overdue: enough for its first statements on a busy machine."""


class Refused(Conflict):
    """Raised by a test, as a room raises its own."""


@pytest.fixture
def overrides() -> dict[str, Any]:
    return PATIENT


@pytest.fixture
async def patient(database: Database) -> AsyncIterator[Database]:
    """The same database, where whoever waits for others waits long."""
    options = DatabaseOptions(
        timeout=60, pool_timeout=60, connect_timeout=60, statement_timeout=60, lock_timeout=60, pool_size=3
    )
    patient = Database(database.url, options)
    await patient.ping()
    yield patient
    await patient.close()


async def another_statement(db: AsyncSession) -> None:
    await note(db, 3)


async def a_short_one(db: AsyncSession) -> None:
    await note_shortly(db, 3)


async def one_put_off(db: AsyncSession) -> None:
    await note_later(db, 3)


async def many_at_once(db: AsyncSession) -> None:
    await db.execute(insert(NOTES), [{"number": 3, "text": "3"}, {"number": 4, "text": "4"}])


async def a_savepoint(db: AsyncSession) -> None:
    async with db.begin_nested():
        await note(db, 3)


async def an_undone_savepoint(db: AsyncSession) -> None:
    async with db.begin_nested():
        await note(db, 3)
        raise Refused("undo it")


async def an_error_of_its_own(db: AsyncSession) -> None:
    raise Refused("undo it all")


async def nothing_more(db: AsyncSession) -> None:
    pass


async def stubbornness(db: AsyncSession) -> None:
    for _ in range(3):
        with suppress(Unavailable):
            await note(db, 3)


LATE = [
    another_statement,
    a_short_one,
    one_put_off,
    many_at_once,
    a_savepoint,
    an_undone_savepoint,
    an_error_of_its_own,
    nothing_more,
    stubbornness,
]


@pytest.mark.slow
async def test_what_comes_late_neither_stores_anything_nor_touches_what_others_do(patient: Database) -> None:
    """A host's route waits for another service inside its transaction, which holds what all others want to write."""
    for late in LATE:
        begun, taken, told = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def hold(
            late: Callable[[AsyncSession], Any] = late,
            begun: asyncio.Event = begun,
            taken: asyncio.Event = taken,
            told: asyncio.Event = told,
        ) -> None:
            with pytest.raises((Unavailable, Refused)) as refused:
                async with patient.write.begin(timeout=SHORT) as db:
                    await (note_shortly if late in {a_short_one, one_put_off} else note)(db, 1)
                    begun.set()
                    await taken.wait()
                    await late(db)
            if begun.is_set() and isinstance(refused.value, Unavailable):
                assert "begin(timeout=...)" in refused.value.detail
                assert (refused.value.retry_after or 0) >= 1
            begun.set()  # if the machine is so busy that it was overdue before
            told.set()

        async with anyio.create_task_group() as group:
            group.start_soon(hold)
            await begun.wait()
            async with patient.write.begin() as db:
                await note(db, 1)  # the same: on PostgreSQL it waits for the other's end, on SQLite all do
                taken.set()
                await told.wait()
                await note(db, 2)

        assert await noted(patient) == [1, 2], late.__name__
        async with patient.write.begin() as db:
            await db.execute(text("DELETE FROM notes"))
        assert checked_out(patient) == 0


@pytest.mark.slow
async def test_a_held_up_loop_makes_no_late_commit(patient: Database) -> None:
    """Then no timer has gone off before the commit is asked for."""
    for first, late in ((note, nothing_more), (note_shortly, a_short_one), (note_later, nothing_more)):
        with pytest.raises(Unavailable, match="begin"):
            async with patient.write.begin(timeout=SHORT) as db:
                await first(db, 1)
                time.sleep(SHORT + 0.01)  # noqa: ASYNC251  (what a host should not do)
                await late(db)

    async with patient.write.begin() as db:
        await note(db, 5)
    assert await noted(patient) == [5]
    assert checked_out(patient) == 0


@pytest.mark.slow
async def test_a_long_statement_is_stopped_at_the_end_of_its_transaction(patient: Database) -> None:
    endless = {
        "sqlite": "INSERT INTO notes (number, text) "
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1e12) SELECT max(i), '' FROM n",
        "postgresql": "INSERT INTO notes (number, text) SELECT 1, '' FROM pg_sleep(60)",
    }
    began = time.monotonic()
    with pytest.raises(Unavailable) as refused:
        async with patient.write.begin(timeout=SHORT) as db:
            await note(db, 1)
            await db.execute(text(endless[patient.kind]))
    assert time.monotonic() - began < 20
    assert (refused.value.retry_after or 0) >= 1

    async with patient.write.begin() as db:
        await note(db, 2)
    assert await noted(patient) == [2]
    assert checked_out(patient) == 0


async def test_who_holds_every_connection_past_his_time_leaves_them_to_others(patient: Database) -> None:
    """Idle in transactions, in a pool of three; in time they are ended, though their callers still wait."""
    forever = asyncio.Event()
    begun = asyncio.Event()

    async def hold(number: int) -> None:
        with suppress(Unavailable):  # on SQLite only one gets his turn
            async with patient.write.begin(timeout=SHORT) as db:
                await note(db, number)
                begun.set()
                await forever.wait()
        begun.set()  # if the machine is so busy that it was overdue before

    async with anyio.create_task_group() as group:
        for number in (1, 2, 3):
            group.start_soon(hold, number)
        await begun.wait()
        for number in (1, 2, 3):
            async with patient.write.begin() as db:
                await note(db, number)
        assert await noted(patient) == [1, 2, 3]
        group.cancel_scope.cancel()

    assert checked_out(patient) == 0


async def test_others_who_share_the_file_or_server_go_on_as_well(database: Database, patient: Database) -> None:
    """As another process would: it has a queue of its own, and waits for the lock alone."""
    async with anyio.create_task_group() as group:
        begun = asyncio.Event()

        async def hold() -> None:
            with suppress(Unavailable):
                async with database.write.begin(timeout=SHORT) as db:
                    await note(db, 1)
                    begun.set()
                    await anyio.sleep_forever()
            begun.set()  # if the machine is so busy that it was overdue before

        group.start_soon(hold)
        await begun.wait()
        async with patient.write.begin() as db:
            await note(db, 1)
        group.cancel_scope.cancel()

    assert await noted(database) == [1]


async def test_a_session_is_refused_after_its_end(database: Database) -> None:
    """As when a streaming answer goes on with it. It would begin a transaction that nobody ends."""
    for session in (database.write.begin, database.read.session, database.read.slow):
        async with session() as db:
            await db.execute(text("SELECT 1"))
        with pytest.raises(InvalidRequestError, match="permanently closed"):
            await db.execute(text("SELECT 1"))
    async with database.write.begin() as db:
        await note(db, 1)

    assert checked_out(database) == 0


async def test_a_second_connection_of_a_session_undoes_nothing_of_the_first(patient: Database) -> None:
    """On SQLite there is one connection to write with, which would begin anew for the second."""
    with suppress(RuntimeError):
        async with patient.write.begin() as db:
            await note(db, 1)
            assert isinstance(db.bind, AsyncEngine)
            async with db.bind.connect() as second:
                await second.execute(text("SELECT 1"))
            await note(db, 2)

    assert await noted(patient) == ([] if patient.kind == "sqlite" else [1, 2])
    async with patient.write.begin() as db:
        with anyio.move_on_after(0.01):
            await note(db, 3)
            await anyio.sleep_forever()
        await db.rollback()
        await note(db, 4)
    assert await noted(patient) == ([4] if patient.kind == "sqlite" else [1, 2, 4])
    assert checked_out(patient) == 0


@pytest.mark.slow
async def test_more_writers_than_can_be_served_leave_some_that_are(database: Database) -> None:
    """Who comes first in the queue has waited longest. He has to have time left for what he came for."""
    hurried = Database(database.url, DatabaseOptions(timeout=0.8, pool_timeout=0.4))
    stored: list[int] = []

    async def write(number: int) -> None:
        with suppress(Unavailable):
            async with hurried.write.begin() as db:
                await note(db, number)
                await asyncio.sleep(0.02)
            stored.append(number)

    await hurried.ping()
    async with anyio.create_task_group() as group:
        for number in range(400):
            group.start_soon(write, number)
            await asyncio.sleep(0.01)

    late = [number for number in stored if number > 200]  # by then the queue is as long as it gets
    assert len(late) > 20
    assert await noted(hurried) == sorted(stored)
    await hurried.close()


@dataclass
class Writers:
    """Writers of three notes each, and what they were told.

    Attributes:
        stored: the numbers of those who were told that they are in.
        unknown: of those who were cancelled, or whose commit was cut off (PostgreSQL), which may have been made.
    """

    database: Database
    chance: random.Random
    stored: set[int] = field(default_factory=set)
    unknown: set[int] = field(default_factory=set)

    async def write(self, first: int, seconds: float, pauses: list[float], *, undone: bool) -> None:
        """Note three numbers, with pauses after each."""
        async with self.database.write.begin(timeout=seconds) as db:
            for number, pause in zip(range(first, first + 3), pauses, strict=True):
                way = self.chance.choice(("in a savepoint", *WAYS))
                if way in WAYS:
                    await WAYS[way](db, number)
                else:
                    async with db.begin_nested():
                        await note(db, number)
                await asyncio.sleep(pause)
            if undone:
                raise Refused("undo it all")

    async def come(self, first: int) -> None:
        """Write in one of many ways, and keep what came of it."""
        chance = self.chance
        seconds = chance.choice((0.03, 0.1, 60, 60))
        pauses = [chance.choice((0, 0, 0.001, 0.05 if seconds < 1 else 0)) for _ in range(3)]
        rows = range(first, first + 3)
        with anyio.move_on_after(chance.choice((60, 60, 60, chance.random() / 2))):
            self.unknown.update(rows)
            try:
                await self.write(first, seconds, pauses, undone=chance.random() < 0.1)
            except Refused:
                self.unknown.difference_update(rows)
            except Unavailable as refused:
                if "begin(timeout=...)" in refused.detail or self.database.kind == "sqlite":
                    self.unknown.difference_update(rows)
            else:
                self.unknown.difference_update(rows)
                self.stored.update(rows)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
async def test_many_writers_some_overdue_store_what_they_were_told(patient: Database, seed: int) -> None:
    """Whatever it is that ends them: each has all or nothing in, and all if and only if nobody said otherwise."""
    writers = Writers(patient, random.Random(seed))
    async with anyio.create_task_group() as group:
        for first in range(0, 300, 3):
            group.start_soon(writers.come, first)
            await asyncio.sleep(writers.chance.choice((0, 0, 0.005)))
    async with patient.write.begin() as db:
        await note(db, 1000)

    found = set(await noted(patient)) - {1000}
    assert writers.stored <= found <= writers.stored | writers.unknown
    for first in range(0, 300, 3):
        assert len({first, first + 1, first + 2} & found) in (0, 3), first
    assert len(writers.stored) > 30
    assert checked_out(patient) == 0


@pytest.mark.slow
async def test_a_hosts_route_that_dawdles_is_told_and_sign_up_goes_on(
    app: FastAPI, client: AsyncClient, accounts: Accounts
) -> None:
    begun = asyncio.Event()

    @app.post("/slow")
    async def slow() -> None:
        try:
            async with accounts.writing(timeout=SHORT) as db:
                await db.execute(text("UPDATE denizen_users SET version = version"))
                begun.set()
                await asyncio.sleep(2 * SHORT)  # for another service, say
        finally:
            begun.set()

    async with asyncio.TaskGroup() as group:
        dawdling = group.create_task(client.post("/slow"))
        await begun.wait()
        body = {"username": "ada", "email": "ada@example.org", "password": "correct horse battery"}
        signed_up = await client.post("/users/", json=body)

    assert signed_up.status_code == 201
    answer = dawdling.result()
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert "begin(timeout=...)" in answer.json()["detail"]
