"""SQLite behind `Database`: readers in place, and one writer at a time in a fair queue (ADR 0003)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy.dialects import registry
from sqlalchemy.engine import URL, Dialect
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.pool import NullPool

from denizen.core.failures import NoDatabase
from denizen.core.options import DatabaseOptions, Load
from denizen.core.sqlite.driver import InPlace, ReadingThreads, Runner, outlast
from denizen.core.sqlite.sessions import TurnWay, WritingSession
from denizen.core.sqlite.writing import Turn, WritingThread
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
        self._seconds = options.timeout
        self._observe = observe
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
        # A connection of SQLAlchemy's for each session, which costs little and tells whose statements those are that
        # arrive at the one connection of ours. What is left open is undone by the turn's end.
        self._writers = _engine(None, observe, poolclass=NullPool, pool_reset_on_return=None)
        self.dialect: Dialect = self._readers.dialect
        self._turn = asyncio.Lock()

    @classmethod
    async def open(cls, url: URL, options: DatabaseOptions, observe: Callable[[str], None]) -> SQLiteBackend:
        """Open the file, off the event loop: somebody may hold it locked, or have left a log to recover from.

        Cancelled, it leaves nothing open.

        Raises:
            NoDatabase: there is no such file.
            sqlite3.OperationalError: it cannot be opened.
        """
        path = path_of(url)
        if not path.is_file():
            raise NoDatabase(
                "There is no database where this service looks for it.",
                private=f"There is no database at {path.absolute()}. "
                "`denizen serve` makes one there; or set DENIZEN_DATABASE_URL to the one you mean.",
            )
        opening = asyncio.ensure_future(asyncio.to_thread(cls, path, options, observe))
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            await outlast(opening)
            if opening.exception() is None:
                await outlast(asyncio.ensure_future(opening.result().close()))
            raise

    @asynccontextmanager
    async def writing(self, seconds: float) -> AsyncIterator[AsyncSession]:
        """Give a session whose first statement waits for its turn and for the file's write lock; `seconds` for both,
        and for all that the session does with them.

        Not before the first statement: what a caller does until then (hash a password, say) must not keep others
            waiting.
        """
        turn = Turn(self.writer, self._turn, seconds)

        async with AsyncExitStack() as stack:
            stack.push_async_callback(turn.end)
            db = WritingSession(self._writers, TurnWay(turn, self.dialect, self._observe))
            # Not `async with db`: cancelled, it would close in a task of its own, when the turn is already another's.
            stack.push_async_callback(db.close)
            yield db

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        """Give a session that reads in place."""
        async with AsyncSession(self._readers, autoflush=False, close_resets_only=False) as db:
            yield db

    @asynccontextmanager
    async def reading_slowly(self) -> AsyncIterator[AsyncSession]:
        """Give a session that reads on a thread."""
        async with AsyncSession(self._slow_readers, autoflush=False, close_resets_only=False) as db:
            yield db

    async def rows(self, sql: str, parameters: Any) -> Sequence[tuple[Any, ...]]:
        """Run one SELECT in place."""
        return await self._in_place.rows(sql, parameters)

    async def rows_anew(self, sql: str, parameters: Any) -> Sequence[tuple[Any, ...]]:
        """Run one SELECT on a thread. SQLite plans without looking at the parameters: nothing to make anew."""
        return (await self._threads.run(sql, parameters, seconds=self._seconds)).rows

    async def slow_rows(self, sql: str, parameters: Any) -> Sequence[tuple[Any, ...]]:
        """Run one SELECT on a thread."""
        return (await self._threads.run(sql, parameters)).rows

    def load(self) -> Load:
        """Count who holds the turn to write, and who waits for it."""
        held = self._turn.locked()
        waiting = getattr(self._turn, "_waiters", None) or ()  # asyncio has no other way to ask
        return Load(writing=int(held), waiting=len(waiting))

    async def close(self) -> None:
        """Close all; what is in use is refused and undone. The writer is last, so that it can fold the WAL back into
        the file.
        """
        self._in_place.close()
        await asyncio.to_thread(self._close_threads)

    def _close_threads(self) -> None:
        self._threads.close()
        self.writer.close()


def _engine(runner: Runner | None, observe: Callable[[str], None], **options: Any) -> AsyncEngine:
    engine = create_async_engine(
        "sqlite+denizen://",
        connect_args={"runner": runner},
        hide_parameters=True,  # addresses and hashes, which a host's log would print with an error
        **options,
    )
    watch_statements(engine, observe)
    return engine
