"""PostgreSQL behind `Database`: limits that hold without the server, and connections that are never found dead."""

# ruff: noqa: PT012  (what is refused is a whole transaction, its end included)

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack

import anyio
import psutil
import psycopg
import pytest
from sqlalchemy import bindparam, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.database import Database, DatabaseOptions
from denizen.core.errors import Unavailable
from denizen.core.statements import Statement
from denizen.core.writes import run, run_later
from tests.core.ground import NOTES, checked_out, loop_lag, note, noted
from tests.postgres import Postgres
from tests.ready import OURS

BY_NUMBER = Statement(select(NOTES.c.text).where(NOTES.c.number == bindparam("number")))
TOUCH = Statement(update(NOTES).values(number=NOTES.c.number))


@pytest.fixture
def database_kind() -> str:
    return "postgresql"


@pytest.fixture
async def small(database: Database) -> AsyncIterator[Database]:
    """The same database with two connections of each kind."""
    small = Database(database.url, DatabaseOptions(pool_size=2, pool_timeout=0.5))
    yield small
    await small.close()


async def by_session(database: Database) -> object:
    return await noted(database)


async def by_statement(database: Database) -> object:
    return await database.read.rows(BY_NUMBER, number=1)


async def slowly(database: Database) -> object:
    async with database.read.slow() as db:
        return await db.scalar(select(NOTES.c.number))


async def slowly_by_statement(database: Database) -> object:
    return await database.read.slow_rows(BY_NUMBER, number=1)


async def by_writing(database: Database) -> None:
    async with database.write.begin() as db:
        await db.execute(text("UPDATE notes SET number = number"))


async def by_writing_shortly(database: Database) -> None:
    async with database.write.begin() as db:
        await run(db, TOUCH)


async def by_writing_later(database: Database) -> None:
    async with database.write.begin() as db:
        await run_later(db, TOUCH)


async def at_length(database: Database) -> None:
    async with database.write.begin(timeout=60) as db:
        await db.execute(text("UPDATE notes SET number = number"))


USES: list[Callable[[Database], Awaitable[object]]] = [
    by_session,
    by_statement,
    slowly,
    slowly_by_statement,
    by_writing,
    by_writing_shortly,
    by_writing_later,
    at_length,
]


async def told_within(seconds: float, database: Database, times: int = 4) -> None:
    """Every use, several at once, ends with `Unavailable` and in time, but for what other processes held us up."""
    began = time.monotonic()
    async with loop_lag() as lag:
        told = await asyncio.gather(*(use(database) for use in USES * times), return_exceptions=True)

    assert [type(each) for each in told] == [Unavailable] * len(told), told
    assert time.monotonic() - began < seconds + min(1.0, lag.longest)


# --- what is set -----------------------------------------------------------------------------------------------------


async def shown(database: Database, *names: str) -> tuple[list[str], list[str]]:
    """What `SHOW` says on a writing and on a reading connection."""
    async with database.write.begin() as writing, database.read.session() as reading:
        both = [[str(await db.scalar(text(f"SHOW {name}"))) for name in names] for db in (writing, reading)]
    return both[0], both[1]


async def test_limits_hold_for_every_connection(database: Database) -> None:
    names = (
        "statement_timeout",
        "lock_timeout",
        "idle_in_transaction_session_timeout",
        "default_transaction_read_only",
    )

    writing, reading = await shown(database, *names)

    assert writing == ["1800ms", "1800ms", "1min", "off"]
    assert reading == ["1800ms", "1800ms", "1min", "on"]


async def test_options_in_the_url_are_kept(database: Database) -> None:
    named = Database(database.url.update_query_dict({"options": "-c work_mem=5MB", "application_name": "named"}))

    assert (await shown(named, "work_mem", "application_name", "statement_timeout"))[1] == ["5MB", "named", "1800ms"]
    await named.close()


async def test_a_slow_read_gets_its_own_limit_and_leaves_none_behind(small: Database) -> None:
    async with small.read.slow() as db:
        assert await db.scalar(text("SHOW statement_timeout")) == "30s"
    for _ in range(3):
        assert (await shown(small, "statement_timeout"))[1] == ["1800ms"]


async def test_a_read_is_one_round_trip_without_a_transaction(database: Database) -> None:
    async with database.read.session() as db:
        first = await db.scalar(text("SELECT now()"))
        second = await db.scalar(text("SELECT now()"))

    assert first < second  # in a transaction the two would be the same


