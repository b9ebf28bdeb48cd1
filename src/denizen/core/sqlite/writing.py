"""The one connection of a process that writes to SQLite, the thread it lives on, and whose turn it is."""

from __future__ import annotations

import asyncio
import math
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from denizen.core.errors import Unavailable
from denizen.core.failures import primary_code
from denizen.core.options import closed, overdue
from denizen.core.sqlite.driver import Clock, Deadline, Result, connect, fetch, finish, set_busy_timeout

T = TypeVar("T")

NOTHING = Result([], None, -1, None)
Step = tuple[str, Sequence[Any]]
"""A statement and its parameters."""
_SAVEPOINTS = ("SAVEPOINT ", "RELEASE SAVEPOINT ")

WAITING_SHARE = 0.75
"""How much of its time a transaction may spend on waiting for its turn. With more writers than can be served, the one
whose turn comes is the one that has waited longest: if nothing were left to it then, everybody's work would be in vain.
"""


class WritingThread:
    """Runs every write of this process, one after the other.

    Args:
        path: the database file.
        synchronous: `FULL` (an acknowledged write survives a power cut) or `NORMAL` (it survives a crash of the process
            alone).
        seconds: how long to wait for others while the file is switched to WAL, which happens once in its life.

    Attributes:
        is_closed: whether nothing is written any longer.
    """

    def __init__(self, path: Path, *, synchronous: str, seconds: float) -> None:
        self._connection = connect(path)
        try:
            switch_to_wal(self._connection, seconds)
            self._connection.execute(f"PRAGMA synchronous={synchronous}")
        except BaseException:
            self._connection.close()
            raise
        self._clock = Clock(self._connection)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="denizen-write")
        self.is_closed = False

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return not self.is_closed and self._connection.in_transaction

    async def run(self, deadline: Deadline, job: Callable[..., T], *args: Any) -> T:
        """Run `job` with the connection and `args`; a statement that runs past `deadline` is stopped.

        Raises:
            Unavailable: the database is being closed.
        """
        return await finish(self._pool, self._run, deadline, job, *args)

    async def rollback(self) -> None:
        """Undo what is open."""
        await finish(self._pool, self._roll_back)

    def drop(self) -> None:
        """Undo what is open, before whatever is run from now on, and without being waited for."""
        with suppress(RuntimeError):  # closed: that undoes it as well
            self._pool.submit(self._roll_back)

    def close(self) -> None:
        """Stop what is written, end the thread, then the connection. A transaction that is open is undone."""
        self.is_closed = True
        self._clock.deadline.ends = -math.inf
        self._pool.shutdown(wait=True)
        self._connection.close()

    def _run(self, deadline: Deadline, job: Callable[..., T], *args: Any) -> T:
        self._clock.deadline = deadline
        if self.is_closed:  # looked at last: whoever closes says so first, and then stops what has a deadline already
            raise closed()
        return job(self._connection, *args)

    def _roll_back(self) -> None:
        self._clock.deadline = Deadline(math.inf)
        self._connection.rollback()


