"""`Reader.slow_rows`: compiled statements that may take long, and bytes as they are, on both databases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import LargeBinary, bindparam, func, literal_column, select

from denizen.core.accounts import Accounts
from denizen.core.database import Database, DatabaseOptions
from denizen.core.errors import Unavailable
from denizen.core.ids import new_id
from denizen.core.statements import Statement
from denizen.core.types import Uuid

LONG = {
    "sqlite": "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n)",
    "postgresql": "pg_sleep(60)",
}
BYTES = {"sqlite": "x'00ff61'", "postgresql": "decode('00ff61', 'hex')"}
OPTIONS = DatabaseOptions(pool_size=2, slow_timeout=0.5, timeout=5, pool_timeout=2)


@pytest.fixture
async def small(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, OPTIONS)
    yield database
    await database.close()


def long(kind: str) -> Statement:
    return Statement(select(literal_column(LONG[kind])))


async def test_values_are_those_of_the_columns_and_bytes_are_bytes(accounts: Accounts) -> None:
    database, some_id, told = accounts.database, new_id(), list[str]()
    database.observers.append(told.append)
    data: Any = literal_column(BYTES[database.kind], LargeBinary())
    statement = Statement(select(data, bindparam("id", type_=Uuid()).label("id"), func.count()))

    assert await database.read.slow_rows(statement, id=some_id) == [(b"\x00\xffa", some_id, 1)]
    assert [sql for sql in told if "count" in sql]


@pytest.mark.slow
async def test_what_takes_too_long_is_told_and_others_go_on(small: Database) -> None:
    for _ in range(4):
        with pytest.raises(Unavailable):
            await small.read.slow_rows(long(small.kind))

    assert await small.read.slow_rows(Statement(select(literal_column("1")))) == [(1,)]


@pytest.mark.slow
async def test_who_gives_up_takes_no_connection_with_him(database_url: str) -> None:
    database = Database(database_url, DatabaseOptions(pool_size=2, reading_threads=2, slow_timeout=60))
    try:
        for _ in range(5):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await database.read.slow_rows(long(database.kind))

        assert await database.read.slow_rows(Statement(select(literal_column("1")))) == [(1,)]
    finally:
        await database.close()


async def test_database_that_closes_tells_who_reads(database_url: str) -> None:
    # On PostgreSQL what runs ends first, by its own time-out: a socket is not closed under those who wait for it.
    database = Database(database_url, DatabaseOptions(slow_timeout=1))
    reading = asyncio.create_task(database.read.slow_rows(long(database.kind)))
    await asyncio.sleep(0.3)

    await database.close()

    with pytest.raises(Unavailable):
        await reading
