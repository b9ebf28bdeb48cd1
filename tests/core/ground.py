"""What tests of the database layer stand on: a table of no room, and a measure of how the event loop turns."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Integer, MetaData, String, Table, UniqueConstraint, bindparam, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.database import Database
from denizen.core.statements import Statement
from denizen.core.types import StringList, UtcDateTime, Uuid
from denizen.core.writes import run, run_later

METADATA = MetaData()
NOTES = Table(
    "notes",
    METADATA,
    Column("number", Integer, primary_key=True),
    Column("text", String),
    Column("at", UtcDateTime),
    Column("uid", Uuid),
    Column("words", StringList),
    UniqueConstraint("text", name="uq_notes_text"),
)


async def note(db: AsyncSession, *numbers: int) -> None:
    """Store notes, one statement each."""
    for number in numbers:
        await db.execute(insert(NOTES).values(number=number, text=f"note {number}"))


_NOTE = Statement(insert(NOTES).values(number=bindparam("number"), text=bindparam("text")))


async def note_shortly(db: AsyncSession, *numbers: int) -> None:
    """The same on the short way."""
    for number in numbers:
        await run(db, _NOTE, number=number, text=f"note {number}")


async def note_later(db: AsyncSession, *numbers: int) -> None:
    """The same, put off."""
    for number in numbers:
        await run_later(db, _NOTE, number=number, text=f"note {number}")


WAYS = {"core": note, "shortly": note_shortly, "later": note_later}


async def noted(database: Database) -> list[int]:
    """Give the numbers of all stored notes."""
    async with database.read.session() as db:
        return list(await db.scalars(select(NOTES.c.number).order_by(NOTES.c.number)))


def checked_out(database: Database) -> int:
    """Count the connections of `database` that somebody uses; on SQLite the turns that are taken."""
    backend: Any = database.opened
    if database.kind == "sqlite":
        return int(backend._turn.locked() or backend.writer.in_transaction)
    kept = len(backend._kept._idle) + len(backend._kept._forgotten)  # lent out for good, and idle
    return int(backend._readers.pool.checkedout() + backend._writers.pool.checkedout() - kept)


@dataclass
class Lag:
    """The longest time, in seconds, that the event loop did not turn."""

    longest: float = 0.0


@asynccontextmanager
async def loop_lag(every: float = 0.005) -> AsyncIterator[Lag]:
    """Measure by how much a short sleep oversleeps while the block runs."""
    lag = Lag()

    async def watch() -> None:
        while True:
            slept = time.perf_counter()
            await asyncio.sleep(every)
            lag.longest = max(lag.longest, time.perf_counter() - slept - every)

    task = asyncio.create_task(watch())
    try:
        await asyncio.sleep(2 * every)
        yield lag
        await asyncio.sleep(2 * every)
    finally:
        task.cancel()
