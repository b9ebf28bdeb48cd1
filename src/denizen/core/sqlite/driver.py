"""Three ways to run a statement on SQLite, each with the guard it needs.

- `InPlace`: short reads, on the event loop itself. A thread hop costs ten times what an indexed read does. Guarded so
  that it can never hold the loop: no waiting for locks (`busy_timeout=0`), no writing (`query_only`), and a bound on
  the time one statement may take. What the guard stops is run again by `ReadingThreads`.
- `ReadingThreads`: counts, deep `skip`, exports, and what the guard stopped.
- `WritingThread`: every write, one thread, one connection, so that commits (an fsync each) never stand in the loop's
  way.

Every result is fetched whole before it is handed over: a half-read cursor would keep its snapshot, and the WAL, from
    ever ending.

Source: https://www.sqlite.org/c3ref/progress_handler.html, https://www.sqlite.org/wal.html
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from denizen.core.errors import Unavailable
from denizen.core.failures import primary_code

T = TypeVar("T")

IN_PLACE_SECONDS = 0.005
"""How long one statement may hold the event loop. An indexed read takes 0.01 ms, a page of 1,000 users 2 ms."""

STEPS_BETWEEN_LOOKS = 4_000
"""Virtual machine instructions between two looks at the clock: about 0.1 ms, so that a page of 100 is never looked
at.
"""

RETRY_ON_THREAD = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_INTERRUPT})
"""Primary result codes after which a read is worth a second try where waiting hurts nobody."""


class Result(NamedTuple):
    """What one statement gave, wholly fetched."""

    rows: Sequence[tuple[Any, ...]]
    description: Any
    rowcount: int
    lastrowid: int | None


class Runner(Protocol):
    """What the dialect's cursor stands on."""

    async def run(self, sql: str, parameters: Sequence[Any]) -> Result:
        """Run one statement."""

    async def run_many(self, sql: str, parameters: Sequence[Sequence[Any]]) -> Result:
        """Run one statement once for each of `parameters`."""


def connect(path: Path, *, create: bool = False, timeout: float = 0.0) -> sqlite3.Connection:
    """Open `path` in autocommit, with foreign keys on.

    Args:
        path: the database file.
        create: make the file when there is none. Off everywhere but in `serve`'s set-up, since a database made by
            accident in the wrong folder looks like lost data.
        timeout: seconds to wait for another process's lock, inside SQLite and holding the calling thread.

    Raises:
        sqlite3.OperationalError: no such file, or not to be opened.
    """
    uri = f"{path.absolute().as_uri()}?mode={'rwc' if create else 'rw'}"
    connection = sqlite3.connect(
        uri, uri=True, timeout=timeout, isolation_level=None, check_same_thread=False, cached_statements=512
    )
    connection.execute("PRAGMA foreign_keys=ON")
    return connection


def _fetch(connection: sqlite3.Connection, sql: str, parameters: Sequence[Any]) -> Result:
    cursor = connection.execute(sql, parameters)
    rows = cursor.fetchall() if cursor.description is not None else []
    return Result(rows, cursor.description, cursor.rowcount, cursor.lastrowid)


def _set_busy_timeout(connection: sqlite3.Connection, seconds: float) -> None:
    connection.execute(f"PRAGMA busy_timeout={max(0, int(seconds * 1000))}")


@dataclass(slots=True)
class Deadline:
    """When a statement has to be done, in seconds of `time.perf_counter`. Whoever waits for it may bring it forward."""

    ends: float

    @property
    def left(self) -> float:
        """Seconds until then; negative once it is over."""
        return self.ends - time.perf_counter()

    @property
    def is_over(self) -> bool:
        """Whether it is over."""
        return time.perf_counter() > self.ends