# --- a server that does not do its work ------------------------------------------------------------------------------


@pytest.mark.slow
async def test_a_statement_that_takes_for_ever_is_stopped(database: Database, postgres: Postgres) -> None:
    began = time.monotonic()
    with pytest.raises(Unavailable):
        async with database.read.session() as db:
            await db.execute(text("SELECT pg_sleep(60)"))

    assert 1.7 < time.monotonic() - began < 3
    assert await noted(database) == []
    running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND state = 'active'"
    assert postgres.execute(f"{running} AND pid <> pg_backend_pid()") == [(0,)]


async def test_who_waits_too_long_for_a_row_is_told(database: Database) -> None:
    quick = Database(database.url, DatabaseOptions(lock_timeout=0.3, statement_timeout=50, timeout=50))
    async with database.write.begin() as db:
        await note(db, 1)
    change = text("UPDATE notes SET text = 'changed' WHERE number = 1")
    async with database.write.begin(timeout=60) as db:
        await db.execute(change)
        began = time.monotonic()
        with pytest.raises(Unavailable):
            async with quick.write.begin() as other:
                await other.execute(change)
        assert time.monotonic() - began < 10
    await quick.close()


@pytest.mark.slow
async def test_frozen_all_are_told_in_time_and_it_goes_on_when_thawed(small: Database, postgres: Postgres) -> None:
    for use in USES:
        await use(small)
    with postgres.frozen():
        async with loop_lag() as lag:
            await told_within(3, small)
            await told_within(3, small)  # now the pool is empty, and nobody answers who connects
    began = time.monotonic()
    for use in USES:
        await use(small)

    assert time.monotonic() - began < 5
    assert lag.longest < 1
    assert checked_out(small) == 0


@pytest.mark.slow
async def test_frozen_in_the_middle_of_a_transaction_stores_nothing(small: Database, postgres: Postgres) -> None:
    with pytest.raises(Unavailable):
        async with small.write.begin() as db:
            await note(db, 1)
            with postgres.frozen():
                await note(db, 2)

    assert await noted(small) == []


@pytest.mark.slow
async def test_a_server_that_was_killed_is_met_again_without_a_failure(small: Database, postgres: Postgres) -> None:
    for end in (postgres.kill9, postgres.stop):
        for use in USES:
            await asyncio.gather(use(small), use(small))
        await asyncio.to_thread(postgres.execute, "CHECKPOINT")  # this server keeps nothing else through a crash
        end()
        try:
            await told_within(3, small, times=1)
        finally:
            postgres.start()
        began = time.monotonic()
        for use in USES:
            await use(small)
        assert time.monotonic() - began < 5


@pytest.mark.slow
async def test_backends_that_ended_while_idle_fail_nobody(small: Database, postgres: Postgres) -> None:
    ends = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"  # waits until each is gone
    end_all = f"{ends} WHERE datname = '{small.url.database}'"
    for _ in range(3):
        for use in USES:
            await asyncio.gather(use(small), use(small))
        await asyncio.to_thread(postgres.execute, end_all)
        await asyncio.sleep(0.1)
        for use in USES:
            await asyncio.gather(use(small), use(small))


async def test_a_backend_that_ends_in_the_middle_of_a_transaction_is_told(small: Database) -> None:
    with pytest.raises(Unavailable):
        async with small.write.begin() as db:
            await note(db, 1)
            await db.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    assert await noted(small) == []


async def test_a_server_that_only_reads_any_longer_is_told_and_left(small: Database) -> None:
    """After a failover the old primary refuses writes; new connections may find the new one."""
    with pytest.raises(Unavailable):
        async with small.write.begin() as db:
            before = await db.scalar(text("SELECT pg_backend_pid()"))
            await db.execute(text("SET TRANSACTION READ ONLY"))
            await note(db, 1)
    async with small.write.begin() as db:
        after = await db.scalar(text("SELECT pg_backend_pid()"))
        await note(db, 2)

    assert before != after
    assert await noted(small) == [2]


@pytest.mark.slow
async def test_out_of_connections_all_are_told_in_time(small: Database) -> None:
    taken: list[AbstractAsyncContextManager[AsyncSession]] = [
        small.write.begin(timeout=60),
        small.write.begin(timeout=60),
        small.read.session(),
        small.read.session(),
    ]
    async with AsyncExitStack() as stack:
        for session in taken:
            await (await stack.enter_async_context(session)).execute(text("SELECT 1"))
        await told_within(3, small)
    for use in USES:
        await use(small)

    assert checked_out(small) == 0


