"""The SQL statements of a batch that are not those of a single act."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.statements import Statement
from denizen.core.writes import run, run_later

_PATIENCE: Final = "20s"
_WAIT: Final = text("SELECT set_config('lock_timeout', :long, true)")
_SAVEPOINT: Final = Statement(text("SAVEPOINT operation").columns())
_RELEASE: Final = Statement(text("RELEASE SAVEPOINT operation").columns())
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

    `db.begin_nested()` at a third of its price, which is for what it tells the session. Objects that were added inside
    are forgotten here, or they would be written all the same; those that were changed would stay so, and there are none
    but where a host listens.
    """
    await run_later(db, _SAVEPOINT)  # what waited to be written is written before it
    known = set(db.sync_session.identity_map.values())
    try:
        yield
        await run(db, _RELEASE)  # and on PostgreSQL what was put off: it belongs to this act, and fails with it
    except Exception:
        for each in {*db.sync_session.new, *db.sync_session.identity_map.values()} - known:
            db.expunge(each)
        await (await db.connection()).exec_driver_sql("ROLLBACK TO SAVEPOINT operation")
        await run(db, _RELEASE)
        raise


@asynccontextmanager
async def within_savepoint(db: AsyncSession) -> AsyncIterator[None]:
    """Stand for a savepoint inside `savepoint`, for the last statement of an act: what undoes that one undoes both."""
    try:
        yield
    except Exception:
        await (await db.connection()).exec_driver_sql("ROLLBACK TO SAVEPOINT operation")
        raise
