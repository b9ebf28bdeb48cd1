"""Connections to PostgreSQL that are cut off at odd moments: none is left behind, and all are told why."""

# ruff: noqa: PT012  (what is refused is a whole transaction, its end included)

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import pytest
from sqlalchemy import bindparam, select, text
from sqlalchemy.engine import URL

from denizen.core.database import Database, DatabaseOptions
from denizen.core.errors import Unavailable
from denizen.core.postgresql.backend import PostgreSQLBackend
from denizen.core.postgresql.guarded import Start
from denizen.core.statements import Statement
from tests.core.ground import NOTES, checked_out, note, note_later, note_shortly, noted
from tests.postgres import Postgres

BY_NUMBER = Statement(select(NOTES.c.text).where(NOTES.c.number == bindparam("number")))
Meddle = Callable[[int, bytes], tuple[bytes, bool]]
READY = b"Z"
"""What the server sends when a start or a query is done; PostgreSQL 18, section 54.7."""


@pytest.fixture
def database_kind() -> str:
    return "postgresql"


@pytest.fixture
def options() -> DatabaseOptions:
    """Two connections of each kind, and nobody in a hurry."""
    return DatabaseOptions(
        pool_size=2, timeout=30, pool_timeout=30, connect_timeout=30, statement_timeout=30, lock_timeout=30
    )


class AsBehindAPooler(Database):
    """A database that takes its server for a pooler that refuses start-up options."""

    async def _connect(self) -> PostgreSQLBackend:
        start = Start(self.options)
        start.pooled = True
        return PostgreSQLBackend(self.url, self.options, start, self.observe)


@pytest.fixture(params=[Database, AsBehindAPooler])
async def small(
    database: Database, options: DatabaseOptions, request: pytest.FixtureRequest
) -> AsyncIterator[Database]:
    """The same database with two connections of each kind."""
    small: Database = request.param(database.url, options)
    yield small
    await small.close()


async def by_statement(small: Database, number: int) -> None:
    await small.read.rows(BY_NUMBER, number=number)


async def by_session(small: Database, number: int) -> None:
    async with small.read.session() as db:
        await db.execute(text(["SELECT 1", "SELECT 1/0"][number % 2]))


async def slowly(small: Database, number: int) -> None:
    async with small.read.slow() as db:
        await db.execute(text(["SELECT 1", "SELECT 1/0"][number % 2]))


async def by_writing(small: Database, number: int) -> None:
    async with small.write.begin(timeout=(0.02, 30)[number % 2]) as db:
        await note(db, number % 7)
        await asyncio.sleep(0.01)
        await db.execute(text(["SELECT 1", "SELECT 1/0", "SELECT pg_sleep(0.01)"][number % 3]))


async def by_writing_shortly(small: Database, number: int) -> None:
    async with small.write.begin(timeout=(0.02, 30)[number % 2]) as db:
        await note_shortly(db, number % 7)
        await note_later(db, number % 7 + 1)
        await asyncio.sleep(0.01)


USES: list[Callable[[Database, int], Awaitable[None]]] = [
    by_statement,
    by_session,
    slowly,
    by_writing,
    by_writing_shortly,
]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
async def test_whatever_interrupts_them_the_pools_get_every_place_back(small: Database, seed: int) -> None:
    chance = random.Random(seed)

    async def use(number: int) -> None:
        await asyncio.sleep(chance.random() / 5)
        with anyio.move_on_after(chance.choice((30, chance.random() / 20, chance.random() / 200))):
            await chance.choice(USES)(small, number)

    async def cancel(number: int) -> None:
        """As plain asyncio does: once, so that what is done on the way out goes on."""
        task = asyncio.create_task(use(number))
        await asyncio.sleep(chance.random() / 4)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    for _ in range(3):
        work = [(use, cancel)[number % 2](number) for number in range(60)]
        await asyncio.gather(*work, return_exceptions=True)
    for _ in range(4):
        await asyncio.gather(*(by_statement(small, 1) for _ in range(4)))
        async with small.write.begin() as db, small.read.session() as reading:
            await db.execute(text("SELECT 1"))
            await reading.execute(text("SELECT 1"))

    assert checked_out(small) == 0
    gc.collect()  # a connection that was forgotten warns, which is an error here


@pytest.mark.slow
async def test_an_overdue_transaction_costs_others_no_connection(small: Database) -> None:
    """It is nobody's fault but its host's: the pool is not thrown away, as after a failover."""

    async def serving() -> int:
        async with small.write.begin() as db:
            return int(await db.scalar(text("SELECT pg_backend_pid()")))

    kept = await serving()
    async with anyio.create_task_group() as group:

        async def dawdle() -> None:
            with pytest.raises(Unavailable, match="begin"):
                async with small.write.begin(timeout=2) as db:
                    await db.execute(text("SELECT 1"))
                    await asyncio.sleep(2.2)
                    await db.execute(text("SELECT 1"))

        async with small.write.begin() as db:
            assert int(await db.scalar(text("SELECT pg_backend_pid()"))) == kept
            group.start_soon(dawdle)
            await asyncio.sleep(0.3)

    assert await serving() == kept
    assert checked_out(small) == 0


