"""Closing a `Database`: while it is being opened, while it is used, twice; nothing is left open, and all are told."""

# ruff: noqa: PT012  (what is refused is a whole transaction, its end included)

from __future__ import annotations

import asyncio
import gc
import random
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import anyio
import psutil
import pytest
from sqlalchemy import bindparam, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.database import Database, DatabaseOptions
from denizen.core.errors import Unavailable
from denizen.core.statements import Statement
from tests.core.ground import NOTES, note, noted
from tests.postgres import Postgres
from tests.ready import OURS

BY_NUMBER = Statement(select(NOTES.c.text).where(NOTES.c.number == bindparam("number")))
ENDLESS = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1e12) SELECT max(i) FROM n",
    "postgresql": "SELECT pg_sleep(60)",
}

Left = Callable[[], Awaitable[list[object]]]


@pytest.fixture
async def own(database: Database) -> AsyncIterator[Database]:
    """The same database, not opened yet, where nobody is hurried; `database` is closed, so that what is open is this
    one's.
    """
    await database.close()
    options = DatabaseOptions(timeout=30, slow_timeout=60, statement_timeout=30, lock_timeout=30, reading_threads=1)
    own = Database(database.url, options)
    yield own
    await own.close()


def threads_beside(others: set[threading.Thread]) -> list[str]:
    return [each.name for each in set(threading.enumerate()) - others if each.name.startswith("denizen-")]


@pytest.fixture
def left(own: Database, request: pytest.FixtureRequest) -> Left:
    """Ask what is still open: files and threads of this process, or sessions on the server."""

    path = str(Path(str(own.url.database)).resolve())
    of_others = set(threading.enumerate())  # an install of an earlier test that was not closed may have some

    async def in_process() -> list[object]:
        files = [each.path for each in psutil.Process().open_files() if each.path.startswith(path)]
        return [*files, *threads_beside(of_others)]

    async def on_server() -> list[object]:
        server: Postgres = request.getfixturevalue("postgres")
        query = (
            f"SELECT query FROM pg_stat_activity WHERE datname = '{own.url.database}' AND application_name <> '{OURS}'"
        )
        found = await asyncio.to_thread(server.execute, query)
        for _ in range(100):  # it takes a moment to notice
            if not found:
                break
            await asyncio.sleep(0.05)
            found = await asyncio.to_thread(server.execute, query)
        return list(found)

    return in_process if own.kind == "sqlite" else on_server


async def by_session(own: Database) -> object:
    return await noted(own)


async def by_statement(own: Database) -> object:
    return await own.read.rows(BY_NUMBER, number=1)


async def slowly(own: Database) -> object:
    async with own.read.slow() as db:
        return await db.scalar(select(NOTES.c.number))


async def by_writing(own: Database) -> None:
    async with own.write.begin() as db:
        await db.execute(text("UPDATE notes SET text = text"))


USES: list[Callable[[Database], Awaitable[object]]] = [by_session, by_statement, slowly, by_writing]


@pytest.mark.parametrize("steps", [0, 1, 2, 5, 20])
async def test_closed_while_it_opens_it_leaves_nothing_open(own: Database, left: Left, steps: int) -> None:
    using = asyncio.gather(*(use(own) for use in USES * 2), return_exceptions=True)
    for _ in range(steps):
        await asyncio.sleep(0)
    await own.close()

    assert own.opened is None
    for each in await using:
        assert not isinstance(each, BaseException) or isinstance(each, Unavailable), each
    assert await left() == []


async def test_closed_twice_and_by_many_it_is_closed_once(own: Database, left: Left) -> None:
    await own.close()
    for use in USES:
        await use(own)
    await asyncio.gather(*(own.close() for _ in range(5)))
    await own.close()

    assert await left() == []


async def test_who_gives_up_closing_has_begun_it_all_the_same(own: Database, left: Left) -> None:
    for use in USES:
        await use(own)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await own.close()
    await asyncio.sleep(0)
    await own.close()

    assert await left() == []


