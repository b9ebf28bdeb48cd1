"""Sessions that write and sessions that read, alike on both databases."""

# ruff: noqa: PT012  (what is refused is a whole transaction, its end included)

from __future__ import annotations

import asyncio
import itertools
import threading
from contextlib import suppress
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.database import Database, DatabaseOptions, constraint_of
from denizen.core.errors import Conflict
from tests.core.ground import METADATA, NOTES, WAYS, note, noted


class Refused(Conflict):
    """Raised by a test, as a room raises its own."""


async def test_what_is_written_is_there_for_everybody_at_the_end(database: Database) -> None:
    async with database.write.begin() as db:
        await note(db, 1, 2)
        assert await noted(database) == []

    assert await noted(database) == [1, 2]


@pytest.mark.parametrize("raised", [Refused("no"), KeyError("no"), asyncio.CancelledError(), GeneratorExit()])
async def test_whatever_is_raised_undoes_all_of_it(database: Database, raised: BaseException) -> None:
    for way in WAYS.values():
        with pytest.raises(type(raised)):
            async with database.write.begin() as db:
                await way(db, 1)
                raise raised

    assert await noted(database) == []
    async with database.write.begin() as db:
        await note(db, 2)
    assert await noted(database) == [2]


async def test_a_conflict_in_a_savepoint_lets_the_rest_go_on(database: Database) -> None:
    async with database.write.begin() as db:
        await note(db, 1)
        with pytest.raises(IntegrityError) as conflict:
            async with db.begin_nested():
                await note(db, 2)
                await db.execute(insert(NOTES).values(number=3, text="note 1"))
        await note(db, 4)

    assert constraint_of(conflict.value, METADATA) == "uq_notes_text"
    assert await noted(database) == [1, 4]


Acts = list[Any]
"""Ways to note a number, and pairs of acts in a savepoint and whether they are undone."""

_ways = st.sampled_from(sorted(WAYS))
ACTS: st.SearchStrategy[Acts] = st.recursive(
    st.lists(_ways, max_size=3),
    lambda acts: st.lists(_ways | st.tuples(acts, st.booleans()), max_size=4),
    max_leaves=12,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(acts=ACTS, undone=st.booleans())
async def test_savepoints_undo_what_they_hold_and_nothing_else(database: Database, acts: Acts, undone: bool) -> None:
    numbers = itertools.count(1)

    async def perform(db: AsyncSession, acts: Acts) -> list[int]:
        """Do it; give the numbers that should be there in the end."""
        kept = []
        for act in acts:
            if isinstance(act, str):
                kept.append(next(numbers))
                await WAYS[act](db, kept[-1])
                continue
            inner, refused = act
            with suppress(Refused):
                async with db.begin_nested():
                    found = await perform(db, inner)
                    if refused:
                        raise Refused("undo it")
                    kept += found
        return kept

    async with database.write.begin() as db:
        await db.execute(delete(NOTES))
    expected: list[int] = []
    with suppress(Refused):
        async with database.write.begin() as db:
            expected = await perform(db, acts)
            if undone:
                raise Refused("undo it all")

    assert await noted(database) == ([] if undone else expected)


async def test_reading_sessions_refuse_to_write(database: Database) -> None:
    for session in (database.read.session, database.read.slow):
        with pytest.raises(DBAPIError, match=r"readonly database|read-only transaction"):
            async with session() as db:
                await note(db, 1)
        with pytest.raises(DBAPIError, match=r"readonly database|read-only transaction"):
            async with session() as db:
                await db.execute(delete(NOTES))

    assert await noted(database) == []


async def test_the_hot_path_refuses_to_write(database: Database) -> None:
    backend = await database.backend()

    with pytest.raises(Exception, match=r"readonly database|read-only transaction"):
        await backend.rows("INSERT INTO notes (number) VALUES (1)", ())

    assert await noted(database) == []


async def test_a_read_sees_what_was_committed_before_each_statement(database: Database) -> None:
    async with database.read.session() as reading:
        query = select(NOTES.c.number)
        before = (await reading.scalars(query)).all()
        async with database.write.begin() as db:
            await note(db, 1)
        after = (await reading.scalars(query)).all()

    assert (before, after) == ([], [1])


async def test_a_session_without_a_statement_keeps_nobody_waiting(database: Database) -> None:
    async with database.write.begin(), database.write.begin(), database.write.begin() as db:
        await note(db, 1)

    assert await noted(database) == [1]


async def test_cancelled_at_any_moment_leaves_all_or_nothing(database: Database) -> None:
    """Wherever it is cut: waiting for its turn, beginning, writing, committing."""

    async def write(number: int) -> None:
        ways = [WAYS[name] for name in sorted(WAYS)]
        async with database.write.begin() as db:
            await ways[number % 3](db, number, number + 1)
            await asyncio.sleep(0.001)
            await ways[number // 10 % 3](db, number + 2)

    async with database.write.begin() as db:
        await note(db, 0)
    for number in range(10, 400, 10):
        with anyio.move_on_after(number / 40_000):
            async with anyio.create_task_group() as group:
                group.start_soon(write, number)
                group.start_soon(write, number + 3)
    async with database.write.begin() as db:
        await note(db, 1000)

    stored = await noted(database)
    for number in range(10, 400, 10):
        for first in (number, number + 3):
            assert len({first, first + 1, first + 2} & set(stored)) in (0, 3), first
    assert stored[-1] == 1000


async def test_cancelled_in_a_task_of_plain_asyncio_too(database: Database) -> None:
    async def write() -> None:
        async with database.write.begin() as db:
            await note(db, 1)
            await asyncio.sleep(10)

    for _ in range(5):
        task = asyncio.create_task(write())
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    async with database.write.begin() as db:
        await note(db, 2)

    assert await noted(database) == [2]


async def test_two_event_loops_each_with_a_database_of_its_own(database: Database) -> None:
    def elsewhere(start: int) -> None:
        async def write() -> None:
            own = Database(database.url)
            for number in range(start, start + 20):
                async with own.write.begin(timeout=20) as db:
                    await note(db, number)
                assert number in await noted(own)
            await own.close()

        asyncio.run(write())

    threads = [threading.Thread(target=elsewhere, args=(start,)) for start in (100, 200)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        await noted(database)
        await asyncio.sleep(0.01)

    assert await noted(database) == [*range(100, 120), *range(200, 220)]


def test_a_closed_database_opens_again_in_another_loop(database_url: str) -> None:
    own = Database(database_url)

    async def use() -> float:
        try:
            seconds = await asyncio.gather(own.ping(), own.ping())
        finally:
            await own.close()
        return max(seconds)

    assert [asyncio.run(use()) < 60 for _ in range(3)] == [True] * 3


async def test_two_databases_in_one_process_never_meet(database: Database) -> None:
    seen: list[list[str]] = [[], []]
    other = Database(database.url)
    database.observers.append(seen[0].append)
    other.observers.append(seen[1].append)

    await noted(database)
    await other.ping()
    await other.close()

    assert await noted(database) == []
    assert ["notes" in sql for sql in seen[0]] == [True, True]
    assert seen[1] == ["SELECT 1"]


async def test_long_work_gets_the_time_it_asks_for(database: Database) -> None:
    hurried = Database(database.url, DatabaseOptions(timeout=0.3))
    async with hurried.write.begin(timeout=60) as db:
        await note(db, 1)
        await asyncio.sleep(0.5)
        await note(db, 2)
    await hurried.close()

    assert await noted(database) == [1, 2]
