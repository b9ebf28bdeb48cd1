"""Statements that are compiled once and run on the driver's own connection: the hot path under the API. And rows that
are stored by the hundred.

Running a Core statement costs 20 to 30 times the look-up itself: building it, finding it in the compile cache,
wrapping its result. For the few statements that every request runs, that work is done once, here. What stays is the
driver's call and the column types' own conversions, so that a row holds the same Python values as through a session,
on both databases.

`Reader.rows` runs those that read, `core.writes` those of a transaction that writes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any, Final

from pydantic_core import to_json
from sqlalchemy import Delete, Insert, Select, TextualSelect, Update, event
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.types import TypeEngine

from denizen.core.types import JsonObject, UtcDateTime, Uuid

Convert = Callable[[Any], Any]
Row = tuple[Any, ...]
Query = Select[*Row] | TextualSelect | Insert | Update | Delete


class Compiled:
    """One statement for one dialect.

    Attributes:
        sql: the text, with the driver's own placeholders.
    """

    __slots__ = ("_convert_in", "_convert_out", "_defaults", "_order", "sql")

    def __init__(self, query: Query, dialect: Dialect, *, shown: bool = False) -> None:
        compiled: Any = query.compile(dialect=dialect)
        if compiled.insert_prefetch or compiled.update_prefetch:
            raise TypeError(f"{compiled}: a default that Python makes would be left out; give the column a value.")
        self.sql = str(compiled)
        names = compiled.positiontup if compiled.positional else None
        self._order: tuple[str, ...] | None = tuple(names) if names is not None else None
        self._defaults = {name: value for name, value in compiled.params.items() if value is not None}
        self._convert_in: dict[str, Convert] = {}
        for bind, name in compiled.bind_names.items():
            processor = bind.type.dialect_impl(dialect).bind_processor(dialect)
            if processor is not None:
                self._convert_in[name] = processor
        self._convert_out: tuple[tuple[int, Convert], ...] = tuple(
            (index, convert)
            for index, column in enumerate(_given_by(query))
            if (convert := _out(column.type, dialect, shown=shown)) is not None
        )

    def parameters(self, values: Mapping[str, Any]) -> Any:
        """Arrange `values` as the driver takes them: by place on SQLite, by name on PostgreSQL."""
        merged = {**self._defaults, **values}
        for name, convert in self._convert_in.items():
            merged[name] = convert(merged[name])
        return merged if self._order is None else tuple(merged[name] for name in self._order)

    def convert(self, rows: Sequence[Row]) -> list[Row]:
        """Turn the driver's rows into rows of the columns' Python values."""
        if not self._convert_out:
            return list(rows)
        converted = []
        for row in rows:
            values = list(row)
            for index, convert in self._convert_out:
                values[index] = convert(values[index])
            converted.append(tuple(values))
        return converted


def _given_by(query: Query) -> Any:
    return query.selected_columns if isinstance(query, Select | TextualSelect) else query.exported_columns


def _out(column: TypeEngine[Any], dialect: Dialect, *, shown: bool) -> Convert | None:
    if shown and isinstance(column, UtcDateTime | Uuid | JsonObject):
        return column.shown_processor(dialect)
    return column.dialect_impl(dialect).result_processor(dialect, None)


class Statement:
    """A statement, compiled at its first use on each dialect and kept.

    Args:
        query: with a `bindparam` for all that changes from call to call. `IN` over a list is not possible here, since
            its text depends on the length of the list. Where the databases say it differently (`ON CONFLICT`), one
            for each, by the name of its dialect.
        shown: give ids and times as whatever JSON shows alike, instead of as `UUID` and `datetime`: SQLite's own text.
            To make a value of it, only for it to be written as that text again, is half of a list of 100.
    """

    def __init__(self, query: Query | Mapping[str, Query], *, shown: bool = False) -> None:
        self._query = query
        self._shown = shown
        self._compiled: dict[str, Compiled] = {}

    def query(self, dialect: str) -> Query:
        """Give it as SQLAlchemy takes it, for the dialect of a name."""
        return self._query[dialect] if isinstance(self._query, Mapping) else self._query

    def on(self, dialect: Dialect) -> Compiled:
        """Give the form for `dialect`."""
        found = self._compiled.get(dialect.name)
        if found is None:
            query = self.query(dialect.name)
            found = self._compiled[dialect.name] = Compiled(query, dialect, shown=self._shown)
        return found


_SIZES: Final = (512, 128, 32, 8, 1)
"""Rows of one statement. Few different ones, since each is kept compiled; of 13 columns the largest has a fifth of the
parameters that SQLite takes at most."""


class ManyRows:
    """An `INSERT` for any number of rows, on SQLite.

    Hundreds of them are one step, during which Python is free for other work: row by row (`executemany`) the two would
    wait for each other's hold on the interpreter after each. As one JSON text they would be one step as well, but
    SQLite takes half as long again to read them from it.

    Args:
        into: the table and its columns: `denizen_users (id, username)`.
        width: how many columns these are.
        otherwise: what stands behind the rows: `ON CONFLICT DO NOTHING`.
    """

    def __init__(self, into: str, width: int, *, otherwise: str = "") -> None:
        row = f"({','.join('?' * width)})"
        self._texts = {
            size: f"INSERT INTO {into} VALUES {','.join([row] * size)} {otherwise}"  # noqa: S608  (names of our files)
            for size in _SIZES
        }

    async def store(self, db: AsyncSession, rows: Sequence[Sequence[Any]]) -> int:
        """Store `rows`, in their order; give how many were stored."""
        connection = await db.connection()
        done = stored = 0
        for size, sql in self._texts.items():
            upto = len(rows) - (len(rows) - done) % size
            if upto > done:
                steps = []
                for at in range(done, upto, size):
                    steps.append(tuple(chain.from_iterable(rows[at : at + size])))
                    await asyncio.sleep(0)  # the event loop has others to serve
                stored += (await connection.exec_driver_sql(sql, steps)).rowcount
                done = upto
        return stored


def encode_rows(rows: Sequence[Any]) -> str:
    """Write many rows, or values, as one JSON array. Of 5,000 accounts it takes some three milliseconds, a quarter of
    what `json` does: the database waits meanwhile, and so does everybody else.
    """
    return to_json(rows).decode()


def watch_statements(engine: AsyncEngine, observe: Callable[[str], None]) -> None:
    """Tell `observe` the text of every statement that `engine` runs."""

    def tell(_: Any, cursor: Any, statement: str, *others: Any) -> None:
        observe(statement)

    event.listen(engine.sync_engine, "before_cursor_execute", tell)
