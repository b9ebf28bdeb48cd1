"""Three ways to run a statement on SQLite, each with the guard it needs.

- `InPlace`: short reads, on the event loop itself. A thread hop costs ten times what an indexed read does. Guarded so
  that it can never hold the loop: no waiting for locks (`busy_timeout=0`), no writing (`query_only`), and a bound on
  the time one statement may take. What the guard stops is run again by `ReadingThreads`.
- `ReadingThreads`: counts, deep `skip`, exports, and what the guard stopped.
- `WritingThread` (in `writing`): every write, one thread, one connection, so that commits (an fsync each) never stand
  in the loop's way.

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
from denizen.core.options import closed

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


def fetch(connection: sqlite3.Connection, sql: str, parameters: Sequence[Any]) -> Result:
    """Run one statement and fetch all it gives."""
    cursor = connection.execute(sql, parameters)
    rows = cursor.fetchall() if cursor.description is not None else []
    return Result(rows, cursor.description, cursor.rowcount, cursor.lastrowid)


def set_busy_timeout(connection: sqlite3.Connection, seconds: float) -> None:
    """Let `connection` wait so long for others' locks, inside SQLite and holding the calling thread."""
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


class Clock:
    """Stops a statement that runs past its deadline. Installed as the connection's progress handler.

    It is called with SQLite's lock of the connection held, and has to wait for the interpreter's: a second thread that
    used the connection meanwhile would take the two locks the other way round, and both would wait for ever.
    """

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
        self._opened: list[tuple[sqlite3.Connection, Clock]] = []
        self._closed = False
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="denizen-read")

    def _connection(self) -> tuple[sqlite3.Connection, Clock]:
        found: tuple[sqlite3.Connection, Clock] | None = getattr(self._local, "pair", None)
        if found is None:
            connection = connect(self._path)
            connection.execute("PRAGMA query_only=ON")
            found = self._local.pair = (connection, Clock(connection))
            self._opened.append(found)
        return found

    def _run(self, deadline: Deadline, sql: str, parameters: Sequence[Any]) -> Result:
        connection, clock = self._connection()
        clock.deadline = deadline
        if self._closed:  # looked at last: whoever closes says so first, and then stops what has a deadline already
            raise closed()
        set_busy_timeout(connection, min(self._busy_timeout, deadline.left))
        try:
            return fetch(connection, sql, parameters)
        except sqlite3.OperationalError as error:
            if self._closed:
                raise closed() from error
            raise

    async def run(self, sql: str, parameters: Sequence[Any], *, seconds: float | None = None) -> Result:
        """Run one reading statement.

        Raises:
            sqlite3.OperationalError: interrupted when its time was over.
            Unavailable: no thread came free in that time, or the database is being closed.
        """
        deadline = Deadline(time.perf_counter() + (self._seconds if seconds is None else seconds))
        return await finish(self._pool, self._run, deadline, sql, parameters, deadline=deadline)

    async def run_many(self, sql: str, parameters: Sequence[Sequence[Any]]) -> Result:
        """Refuse: a reading connection has nothing to run many times."""
        raise sqlite3.OperationalError("attempt to write a readonly database")

    def close(self) -> None:
        """Stop what is read, end the threads, then their connections."""
        self._closed = True
        for _, clock in self._opened:
            clock.deadline.ends = 0.0
        self._pool.shutdown(wait=True, cancel_futures=True)
        for connection, _ in self._opened:
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
        self._clock = Clock(self._connection)
        self._threads = threads
        self._seconds = seconds
        self._closed = False

    async def run(self, sql: str, parameters: Sequence[Any]) -> Result:
        """Run one reading statement, at once if it is short and nothing is in its way."""
        self._clock.deadline.ends = time.perf_counter() + IN_PLACE_SECONDS
        try:
            return fetch(self._connection, sql, parameters)
        except sqlite3.Error as error:
            self._refuse_unless_for_a_thread(error)
        return await self._threads.run(sql, parameters, seconds=self._seconds)

    async def rows(self, sql: str, parameters: Sequence[Any]) -> Sequence[tuple[Any, ...]]:
        """Run one reading statement and give its rows alone: the shortest way there is."""
        self._clock.deadline.ends = time.perf_counter() + IN_PLACE_SECONDS
        try:
            return self._connection.execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            self._refuse_unless_for_a_thread(error)
        return (await self._threads.run(sql, parameters, seconds=self._seconds)).rows

    async def run_many(self, sql: str, parameters: Sequence[Sequence[Any]]) -> Result:
        """Refuse: a reading connection has nothing to run many times."""
        raise sqlite3.OperationalError("attempt to write a readonly database")

    def close(self) -> None:
        """Close the connection."""
        self._closed = True
        self._connection.close()

    def _refuse_unless_for_a_thread(self, error: sqlite3.Error) -> None:
        if self._closed:
            raise closed() from error
        if primary_code(error) not in RETRY_ON_THREAD:
            raise error


async def finish(
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
        Unavailable: no thread came free before `deadline`, or the threads are at an end.
    """
    try:
        work = pool.submit(function, *args)
    except RuntimeError as error:
        raise closed() from error
    future = asyncio.wrap_future(work)
    try:
        if deadline is not None:
            await asyncio.wait([future], timeout=deadline.left)
            if not work.cancelled() and work.cancel():
                raise Unavailable("Too many slow reads are waiting. Try again in a moment.", retry_after=2)
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        if future.cancelled() and not _is_being_cancelled():
            raise closed() from None  # its place among the threads' work was
        if not work.cancel():
            if deadline is not None:
                deadline.ends = 0.0
            await outlast(future)
        raise


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def outlast(future: asyncio.Future[Any]) -> None:
    """Wait for the end of `future`, however often this is cancelled meanwhile."""
    while not future.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([future])
    if not future.cancelled():
        future.exception()