class _Clock:
    """Stops a statement that runs past its time. Installed as the connection's progress handler."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.deadline = Deadline(0.0)
        connection.set_progress_handler(self._is_over, STEPS_BETWEEN_LOOKS)

    def _is_over(self) -> int:
        return int(self.deadline.is_over)


class ReadingThreads:
    """Reads that may take long, each on a thread with a connection of its own.

    Args:
        path: the database file.
        threads: how many read at the same time; the others queue.
        busy_timeout: seconds to wait for a lock. In WAL mode readers wait only while a database is being recovered or
            checkpointed exclusively.
        seconds: how long one statement may take, waiting for a thread included, unless it is run with another limit.
    """

    def __init__(self, path: Path, *, threads: int, busy_timeout: float, seconds: float) -> None:
        self._path = path
        self._busy_timeout = busy_timeout
        self._seconds = seconds
        self._local = threading.local()
        self._opened: list[sqlite3.Connection] = []
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="denizen-read")

    def _connection(self) -> tuple[sqlite3.Connection, _Clock]:
        found: tuple[sqlite3.Connection, _Clock] | None = getattr(self._local, "pair", None)
        if found is None:
            connection = connect(self._path)
            connection.execute("PRAGMA query_only=ON")
            self._opened.append(connection)
            found = self._local.pair = (connection, _Clock(connection))
        return found

    def _run(self, deadline: Deadline, sql: str, parameters: Sequence[Any]) -> Result:
        connection, clock = self._connection()
        clock.deadline = deadline
        _set_busy_timeout(connection, min(self._busy_timeout, deadline.left))
        return _fetch(connection, sql, parameters)

    async def run(self, sql: str, parameters: Sequence[Any], *, seconds: float | None = None) -> Result:
        """Run one reading statement.

        Raises:
            sqlite3.OperationalError: interrupted when its time was over.
            Unavailable: no thread came free in that time.
        """
        deadline = Deadline(time.perf_counter() + (self._seconds if seconds is None else seconds))
        return await _finish(self._pool, self._run, deadline, sql, parameters, deadline=deadline)

    async def run_many(self, sql: str, parameters: Sequence[Sequence[Any]]) -> Result:
        """Refuse: a reading connection has nothing to run many times."""
        raise sqlite3.OperationalError("attempt to write a readonly database")

    def close(self) -> None:
        """End the threads, then their connections."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        for connection in self._opened:
            connection.close()
        self._opened.clear()


