"""SQLite behind `Database`: readers in place, and one writer at a time in a fair queue (ADR 0003)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.dialects import registry
from sqlalchemy.engine import URL, Dialect
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.util.concurrency import await_

from denizen.core.errors import Unavailable
from denizen.core.failures import NoDatabase
from denizen.core.options import DatabaseOptions
from denizen.core.sqlite.driver import InPlace, ReadingThreads, Runner
from denizen.core.sqlite.writing import WritingThread
from denizen.core.statements import watch_statements

registry.register("sqlite.denizen", "denizen.core.sqlite.dialect", "DenizenSQLite")


def path_of(url: URL) -> Path:
    """Give the file that `url` names, relative to the working folder unless it is absolute."""
    return Path(url.database or "")


class SQLiteBackend:
    """The connections of one process to one SQLite file.

    SQLite has one write lock for the whole file, and whoever waits for it inside SQLite polls: of 200 concurrent
        updates that way, many starve. So writers queue here, first come first served, and only one at a time asks
        SQLite. Between processes SQLite's own lock decides, within the time that is left.
    """

    def __init__(self, path: Path, options: DatabaseOptions, observe: Callable[[str], None]) -> None:
        with ExitStack() as stack:
            self._threads = ReadingThreads(
                path, threads=options.reading_threads, busy_timeout=options.timeout, seconds=options.slow_timeout
            )
            stack.callback(self._threads.close)
            self._in_place = InPlace(path, self._threads, seconds=options.timeout)
            stack.callback(self._in_place.close)
            self.writer = WritingThread(path, synchronous=options.synchronous, seconds=options.timeout)
            stack.pop_all()
        self._readers = _engine(self._in_place, observe)
        self._slow_readers = _engine(self._threads, observe)
        # Nothing is undone when a session lets go of the connection that all writers share: one that never got its
        # turn would undo what another is writing. `_undo` does it, for whoever has the turn.
        self._writers = _engine(self.writer, observe, pool_reset_on_return=None)
        event.listen(self._writers.sync_engine, "begin", _begin_immediate)
        self.dialect: Dialect = self._readers.dialect
        self._turn = asyncio.Lock()

    @classmethod
    async def open(cls, url: URL, options: DatabaseOptions, observe: Callable[[str], None]) -> SQLiteBackend:
        """Open the file, off the event loop: somebody may hold it locked, or have left a log to recover from.

        Raises:
            NoDatabase: there is no such file.
            sqlite3.OperationalError: it cannot be opened.
        """
        path = path_of(url)
        if not path.is_file():
            raise NoDatabase(
                f"There is no database at {path.absolute()}. "
                "`denizen serve` makes one there; or set DENIZEN_DATABASE_URL to the one you mean."
            )
        return await asyncio.to_thread(cls, path, options, observe)

    @asynccontextmanager
    async def writing(self, seconds: float) -> AsyncIterator[AsyncSession]:
        """Give a session whose first statement waits for its turn and for the file's write lock, `seconds` for both.

        Not before the first statement: what a caller does until then (hash a password, say) must not keep others
            waiting.
        """
        turn = _Turn(self._turn, seconds)
        engine = self._writers.execution_options(denizen_turn=turn)
        async with AsyncExitStack() as stack:
            stack.callback(turn.give_up)
            stack.push_async_callback(self._undo, turn)
            db = AsyncSession(engine, expire_on_commit=False, autoflush=False)
            # Not `async with db`: cancelled, it would close in a task of its own, when the turn is already another's.
            stack.push_async_callback(db.close)
            yield db

    async def _undo(self, turn: _Turn) -> None:
        """Undo what is still open at the end of a turn: a commit that failed, a `BEGIN` that was cancelled."""
        if turn.held:
            await self.writer.rollback()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        """Give a session that reads in place."""
        async with AsyncSession(self._readers, autoflush=False) as db:
            yield db

    @asynccontextmanager
    async def reading_slowly(self) -> AsyncIterator[AsyncSession]:
        """Give a session that reads on a thread."""
        async with AsyncSession(self._slow_readers, autoflush=False) as db:
            yield db

    async def rows(self, sql: str, parameters: Any) -> Sequence[tuple[Any, ...]]:
        """Run one SELECT in place."""
        return await self._in_place.rows(sql, parameters)

    async def close(self) -> None:
        """Close all. The writer is last, so that it can fold the WAL back into the file."""
        for engine in (self._readers, self._slow_readers, self._writers):
            await engine.dispose()
        self._in_place.close()
        await asyncio.to_thread(self._threads.close)
        await asyncio.to_thread(self.writer.close)


def _engine(runner: Runner, observe: Callable[[str], None], **options: Any) -> AsyncEngine:
    engine = create_async_engine(
        "sqlite+denizen://",
        connect_args={"runner": runner},
        hide_parameters=True,  # addresses and hashes, which a host's log would print with an error
        **options,
    )
    watch_statements(engine, observe)
    return engine


class _Turn:
    """One writer's place in the queue. `asyncio.Lock` wakes those who wait in the order they came."""

    def __init__(self, lock: asyncio.Lock, seconds: float) -> None:
        self._lock = lock
        self._seconds = seconds
        self.held = False

    async def take(self) -> float:
        """Wait for the turn; give the seconds that are left of the time."""
        until = time.monotonic() + self._seconds
        try:
            async with asyncio.timeout(self._seconds):
                await self._lock.acquire()
        except TimeoutError:
            raise Unavailable("Too many writes are waiting. Try again in a moment.", retry_after=1) from None
        self.held = True
        return until - time.monotonic()

    def give_up(self) -> None:
        """Let the next one write, if this one ever did."""
        if self.held:
            self.held = False
            self._lock.release()


def _begin_immediate(connection: Any) -> None:
    """Begin as writers must, in the greenlet of the session's first statement."""
    turn: _Turn = connection.get_execution_options()["denizen_turn"]
    connection.connection.dbapi_connection.begin_immediate(0.0 if turn.held else await_(turn.take()))