@pytest.mark.slow
async def test_what_is_in_use_is_told_and_undone(own: Database, left: Left) -> None:
    told: list[str] = []
    begun = asyncio.Semaphore(0)

    async def write() -> None:
        with pytest.raises(Unavailable) as refused:
            async with own.write.begin() as db:
                await note(db, 1)
                begun.release()
                await asyncio.sleep(0.5)
                await note(db, 2)
        told.append(refused.value.detail)

    async def write_and_be_content() -> None:
        with pytest.raises(Unavailable) as refused:
            async with own.write.begin() as db:
                await note(db, 3)
                begun.release()
                await asyncio.sleep(0.5)
        told.append(refused.value.detail)

    async def read(session: Callable[[], AbstractAsyncContextManager[AsyncSession]]) -> None:
        with pytest.raises(Unavailable) as refused:
            async with session() as db:
                await db.execute(text("SELECT 1"))
                begun.release()
                await asyncio.sleep(0.5)
                await db.execute(text("SELECT 1"))
        told.append(refused.value.detail)

    async def read_and_be_content(session: Callable[[], AbstractAsyncContextManager[AsyncSession]]) -> None:
        async with session() as db:
            await db.execute(text("SELECT 1"))
            begun.release()
            await asyncio.sleep(0.5)

    for writer in (write, write_and_be_content):
        await by_writing(own)
        began = time.monotonic()
        async with anyio.create_task_group() as group:
            group.start_soon(writer)
            for session in (own.read.session, own.read.slow):
                group.start_soon(read, session)
                group.start_soon(read_and_be_content, session)
            for _ in range(5):
                await begun.acquire()
            await asyncio.sleep(0.05)
            await own.close()
            assert own.opened is None
        assert time.monotonic() - began < 20

    assert {detail for detail in told if "is being closed" not in detail} == set()
    assert len(told) == 6
    assert await left() == []
    assert await noted(own) == []


async def test_a_long_statement_does_not_hold_up_the_end(own: Database, left: Left) -> None:
    """Nor those that wait in front of the threads for slow reads (SQLite): nobody has cancelled them."""

    async def read() -> None:
        async with own.read.slow() as db:
            await db.execute(text(ENDLESS[own.kind]))

    async def write() -> None:
        async with own.write.begin() as db:
            await db.execute(text(ENDLESS[own.kind]))

    await own.ping()
    using = asyncio.gather(read(), read(), read(), write(), write(), return_exceptions=True)
    await asyncio.sleep(0.3)
    began = time.monotonic()
    await own.close()
    assert time.monotonic() - began < 10
    if own.kind == "postgresql":  # whose statement goes on until its server ends it, or it is cancelled
        using.cancel()
        with pytest.raises(asyncio.CancelledError):
            await using
        return
    assert [type(each) for each in await using] == [Unavailable] * 5
    assert await left() == []


def test_a_loop_that_ends_while_it_opens_leaves_nothing_open(database_url: str) -> None:
    """`asyncio.run` cancels what is left over at its end, an opening too."""
    of_others = set(threading.enumerate())
    for steps in (0, 1, 3, 10):
        own = Database(database_url)

        async def begin(own: Database = own, steps: int = steps) -> None:
            using = asyncio.create_task(own.ping())
            for _ in range(steps):
                await asyncio.sleep(0)
            using.add_done_callback(lambda task: task.cancelled() or task.exception())

        asyncio.run(begin())
        assert threads_beside(of_others) == []
        asyncio.run(own.close())
    gc.collect()  # a connection that was forgotten warns, which is an error here


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
async def test_opened_used_and_closed_at_random_nobody_meets_an_obscure_error(
    own: Database, left: Left, seed: int
) -> None:
    chance = random.Random(seed)
    stored: set[int] = set()

    async def write(number: int) -> None:
        async with own.write.begin() as db:
            await note(db, number)
            await asyncio.sleep(chance.choice((0, 0.002)))
        stored.add(number)

    async def use(number: int) -> None:
        await asyncio.sleep(chance.random() / 2)
        with anyio.move_on_after(chance.choice((30, 30, chance.random() / 20))):
            await (write(number) if chance.random() < 0.2 else chance.choice(USES)(own))

    async def close() -> None:
        for _ in range(12):
            await asyncio.sleep(chance.random() / 15)
            await own.close()

    results = await asyncio.gather(*(use(number) for number in range(200)), close(), return_exceptions=True)

    strange = [each for each in results if isinstance(each, BaseException) and not isinstance(each, Unavailable)]
    assert strange == []
    assert stored <= set(await noted(own))
    await own.close()
    assert await left() == []
    gc.collect()