class Turn:
    """One transaction's hold on the connection that all writers share: its place in the queue, its statements, its end.

    Somebody who waits for another service inside a transaction would keep all other writers waiting, those of other
    processes too. So a turn has a deadline, at which it is undone and handed on. The thread does one thing after the
    other: what runs then ends first, and a statement is stopped for that; the next one begins after what was open has
    been undone. What the session still asks for is refused here, before it reaches the connection: by then that may be
    in another's transaction.

    What gives no answer (`BEGIN`, savepoints, what is put off) goes along with the statement after it, or with the
    commit: each way to the thread and back is a turn of the event loop, and until the transaction ends all other
    writers wait. A change of one account takes two such ways instead of five.

    Attributes:
        owner: the connection of SQLAlchemy's that ends the transaction, or this, where there is none.

    Args:
        thread: where to write.
        queue: held by whoever has the turn. `asyncio.Lock` wakes those who wait in the order they came.
        seconds: the time from `begin` on, waiting included.
    """

    def __init__(self, thread: WritingThread, queue: asyncio.Lock, seconds: float) -> None:
        self._thread = thread
        self._queue = queue
        self._seconds = seconds
        self._deadline = Deadline(math.inf)
        self._alarm: asyncio.TimerHandle | None = None
        self._held = False
        self._lost = False
        self.owner: object = None
        self._begins = False
        self._ahead: list[Step] = []

    async def begin(self, owner: object) -> None:
        """Wait for the turn; the next statement then takes the write lock of the file.

        Args:
            owner: the connection of SQLAlchemy's that asks, which joins what the turn has begun for the session itself;
                or the turn, for the session's short way.

        Raises:
            Unavailable: the turn did not come in time, or is over.
        """
        joins = self.owner is self
        if self._lost:
            raise self._refusal()
        if not self._held:
            await self._take()
        self.owner = owner
        self._begins = self._begins or not joins

    def leave(self, owner: object) -> None:
        """Let another connection of the same session begin: this one is closed."""
        if self.owner is owner:
            self.owner = None

    async def run(self, sql: str, parameters: Sequence[Any]) -> Result:
        """Run one statement of the open transaction.

        Raises:
            Unavailable: the turn is over, or SQLite has undone the transaction by itself, as it may after some failures
                (disk full, I/O).
        """
        if sql.startswith(_SAVEPOINTS):
            self._ahead.append((sql, ()))
            return NOTHING
        if sql.startswith("ROLLBACK TO "):
            if not self._is_open:
                return NOTHING  # undone already, and more: what did that is the error to tell
            self._drop_since(sql.rsplit(maxsplit=1)[-1])
        return await self._do(fetch, sql, parameters)

    async def run_many(self, sql: str, parameters: Sequence[Sequence[Any]]) -> Result:
        """Run one statement once for each of `parameters`."""
        return await self._do(_fetch_none, sql, parameters)

    async def rows(self, steps: Sequence[Step]) -> list[Sequence[tuple[Any, ...]]]:
        """Run statements of the open transaction, in one way to the thread and back; give the rows of each.

        Raises:
            As `run`. One that fails is the last that is run.
        """
        if all(sql.startswith(_SAVEPOINTS) for sql, _ in steps):
            self._ahead.extend(steps)
            return [() for _ in steps]
        return await self._do(_fetch_each, steps)

    def put_off(self, step: Step) -> None:
        """Run a statement some time before the next one that gives an answer, or before the commit.

        If it fails then, the whole transaction is undone: whoever asked for it has gone on long since.

        Raises:
            Unavailable: the turn is over.
        """
        if not self._held:
            raise self._refusal()
        self._ahead.append(step)

    async def commit(self) -> None:
        """Make what was written last.

        Raises:
            Unavailable: the turn is over, and nothing was stored.
        """
        if self._begins and all(sql.startswith(_SAVEPOINTS) for sql, _ in self._ahead):
            self._forget()  # nothing was run
        else:
            await self._do(sqlite3.Connection.commit)

    async def rollback(self) -> None:
        """Undo what was written since `begin`; nothing, where that has been done already."""
        self._forget()
        if self._held and self._thread.in_transaction:
            await self._thread.rollback()

    async def end(self) -> None:
        """Undo what is still open (a commit that failed, a `BEGIN` that was cancelled), and let the next one write."""
        try:
            await self.rollback()
        finally:
            self._lost = True
            self._hand_on()

    @property
    def _is_open(self) -> bool:
        return self._held and (self._begins or self._thread.in_transaction)

    async def _take(self) -> None:
        self._deadline = Deadline(time.perf_counter() + self._seconds)
        try:
            async with asyncio.timeout(self._seconds * WAITING_SHARE):
                await self._queue.acquire()
        except TimeoutError:
            raise Unavailable("Too many writes are waiting. Try again in a moment.", retry_after=1) from None
        self._held = True
        self._alarm = asyncio.get_running_loop().call_later(max(0.0, self._deadline.left), self._expire)

    def _expire(self) -> None:
        self._lost = True
        self._deadline.ends = -math.inf  # timers are not exact, and what runs looks at this
        self._thread.drop()
        self._hand_on()

    def _hand_on(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        if self._held:
            self._held = False
            self._queue.release()

    def _forget(self) -> None:
        self._begins = False
        self._ahead.clear()

    def _drop_since(self, savepoint: str) -> None:
        """Forget what was put off since a savepoint that is being undone."""
        opening = (f"SAVEPOINT {savepoint}", ())
        since = self._ahead.index(opening) + 1 if opening in self._ahead else 0
        self._ahead[since:] = [step for step in self._ahead[since:] if step[0].startswith(_SAVEPOINTS)]

    async def _do(self, function: Callable[..., T], *args: Any) -> T:
        if not self._held:
            raise self._refusal()
        begins, ahead = self._begins, tuple(self._ahead)
        self._forget()
        try:
            return await self._thread.run(self._deadline, self._on_thread, begins, ahead, function, *args)
        except sqlite3.OperationalError as error:
            if primary_code(error) == sqlite3.SQLITE_INTERRUPT:
                raise self._refusal() from error
            raise

    def _refusal(self) -> Unavailable:
        return closed() if self._thread.is_closed else overdue(self._seconds)

    def _on_thread(
        self,
        connection: sqlite3.Connection,
        begins: bool,
        ahead: Sequence[Step],
        function: Callable[..., T],
        *args: Any,
    ) -> T:
        if self._deadline.is_over:
            raise self._refusal()
        if begins:
            _begin_immediate(connection, self._deadline.left)
        if not connection.in_transaction:  # what follows would be stored alone
            raise Unavailable("The database has undone this transaction. Try again in a moment.", retry_after=2)
        if ahead:
            _write(_catch_up, connection, ahead)
        return _write(function, connection, *args)


def _begin_immediate(connection: sqlite3.Connection, seconds: float) -> None:
    """Take the write lock before anything is read, waiting at most `seconds` for another process to let go of it.

    A transaction that begins by reading and then writes cannot wait for the lock: SQLite has to refuse it at once,
        which is the `database is locked` everybody knows.
    """
    if connection.in_transaction:  # undoing it failed, on a disk that failed; nobody may inherit it
        connection.rollback()
    set_busy_timeout(connection, seconds)
    connection.execute("BEGIN IMMEDIATE")


def _write(function: Callable[..., T], connection: sqlite3.Connection, *args: Any) -> T:
    """Call `function`; say in a sentence that the file cannot be written."""
    try:
        return function(connection, *args)
    except sqlite3.OperationalError as error:
        if primary_code(error) != sqlite3.SQLITE_READONLY:
            raise
        raise Unavailable(
            "The database cannot be written: this process may not write the file, or not into its folder.",
            retry_after=30,
        ) from error


def _catch_up(connection: sqlite3.Connection, ahead: Sequence[Step]) -> None:
    """Run what was put off."""
    try:
        for sql, parameters in ahead:
            connection.execute(sql, parameters)
    except sqlite3.Error:
        connection.rollback()
        raise


def _fetch_each(connection: sqlite3.Connection, steps: Sequence[Step]) -> list[Sequence[tuple[Any, ...]]]:
    return [connection.execute(sql, parameters).fetchall() for sql, parameters in steps]


def _fetch_none(connection: sqlite3.Connection, sql: str, parameters: Sequence[Sequence[Any]]) -> Result:
    cursor = connection.executemany(sql, parameters)
    return Result([], cursor.description, cursor.rowcount, cursor.lastrowid)


def switch_to_wal(connection: sqlite3.Connection, seconds: float) -> None:
    """Bring the file into WAL mode. Two who do so at once get no chance to wait for each other inside SQLite.

    Raises:
        sqlite3.OperationalError: others hold the file for longer than `seconds`.
        Unavailable: its disk cannot carry WAL.
    """
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
