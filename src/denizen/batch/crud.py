"""The SQL statements of a batch that are not those of a single act."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

_PATIENCE: Final = "20s"
_WAIT: Final = text("SELECT set_config('lock_timeout', :long, true)")
_BATCHES: Final = 0x64656E697A656E02
"""Names the lock; `denizen`, and a number of its own."""


async def take_turn(db: AsyncSession) -> None:
    """Wait until no other batch is being written. On SQLite nobody else writes meanwhile, as it is.

    Two batches that touch the same accounts or addresses in another order would each hold what the other waits for.
    """
    if (await db.connection()).dialect.name == "postgresql":
        # For longer than one waits for a row: those before may each take a second.
        usual = (await db.execute(text("SELECT current_setting('lock_timeout')"))).scalar_one()
        await db.execute(_WAIT, {"long": _PATIENCE})
        await db.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _BATCHES})
        await db.execute(_WAIT, {"long": usual})


@asynccontextmanager
async def savepoint(db: AsyncSession) -> AsyncIterator[None]:
    """Undo what statements do inside when it raises, and nothing else.

    `db.begin_nested()` at a third of its price, which is for what it tells the session: objects that are added or
    changed inside would be lost or written twice. Only where there are none.
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


@asynccontextmanager
async def within_savepoint(db: AsyncSession) -> AsyncIterator[None]:
    """Stand for a savepoint inside `savepoint`, for the last statement of an act: what undoes that one undoes both."""
    try:
        yield
    except Exception:
        await (await db.connection()).exec_driver_sql("ROLLBACK TO SAVEPOINT operation")
        raise
