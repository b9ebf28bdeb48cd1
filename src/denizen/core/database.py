"""One database, whichever it is: sessions that write, sessions that only read, and the transactions of both.

| use | as |
| --- | --- |
| write | `async with database.write.begin() as db:` commits at the end, rolls back when anything raises |
| build an index | `async with database.write.alone(timeout=...) as connection:` each statement commits (PostgreSQL) |
| read | `async with database.read.session() as db:` autocommit; the connection refuses writes |
| read slowly | `async with database.read.slow() as db:` counts, deep `skip`, exports |
| read on the hot path | `await database.read.rows(STATEMENT, id=...)` |
| search | `await database.read.rows_anew(STATEMENT, match=...)` |
| read much at once | `await database.read.slow_rows(STATEMENT, ...)` |

Only this module commits (a test looks).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from threading import Lock, get_ident
from typing import Any, Literal, Protocol

from sqlalchemy.engine import URL, Dialect, make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from denizen.core.base import Base
from denizen.core.failures import NoDatabase, constraint_of, meaning, without_row
from denizen.core.options import DatabaseOptions, Load, closed
from denizen.core.statements import Statement
from denizen.setting_types import mask_password

__all__ = ["Base", "Database", "DatabaseOptions", "NoDatabase", "constraint_of"]

Observer = Callable[[str], None]


class Backend(Protocol):
    """What SQLite and PostgreSQL each do in their own way."""

    dialect: Dialect

    def writing(self, seconds: float) -> Any:
        """Enter a session whose first statement begins a transaction; leaves committing to the caller.

        `seconds` after that statement it is over: undone at once if it is idle, and its commit is refused.
        """

    def reading(self) -> Any:
        """Enter a session that only reads."""

    def reading_slowly(self) -> Any:
        """Enter a session that only reads, where it may take long."""

    async def rows(self, sql: str, parameters: Any) -> Any:
        """Run one SELECT on the driver."""

    async def rows_anew(self, sql: str, parameters: Any) -> Any:
        """Run one SELECT on the driver, off the event loop, by a plan made for these parameters."""

    async def slow_rows(self, sql: str, parameters: Any) -> Any:
        """Run one SELECT on the driver, where it may take long; bytes come as the server has them."""

    def load(self) -> Load:
        """Tell how busy it is."""

    async def close(self) -> None:
        """Close every connection; what is in use is undone, and refused from now on."""


_ELSEWHERE = (
    "This database is open in another event loop. Give each loop a `Database` (an install) of its own, or await its "
    "`close()` in the first loop before the next one uses it."
)


@contextmanager
def told_apart() -> Any:
    """Turn a failure of the database into `Unavailable` or `StorageFull`; let everything else through as it is, but for
    errors that quote a row of ours.
    """
    try:
        yield
    except Exception as error:
        what = meaning(error)
        if what is not None:
            raise what from error
        bare = without_row(error)
        if bare is not None:
            raise bare from None
        raise


class Writer:
    """Transactions that write; see `begin`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def begin(self, *, timeout: float | None = None) -> AsyncIterator[AsyncSession]:
        """Open a session in a transaction; commit it at the end, or roll it back when anything raises.

        Args:
            timeout: seconds that the whole may take from its first statement on, waiting included, instead of
                `DatabaseOptions.timeout`. Past them the transaction is undone, in the middle of whatever its caller
                waits for, since others may be waiting for him. Only a part of them may go by in waiting for a turn or a
                connection.

        Raises:
            Unavailable: no turn or no connection in time, more time taken than there was, or the database is away.
                Where the commit itself was cut off, it may have been made all the same.
            RuntimeError: another event loop has the database open.
            StorageFull: no room to write.
        """
        with told_apart():
            backend = await self._database.backend()
            async with AsyncExitStack() as stack:
                db: AsyncSession = await stack.enter_async_context(
                    backend.writing(self._database.options.timeout if timeout is None else timeout)
                )
                try:
                    yield db
                except BaseException:
                    await db.rollback()
                    raise
                await db.commit()

    @asynccontextmanager
    async def alone(self, *, timeout: float) -> AsyncIterator[AsyncConnection]:
        """Lend a connection to PostgreSQL on which each statement commits by itself, for what is done in no
        transaction, such as `CREATE INDEX CONCURRENTLY`. It is made for this, with its own limits, and closed
        afterwards: those of the others cannot be changed without a transaction.

        Args:
            timeout: seconds that the whole may take.

        Raises:
            Unavailable: as `begin`.
        """
        from denizen.core.postgresql.backend import lend_alone

        database = self._database
        with told_apart():
            async with lend_alone(database.url, database.options, timeout, database.observe) as connection:
                yield connection


