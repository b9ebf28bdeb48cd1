"""The one connection of a process that writes to SQLite, and the thread it lives on."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from denizen.core.errors import Unavailable
from denizen.core.failures import primary_code
from denizen.core.sqlite.driver import Deadline, Result, connect, fetch, finish, set_busy_timeout

T = TypeVar("T")

NOTHING = Result([], None, -1, None)


class WritingThread:
    """Runs every write of this process.

    What gives no answer (`BEGIN`, savepoints) goes along with the statement after it: each way to the thread and back
    is a turn of the event loop, and until the transaction ends all other writers wait. A change of one account takes
    two such ways instead of five.

    Args:
        path: the database file.
        synchronous: `FULL` (an acknowledged write survives a power cut) or `NORMAL` (it survives a crash of the process
            alone).
        seconds: how long to wait for others while the file is switched to WAL, which happens once in its life.
    """

    def __init__(self, path: Path, *, synchronous: str, seconds: float) -> None:
        self._connection = connect(path)
        try:
            switch_to_wal(self._connection, seconds)
            self._connection.execute(f"PRAGMA synchronous={synchronous}")
        except BaseException:
            self._connection.close()
            raise
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="denizen-write")
        self._begin: Deadline | None = None
        self._ahead: list[str] = []

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open, or to be opened by the next statement."""
        return self._begin is not None or self._connection.in_transaction

    def begin(self, seconds: float) -> None:
        """Let the next statement take the write lock of the file, waiting at most until `seconds` from now for another
        process to let go of it.
        """
        self._begin = Deadline(time.perf_counter() + seconds)

    async def run(self, sql: str, parameters: Sequence[Any]) -> Result:
        """Run one statement of the open transaction.

        Raises:
            Unavailable: SQLite has undone the transaction by itself, as it may after some failures (disk full, I/O).
        """
        if sql.startswith(("SAVEPOINT ", "RELEASE SAVEPOINT ")):
            self._ahead.append(sql)
            return NOTHING
        if sql.startswith("ROLLBACK TO ") and not self.in_transaction:
            return NOTHING  # undone already, and more: what did that is the error to tell
        return await self._do(fetch, sql, parameters)

    async def run_many(self, sql: str, parameters: Sequence[Sequence[Any]]) -> Result:
        """Run one statement once for each of `parameters`."""
        return await self._do(_fetch_none, sql, parameters)

    async def commit(self) -> None:
        """Make what was written last."""
        if self._begin is None:
            await self._do(sqlite3.Connection.commit)
        self._forget()

    async def rollback(self) -> None:
        """Undo what was written since `begin`."""
        self._forget()
        if self._connection.in_transaction:
            await finish(self._pool, self._connection.rollback)

    def close(self) -> None:
        """End the thread, then the connection."""
        self._pool.shutdown(wait=True)
        self._connection.close()

    def _forget(self) -> None:
        self._begin = None
        self._ahead.clear()

    async def _do(self, function: Callable[..., T], *args: Any) -> T:
        begin, ahead = self._begin, tuple(self._ahead)
        self._forget()
        return await finish(self._pool, self._on_thread, begin, ahead, function, *args)

    def _on_thread(self, begin: Deadline | None, ahead: Sequence[str], function: Callable[..., T], *args: Any) -> T:
        if begin is not None:
            self._begin_immediate(begin.left)
        if not self._connection.in_transaction:  # what follows would be stored alone
            raise Unavailable("The database has undone this transaction. Try again in a moment.", retry_after=2)
        for statement in ahead:
            self._connection.execute(statement)
        return function(self._connection, *args)

    def _begin_immediate(self, seconds: float) -> None:
        """Take the write lock before anything is read.

        A transaction that begins by reading and then writes cannot wait for the lock: SQLite has to refuse it at once,
            which is the `database is locked` everybody knows.
        """
        if self._connection.in_transaction:  # undoing it failed, on a disk that failed; nobody may inherit it
            self._connection.rollback()
        set_busy_timeout(self._connection, seconds)
        self._connection.execute("BEGIN IMMEDIATE")


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
