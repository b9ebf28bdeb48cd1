"""Statements of a transaction that writes, compiled once and run on its driver: what `Reader.rows` is for reads.

| use | as |
| --- | --- |
| one statement | `rows = await run(db, STATEMENT, id=...)` |
| several, none of which needs another's answer | `held, seen = await run_together(db, hold(...), see(...))` |
| one whose answer nobody needs | `await run_later(db, STATEMENT, id=...)` |

They are part of the transaction that the session has open, or begin it, and stand in one order with what is run through
SQLAlchemy. What fails is what SQLAlchemy would raise, and is handled as it would. In a session that a host has made
himself, on whichever driver, they go SQLAlchemy's way altogether.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeVar, overload

from sqlalchemy.engine import Dialect
from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.statements import Row, Statement

T = TypeVar("T")
T1 = TypeVar("T1")
T2 = TypeVar("T2")
T3 = TypeVar("T3")
Step = tuple[str, Any]
"""A statement, and its parameters as the driver takes them."""

SHORT_WAY: Final = "denizen_short_way"
"""The key of `AsyncSession.info` under which sessions that write keep their `ShortWay`."""


class ShortWay(Protocol):
    """The way of one session past SQLAlchemy.

    Attributes:
        dialect: of its database.
        observe: told every statement.
    """

    dialect: Dialect
    observe: Callable[[str], None]

    async def rows(self, db: AsyncSession, steps: Sequence[Step]) -> list[Sequence[Row]]:
        """Run statements one after the other in the session's transaction, which begins where it has not; give the rows
        of each. One that fails is the last that is run.
        """

    async def put_off(self, db: AsyncSession, step: Step) -> None:
        """Run one now, or some time before the next one or the commit."""


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """A statement with its values, not run yet.

    Attributes:
        statement: which.
        values: by name.
        read: makes of its rows what whoever calls wants to know.
    """

    statement: Statement
    values: dict[str, Any]
    read: Callable[[Sequence[Row]], T]


async def run(db: AsyncSession, statement: Statement, **values: Any) -> Sequence[Row]:
    """Run a statement; give its rows, none where it has no `RETURNING`.

    Args:
        db: a session that writes; pending objects of it are written first.
        statement: made once, at import.
        values: its parameters by name, as Python values of the columns' types.

    Raises:
        As `AsyncSession.execute`.
    """
    call = Call(statement, values, list)
    way: ShortWay | None = db.info.get(SHORT_WAY)
    return await _the_long_way(db, call) if way is None else (await _the_short_way(way, db, (call,)))[0]


async def run_later(db: AsyncSession, statement: Statement, **values: Any) -> None:
    """Run a statement whose answer nobody needs, now or later in the transaction: before the next one at the latest, or
    with the commit. It must be one that cannot fail but for the database's own reasons; then the whole is undone.

    Args:
        As `run`.

    Raises:
        As `run`.
    """
    way: ShortWay | None = db.info.get(SHORT_WAY)
    if way is None:
        await _the_long_way(db, Call(statement, values, list))
        return
    if is_pending(db):
        await db.flush()
    compiled = statement.on(way.dialect)
    way.observe(compiled.sql)
    await way.put_off(db, (compiled.sql, compiled.parameters(values)))


@overload
async def run_together(db: AsyncSession, first: Call[T1], second: Call[T2], /) -> tuple[T1, T2]:
    """Run two."""


@overload
async def run_together(db: AsyncSession, first: Call[T1], second: Call[T2], third: Call[T3], /) -> tuple[T1, T2, T3]:
    """Run three."""


async def run_together(db: AsyncSession, *calls: Call[Any]) -> tuple[Any, ...]:
    """Run several statements in one step, one after the other; give what each of them reads.

    Args:
        db: as of `run`.
        calls: in their order.

    Raises:
        As `run`, for the first that fails.
    """
    way: ShortWay | None = db.info.get(SHORT_WAY)
    found = [await _the_long_way(db, call) for call in calls] if way is None else await _the_short_way(way, db, calls)
    return tuple(call.read(rows) for call, rows in zip(calls, found, strict=True))


def is_pending(db: AsyncSession) -> bool:
    """Tell whether the session has something to write of its own. Whatever is begins a transaction of SQLAlchemy's."""
    session = db.sync_session
    return session.in_transaction() and bool(session.new or session.dirty or session.deleted)


async def _the_short_way(way: ShortWay, db: AsyncSession, calls: Sequence[Call[Any]]) -> list[Sequence[Row]]:
    if is_pending(db):
        await db.flush()
    compiled = [call.statement.on(way.dialect) for call in calls]
    steps = [(each.sql, each.parameters(call.values)) for each, call in zip(compiled, calls, strict=True)]
    for sql, _ in steps:
        way.observe(sql)
    found = await way.rows(db, steps)
    return [each.convert(rows) for each, rows in zip(compiled, found, strict=True)]


async def _the_long_way(db: AsyncSession, call: Call[Any]) -> Sequence[Row]:
    dialect = (await db.connection()).dialect.name
    options = {"synchronize_session": False}
    result: Any = await db.execute(call.statement.query(dialect), call.values, execution_options=options)
    return [tuple(row) for row in result] if result.returns_rows else []