class Reader:
    """Reads that are promised to be no writes.

    Attributes:
        kind: of the database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.kind = database.kind

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """Open a session in autocommit: each statement sees the newest state, nothing is held between two of them."""
        with told_apart():
            backend = await self._database.backend()
            async with backend.reading() as db:
                yield db

    @asynccontextmanager
    async def slow(self) -> AsyncIterator[AsyncSession]:
        """The same for what may take long: never on the event loop, and with `DatabaseOptions.slow_timeout`."""
        with told_apart():
            backend = await self._database.backend()
            async with backend.reading_slowly() as db:
                yield db

    async def rows(self, statement: Statement, **values: Any) -> list[tuple[Any, ...]]:
        """Run a compiled SELECT on the driver's connection.

        Args:
            statement: made once, at import.
            values: its parameters by name, as Python values of the columns' types.

        Raises:
            Unavailable: the database is away, frozen or out of connections.
            RuntimeError: another event loop has the database open.
        """
        database = self._database
        try:
            backend = (get_ident() == database.thread and database.opened) or await database.backend()
            compiled = statement.on(backend.dialect)
            database.statements += 1
            for observe in database.observers:
                observe(compiled.sql)
            return compiled.convert(await backend.rows(compiled.sql, compiled.parameters(values)))
        except Exception as error:
            what = meaning(error)
            if what is None:
                raise
            raise what from error

    async def rows_anew(self, statement: Statement, **values: Any) -> list[tuple[Any, ...]]:
        """The same for a SELECT that takes milliseconds, and whose best plan depends on its values: a search.

        It is never planned for values in general, as PostgreSQL does with a prepared statement after some runs.
        """
        with told_apart():
            backend = await self._database.backend()
            compiled = statement.on(backend.dialect)
            self._database.observe(compiled.sql)
            return compiled.convert(await backend.rows_anew(compiled.sql, compiled.parameters(values)))

    async def slow_rows(self, statement: Statement, **values: Any) -> list[tuple[Any, ...]]:
        """The same where it may take long, as in `slow`; for large results, of which nothing is to be made here.

        Raises:
            As `rows`.
        """
        database = self._database
        with told_apart():
            backend = await database.backend()
            compiled = statement.on(backend.dialect)
            database.observe(compiled.sql)
            return compiled.convert(await backend.slow_rows(compiled.sql, compiled.parameters(values)))


class Database:
    """One database and this process's connections to it, opened at first use and bound to the event loop of that use,
    until it is closed or its loop is.

    Args:
        url: `sqlite:///file.db`, `sqlite:////absolute/file.db` or `postgresql://user:password@host/name`.
        options: limits and sizes.

    Attributes:
        kind: which of the two it is.
        statements: how many have been run.
        observers: called with the text of every statement that is run; for counting them.
        on_open: awaited in turn with what was opened, before anybody may use it; what one raises closes it again and
            is raised by all uses that waited for it. The next use tries anew.
        opened: what it is while it is open.
        thread: the thread that may read in place (SQLite) without asking which loop it runs, which would cost more than
            a fiftieth of the read. One connection used by two threads at once would stop both for ever.
    """

    kind: Literal["sqlite", "postgresql"]

    def __init__(self, url: str | URL, options: DatabaseOptions | None = None) -> None:
        self.url = make_url(url)
        self.options = options or DatabaseOptions()
        self.kind = "sqlite" if self.url.get_backend_name() == "sqlite" else "postgresql"
        self.write = Writer(self)
        self.read = Reader(self)
        self.statements = 0
        self.observers: list[Observer] = []
        self.on_open: list[Callable[[Backend], Awaitable[None]]] = []
        self.opened: Backend | None = None
        self.thread = 0
        self._claiming = Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opening: asyncio.Task[Backend] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._left_open: Backend | None = None

    def describe(self) -> str:
        """Give the URL without its password."""
        return mask_password(self.url.render_as_string(hide_password=True))

    def load(self) -> Load:
        """Tell how busy its connections are."""
        return Load() if self.opened is None else self.opened.load()

    def observe(self, sql: str) -> None:
        """Count one statement, and tell the observers of it."""
        self.statements += 1
        for observer in self.observers:
            observer(sql)

    async def backend(self) -> Backend:
        """Open the database, once: all who ask meanwhile wait for the same attempt, and share its failure.

        Raises:
            NoDatabase: no SQLite file there.
            Unavailable: it is being closed.
            RuntimeError: another event loop has it open.
            Exception: what the driver says where nobody answers (see `told_apart`), or what `on_open` raises.
        """
        self._claim(asyncio.get_running_loop())
        if self.opened is not None:
            return self.opened
        if self._closing is not None:
            raise closed()
        if self._opening is None:
            self._opening = asyncio.create_task(self._open())
            self._opening.add_done_callback(self._has_opened)
        return await asyncio.shield(self._opening)

    def _claim(self, loop: asyncio.AbstractEventLoop) -> None:
        """Bind to `loop`, unless another one is bound to and can still run.

        What was left open in a loop that has been closed nobody can be using: the next opening closes it first.
        """
        if self._loop is loop:
            return
        with self._claiming:
            if self._loop is not None and not self._loop.is_closed():
                raise RuntimeError(_ELSEWHERE)
            self._left_open = self.opened or self._left_open
            self.opened = self._opening = self._closing = None
            self.thread = 0
            self._loop = loop

    def _has_opened(self, attempt: asyncio.Task[Backend]) -> None:
        self._opening = None
        if not attempt.cancelled() and attempt.exception() is None:
            self.opened = attempt.result()
            self.thread = get_ident() if self.kind == "sqlite" else 0
        elif self._closing is None:
            self._loop = None

    async def _open(self) -> Backend:
        await self._close_what_was_left()
        opened = await self._connect()
        try:
            for act in self.on_open:
                await act(opened)
        except BaseException:
            await opened.close()
            raise
        return opened

    async def _connect(self) -> Backend:
        if self.kind == "sqlite":
            from denizen.core.sqlite.backend import SQLiteBackend

            return await SQLiteBackend.open(self.url, self.options, self.observe)
        from denizen.core.postgresql.backend import PostgreSQLBackend

        return await PostgreSQLBackend.open(self.url, self.options, self.observe)

    async def ping(self) -> float:
        """Ask the database for nothing; give the seconds it took.

        Raises:
            Unavailable: no answer in time.
        """
        began = time.monotonic()
        async with self.read.session() as db:
            await (await db.connection()).exec_driver_sql("SELECT 1")
        return time.monotonic() - began

    async def close(self) -> None:
        """Close every connection; the next use opens them anew.

        Whoever uses them now is told `Unavailable`, and what he has not committed is undone.

        Raises:
            RuntimeError: another event loop has it open.
        """
        self._claim(asyncio.get_running_loop())
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
            self._closing.add_done_callback(self._has_closed)
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        if self._opening is not None:
            await asyncio.wait([self._opening])
        self.thread = 0
        opened, self.opened = self.opened, None
        if opened is not None:
            await opened.close()
        await self._close_what_was_left()

    async def _close_what_was_left(self) -> None:
        left, self._left_open = self._left_open, None
        if left is not None:
            await left.close()

    def _has_closed(self, _: asyncio.Task[None]) -> None:
        self._closing = self._loop = None