@pytest.mark.slow
async def test_waiting_for_a_connection_and_using_it_share_one_budget(database: Database, postgres: Postgres) -> None:
    one = Database(database.url, DatabaseOptions(pool_size=1, pool_timeout=2.0))
    await by_session(one)
    with postgres.frozen():
        await told_within(3, one, times=2)
    await one.close()


# --- a server that is not there --------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("connects", [True, False])
async def test_a_black_hole_is_told_in_time_however_many_ask(database: Database, connects: bool) -> None:
    """Connections open and nobody speaks; or, with a full backlog, they never open, as behind a firewall."""
    with socket.create_server(("127.0.0.1", 0), backlog=128 if connects else 0) as hole, ExitStack() as stack:
        for _ in range(0 if connects else 3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(hole.getsockname())
        port = hole.getsockname()[1]
        lost = Database(database.url.set(port=port))
        for _ in range(2 if connects else 1):
            await told_within(3, lost, times=10)
        left = [each for each in psutil.Process().net_connections() if tuple(each.raddr)[1:] == (port,)]
        await lost.close()

    assert len(left) == (0 if connects else 3), "who gives up connecting closes the socket"


async def test_a_closed_port_is_told_at_once(database: Database) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    away = Database(database.url.set(port=port), DatabaseOptions(timeout=60, connect_timeout=60, pool_timeout=60))

    await told_within(10, away)


async def test_a_wrong_password_is_told_without_the_password(database: Database) -> None:
    mistaken = Database(database.url.set(password="mistaken-s3cret"))

    with pytest.raises(Unavailable) as refused:
        await mistaken.ping()
    assert "s3cret" not in str(refused.value)
    assert "s3cret" not in mistaken.describe()


async def test_what_was_interrupted_leaves_no_connection_behind(small: Database, postgres: Postgres) -> None:
    """Cancelled, refused, broken: whatever happens, the pools get every connection back."""

    async def write(number: int) -> None:
        async with small.write.begin() as db:
            await note(db, number % 7)
            await db.execute(text(["SELECT 1", "SELECT 1/0", "SELECT pg_sleep(0.01)"][number % 3]))

    async def read(number: int) -> None:
        with anyio.move_on_after(number / 20_000):
            await USES[number % 3](small)

    for _ in range(10):
        await asyncio.gather(*map(write, range(10)), *map(read, range(20)), return_exceptions=True)
    for use in USES:
        await use(small)

    assert checked_out(small) == 0
    connected = f"""
        SELECT count(*) <= 6 FROM pg_stat_activity
        WHERE datname = '{small.url.database}' AND application_name <> '{OURS}'"""
    for _ in range(400):  # the server may take a moment to notice
        if postgres.execute(connected) == [(True,)]:  # four of `small`, and those of `database`, which made the table
            return
        await asyncio.sleep(0.05)
    pytest.fail("connections were left behind")


async def test_a_migration_that_runs_beside_us_fails_no_read(database: Database, postgres: Postgres) -> None:
    """PostgreSQL refuses to run what was prepared for another type of a column, and goes on refusing."""
    name = str(database.url.database)
    change = text("UPDATE notes SET at = NULL RETURNING text")

    async def write() -> None:
        async with database.write.begin() as db:
            await db.execute(change)

    async with database.write.begin() as db:
        await note(db, 1)
    for length in (90, 99):
        for _ in range(10):
            await asyncio.gather(*(by_statement(database) for _ in range(3)))
            await write()
        alter = f"ALTER TABLE notes ALTER COLUMN text TYPE varchar({length})"
        await asyncio.to_thread(postgres.execute, alter, database=name)

        assert [await by_statement(database) for _ in range(10)] == [[("note 1",)]] * 10
        with pytest.raises(Unavailable):
            await write()
        for _ in range(10):
            await write()


def test_psycopg_still_waits_in_the_one_method_that_the_guard_overrides() -> None:
    """A reminder for the next version of psycopg: `GuardedConnection.wait` has the parameters of the original."""
    import inspect

    from denizen.core.postgresql.guarded import GuardedConnection

    original = inspect.signature(psycopg.AsyncConnection.wait).parameters
    assert list(inspect.signature(GuardedConnection.wait).parameters) == list(original)
    assert issubclass(psycopg.errors._WaitTimeout, Exception)