async def test_the_server_itself_ends_what_a_wedged_process_leaves_open(small: Database) -> None:
    name = "idle_in_transaction_session_timeout"
    async with small.write.begin() as db:
        assert await db.scalar(text(f"SHOW {name}")) == "1min"
    async with small.write.begin(timeout=120) as db:
        assert await db.scalar(text(f"SHOW {name}")) == "2min"
        assert await db.scalar(text("SHOW statement_timeout")) == "2min"
    async with small.write.begin() as db:
        assert await db.scalar(text(f"SHOW {name}")) == "1min"


# --- something on the way --------------------------------------------------------------------------------------------


async def messages(reader: asyncio.StreamReader) -> AsyncIterator[tuple[bytes, bytes]]:
    """Read what the server sends: the type of each message, and all of it."""
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            head = await reader.readexactly(5)
            yield head[:1], head + await reader.readexactly(int.from_bytes(head[1:]) - 4)


async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


def error_response(state: str) -> bytes:
    fields = f"SERROR\0VERROR\0C{state}\0Mmade by a test\0\0".encode()
    return b"E" + (len(fields) + 4).to_bytes(4) + fields


@asynccontextmanager
async def meddled_with(url: URL, meddle: Meddle) -> AsyncIterator[URL]:
    """Stand between client and server.

    Args:
        url: the server.
        meddle: given how often the server has been ready before on this connection, and a message of its, gives what
            the client gets instead, and whether that is all it ever gets.
    """

    async def serve(from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection(url.host, url.port)
        writers.extend((to_client, to_server))
        passing = asyncio.create_task(pass_on(from_client, to_server))
        ready = 0
        async for kind, message in messages(from_server):
            meddled, is_last = meddle(ready, message)
            ready += kind == READY
            to_client.write(meddled)
            if is_last:
                break
        to_client.close()
        to_server.close()
        await passing

    writers: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield url.set(host="127.0.0.1", port=port).update_query_dict({"sslmode": "disable", "gssencmode": "disable"})
    finally:
        server.close()
        for writer in writers:
            writer.close()
        await server.wait_closed()


async def all_are_told(own: Database) -> None:
    for use in USES:
        for _ in range(3):
            with pytest.raises(Unavailable):
                await use(own, 1)


async def test_connections_that_are_cut_as_soon_as_they_are_made_are_told(
    database: Database, options: DatabaseOptions
) -> None:
    """By a load balancer, say, whose server is going."""
    cut = False

    def meddle(ready: int, message: bytes) -> tuple[bytes, bool]:
        return message, cut and ready >= 2

    async with meddled_with(database.url, meddle) as url:
        own = Database(url, options)
        await own.ping()
        assert own.opened is not None
        cut = True
        await all_are_told(own)
        cut = False
        assert await noted(own) == []
        assert checked_out(own) == 0
        await own.close()


async def test_a_server_that_says_goodbye_at_once_is_told(database: Database, options: DatabaseOptions) -> None:
    """It is there before the connection is lent out, and seen on it; the next would be no better."""
    going = False

    def meddle(ready: int, message: bytes) -> tuple[bytes, bool]:
        return message, going and ready == 1 and message[:1] == READY

    async with meddled_with(database.url, meddle) as url:
        own = Database(url, options)
        await own.ping()
        going = True
        async with own.read.session() as db:  # takes the one connection there is, so that others are made
            await db.execute(text("SELECT 1"))
            await all_are_told(own)
        going = False
        assert await noted(own) == []
        await own.close()


@pytest.mark.parametrize("kind", [Database, AsBehindAPooler])
async def test_a_connection_that_cannot_be_set_up_is_closed(
    database: Database, options: DatabaseOptions, kind: type[Database], postgres: Postgres
) -> None:
    broken = True

    def meddle(ready: int, message: bytes) -> tuple[bytes, bool]:
        if not broken or ready != 1:
            return message, False
        return error_response("57014") + message if message[:1] == READY else b"", False

    async with meddled_with(database.url, meddle) as url:
        own = kind(url, options)
        await all_are_told(own)
        gc.collect()  # a connection that was forgotten warns, which is an error here
        broken = False
        assert await noted(own) == []
        await own.close()


async def test_no_round_trip_is_added_to_an_ordinary_transaction(database: Database) -> None:
    """Its deadline is kept on our side of the wire."""
    trips = 0

    def meddle(ready: int, message: bytes) -> tuple[bytes, bool]:
        nonlocal trips
        trips += message[:1] == READY
        return message, False

    async with meddled_with(database.url, meddle) as url:
        own = Database(url)
        for _ in range(2):
            trips = 0
            async with own.write.begin() as db:
                await db.execute(text("SELECT 1"))
        await own.close()

    assert trips == 3  # BEGIN, the statement, COMMIT


def test_psycopg_still_sets_back_what_the_pool_sets_back_by_these_methods() -> None:
    """A reminder for the next version of psycopg, as for `wait`."""
    import inspect

    from psycopg import AsyncConnection

    from denizen.core.postgresql.guarded import GuardedConnection

    for name in ("rollback", "set_autocommit", "set_isolation_level", "set_read_only"):
        ours: Any = getattr(GuardedConnection, name)
        original: Any = getattr(AsyncConnection, name)
        assert list(inspect.signature(ours).parameters) == list(inspect.signature(original).parameters)
