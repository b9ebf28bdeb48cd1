"""`sqlite+denizen`: SQLAlchemy's SQLite dialect over the runners of `driver`.

SQLAlchemy's asyncio runs its synchronous code in a greenlet; the adapted cursor below awaits a runner from inside it.
A read in place awaits something that is already done, so that the same `AsyncSession` code costs a fifth of what it
does over a thread.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import pool
from sqlalchemy.connectors.asyncio import AsyncAdapt_dbapi_module
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.engine import URL, AdaptedConnection
from sqlalchemy.util.concurrency import await_

from denizen.core.sqlite.driver import Result, Runner
from denizen.core.sqlite.writing import NOTHING, Turn


class Cursor:
    """A PEP 249 cursor whose results are always wholly fetched."""

    arraysize = 1
    server_side = False

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._result = NOTHING
        self._rows: deque[tuple[Any, ...]] = deque()

    @property
    def description(self) -> Any:
        return self._result.description

    @property
    def rowcount(self) -> int:
        return self._result.rowcount

    @property
    def lastrowid(self) -> int | None:
        return self._result.lastrowid

    def execute(self, operation: str, parameters: Sequence[Any] | None = None) -> Cursor:
        self._result = await_(self._runner.run(operation, parameters or ()))
        self._rows = deque(self._result.rows)
        return self

    def executemany(self, operation: str, parameters: Sequence[Sequence[Any]]) -> Cursor:
        self._result = await_(self._runner.run_many(operation, parameters))
        self._rows = deque()
        return self

    def fetchone(self) -> tuple[Any, ...] | None:
        return self._rows.popleft() if self._rows else None

    def fetchmany(self, size: int | None = None) -> list[tuple[Any, ...]]:
        return [self._rows.popleft() for _ in range(min(size or self.arraysize, len(self._rows)))]

    def fetchall(self) -> list[tuple[Any, ...]]:
        rows = list(self._rows)
        self._rows.clear()
        return rows

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        while self._rows:
            yield self._rows.popleft()

    def setinputsizes(self, *sizes: Any) -> None:
        """Nothing to set: SQLite types values, not parameters."""

    async def _async_soft_close(self) -> None:
        """Nothing to do: there is no open cursor behind this one."""

    def close(self) -> None:
        self._rows.clear()


class NoTurn:
    """Stands where a writer's connection has no turn: only that of the session itself gets one."""

    async def run(self, sql: str, parameters: Sequence[Any]) -> Result:
        """Refuse."""
        raise RuntimeError("On SQLite a writing session has one connection: use that of `await db.connection()`.")

    run_many = run


class Connection(AdaptedConnection):
    """A PEP 249 connection over a runner. For readers there is no transaction to begin or end."""

    __slots__ = ("dbapi",)

    _connection: Any

    def __init__(self, dbapi: Any, runner: Runner | None) -> None:
        self.dbapi = dbapi
        self._connection = runner or NoTurn()

    @property
    def isolation_level(self) -> str | None:
        """Always `None`: the driver begins no transaction by itself."""
        return None

    @property
    def turn(self) -> Turn | None:
        """Whose transactions run here, where this is a writer's connection that has begun one."""
        return self._connection if isinstance(self._connection, Turn) else None

    def begin(self, turn: Turn) -> None:
        """Begin as writers must, and run on `turn` from now on."""
        self._connection = turn
        await_(turn.begin(self))

    def cursor(self, server_side: bool = False) -> Cursor:
        return Cursor(self._connection)

    def execute(self, operation: str, parameters: Sequence[Any] | None = None) -> Cursor:
        return self.cursor().execute(operation, parameters)

    def commit(self) -> None:
        if self.turn is not None:
            await_(self.turn.commit())

    def rollback(self) -> None:
        if self.turn is not None:
            await_(self.turn.rollback())

    def close(self) -> None:
        """Leave the turn. Runners belong to the `Database`, which closes them."""
        if self.turn is not None:
            self.turn.leave(self)


class _Module(AsyncAdapt_dbapi_module):
    """`sqlite3` under the name SQLAlchemy looks for, with a `connect` that takes a runner: `None` for writers, each of
    whom brings a `Turn`.
    """

    paramstyle = "qmark"

    def __init__(self) -> None:
        super().__init__(sqlite3)
        for name in dir(sqlite3):
            if not name.startswith("_") and name != "connect":
                setattr(self, name, getattr(sqlite3, name))

    def connect(self, *args: Any, runner: Runner | None, **kwargs: Any) -> Connection:
        return Connection(self, runner)


class DenizenSQLite(SQLiteDialect_pysqlite):
    """The dialect. Engines are made with `connect_args={"runner": ...}`."""

    driver = "denizen"
    is_async = True
    supports_statement_cache = True
    has_terminate = False

    @classmethod
    def import_dbapi(cls) -> Any:
        return _Module()

    @classmethod
    def get_pool_class(cls, url: URL) -> type[pool.Pool]:
        return pool.StaticPool

    def on_connect(self) -> None:  # type: ignore[override]  # pysqlite has one, other dialects need not
        """No functions written in Python: they would run inside SQLite, on the loop."""
        return

    def get_isolation_level(self, dbapi_connection: Any) -> Any:
        """Say what it always is. Asking would be a statement outside a transaction, which writers refuse."""
        return "SERIALIZABLE"

    def set_isolation_level(self, dbapi_connection: Any, level: Any) -> None:
        """Nothing to set: `BEGIN` is ours alone."""

    def detect_autocommit_setting(self, dbapi_conn: Any) -> bool:
        return True

    def get_driver_connection(self, connection: Any) -> Any:
        return connection.driver_connection