class InPlace:
    """Short reads on the event loop; see the module's docstring for the guard.

    One connection serves everybody: a statement is run and fetched within one turn of the loop, so that no two
        overlap, and each reads the newest committed state.

    Args:
        path: the database file.
        threads: take over what the guard stops.
        seconds: how long that may take there.
    """

    def __init__(self, path: Path, threads: ReadingThreads, *, seconds: float) -> None:
        self._connection = connect(path)
        self._connection.execute("PRAGMA query_only=ON")
        self._clock = _Clock(self._connection)
        self._threads = threads
        self._seconds = seconds

    async def run(self, sql: str, parameters: Sequence[Any]) -> Result:
        """Run one reading statement, at once if it is short and nothing is in its way."""
        self._clock.deadline.ends = time.perf_counter() + IN_PLACE_SECONDS
        try:
            return _fetch(self._connection, sql, parameters)
        except sqlite3.OperationalError as error:
            if primary_code(error) not in RETRY_ON_THREAD:
                raise
        return await self._threads.run(sql, parameters, seconds=self._seconds)

    async def rows(self, sql: str, parameters: Sequence[Any]) -> Sequence[tuple[Any, ...]]:
        """Run one reading statement and give its rows alone: the shortest way there is."""
        self._clock.deadline.ends = time.perf_counter() + IN_PLACE_SECONDS
        try:
            return self._connection.execute(sql, parameters).fetchall()
        except sqlite3.OperationalError as error:
            if primary_code(error) not in RETRY_ON_THREAD:
                raise
        return (await self._threads.run(sql, parameters, seconds=self._seconds)).rows

    async def run_many(self, sql: str, parameters: Sequence[Sequence[Any]]) -> Result:
        """Refuse: a reading connection has nothing to run many times."""
        raise sqlite3.OperationalError("attempt to write a readonly database")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class WritingThread:
    """The one connection of this process that writes, and the thread it lives on.

    Args:
        path: the database file.
        synchronous: `FULL` (an acknowledged write survives a power cut) or `NORMAL` (it survives a crash of the process
            alone).
        seconds: how long to wait for others while the file is switched to WAL, which happens once in its life.
    """

    def __init__(self, path: Path, *, synchronous: str, seconds: float) -> None:
        self._connection = connect(path)
        try:
            _switch_to_wal(self._connection, seconds)
            self._connection.execute(f"PRAGMA synchronous={synchronous}")
        except BaseException:
            self._connection.close()
            raise
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="denizen-write")

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return self._connection.in_transaction

    def _begin(self, seconds: float) -> None:
        if self._connection.in_transaction:  # undoing it failed, on a disk that failed; nobody may inherit it
            self._connection.rollback()
        _set_busy_timeout(self._connection, seconds)
        self._connection.execute("BEGIN IMMEDIATE")

    async def begin(self, seconds: float) -> None:
        """Take the write lock of the file, waiting at most `seconds` for another process to let go of it.

        IMMEDIATE, since a transaction that begins by reading and then writes cannot wait for the lock: SQLite has to
            refuse it at once, which is the `database is locked` everybody knows.
        """
        await _finish(self._pool, self._begin, seconds)

    def _check_transaction(self) -> None:
        """Refuse to go on outside a transaction: after some failures (disk full, I/O) SQLite has undone it by itself,
        and what follows would be stored alone.
        """
        if not self._connection.in_transaction:
            raise Unavailable("The database has undone this transaction. Try again in a moment.", retry_after=2)

    def _one(self, sql: str, parameters: Sequence[Any]) -> Result:
        self._check_transaction()
        return _fetch(self._connection, sql, parameters)

    async def run(self, sql: str, parameters: Sequence[Any]) -> Result:
        """Run one statement of the open transaction."""
        return await _finish(self._pool, self._one, sql, parameters)

    def _many(self, sql: str, parameters: Sequence[Sequence[Any]]) -> Result:
        self._check_transaction()
        cursor = self._connection.executemany(sql, parameters)
        return Result([], cursor.description, cursor.rowcount, cursor.lastrowid)

    async def run_many(self, sql: str, parameters: Sequence[Sequence[Any]]) -> Result:
        """Run one statement once for each of `parameters`, in one hop."""
        return await _finish(self._pool, self._many, sql, parameters)

    async def call(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Run `function` with the connection, on its thread: for bulk work that would else hop once a row."""
        return await _finish(self._pool, function, self._connection)

    def _commit(self) -> None:
        self._check_transaction()
        self._connection.commit()

    async def commit(self) -> None:
        """Make what was written last."""
        await _finish(self._pool, self._commit)

    async def rollback(self) -> None:
        """Undo what was written since `begin`."""
        if self._connection.in_transaction:
            await _finish(self._pool, self._connection.rollback)

    def close(self) -> None:
        """End the thread, then the connection."""
        self._pool.shutdown(wait=True)
        self._connection.close()


def _switch_to_wal(connection: sqlite3.Connection, seconds: float) -> None:
    """Bring the file into WAL mode. Two who do so at once get no chance to wait for each other inside SQLite."""
    deadline = Deadline(time.perf_counter() + seconds)
    while True:
        try:
            mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        except sqlite3.OperationalError as error:
            if primary_code(error) != sqlite3.SQLITE_BUSY or deadline.is_over:
                raise
            time.sleep(0.02)
        else:
            if mode != "wal":
                raise Unavailable("This file cannot be used in WAL mode: its disk is not one of this machine's own.")
            return


async def _finish(
    pool: ThreadPoolExecutor, function: Callable[..., T], *args: Any, deadline: Deadline | None = None
) -> T:
    """Run `function` in `pool`; when cancelled, give way once it has ended, or at once where it has not begun.

    A connection must not be handed on, or rolled back, while a statement is still running on it. Statements are
    bounded in time, so the wait is as well.

    Args:
        pool: its threads.
        function: what to run.
        args: for it.
        deadline: of a statement that only reads: what has not begun by then is dropped, and one that nobody waits for
            any longer is stopped.

    Raises:
        Unavailable: no thread came free before `deadline`.
    """
    work = pool.submit(function, *args)
    future = asyncio.wrap_future(work)
    try:
        if deadline is not None:
            await asyncio.wait([future], timeout=deadline.left)
            if work.cancel():
                raise Unavailable("Too many slow reads are waiting. Try again in a moment.", retry_after=2)
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        if not work.cancel():
            if deadline is not None:
                deadline.ends = 0.0
            await _outlast(future)
        raise


async def _outlast(future: asyncio.Future[Any]) -> None:
    """Wait for the end of `future`, however often this is cancelled meanwhile."""
    while not future.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([future])
    if not future.cancelled():
        future.exception()
