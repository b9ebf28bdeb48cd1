"""The SQL statements of a batch that are not those of a single act."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

_BATCHES: Final = 0x64656E697A656E02
"""Names the lock; `denizen`, and a number of its own."""


async def take_turn(db: AsyncSession) -> None:
    """Wait until no other batch is being written. On SQLite nobody else writes meanwhile, as it is.

    Two batches that touch the same accounts or addresses in another order would each hold what the other waits for.
    """
    if (await db.connection()).dialect.name == "postgresql":
        await db.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _BATCHES})


@asynccontextmanager
async def savepoint(db: AsyncSession) -> AsyncIterator[None]:
    """Undo what is done inside when it raises, and nothing else.

    `db.begin_nested()` would tell the session's objects as well, at three times the price; a batch uses none of them
    afterwards.
    """
    connection = await db.connection()
    await connection.exec_driver_sql("SAVEPOINT operation")
    try:
        yield
    except Exception:
        await connection.exec_driver_sql("ROLLBACK TO SAVEPOINT operation")
        await connection.exec_driver_sql("RELEASE SAVEPOINT operation")
        raise
    await connection.exec_driver_sql("RELEASE SAVEPOINT operation")
