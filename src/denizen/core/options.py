"""How a database is used: limits and sizes, with the defaults that `settings` shows to operators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Self

from denizen.core.errors import Unavailable
from denizen.settings import Settings


class Load(NamedTuple):
    """How busy a process's connections are.

    Attributes:
        writing: connections in transactions that write.
        reading: connections that read; those that read in place on SQLite are none.
        waiting: transactions that wait for a turn to write (SQLite), or for a connection (PostgreSQL).
    """

    writing: int = 0
    reading: int = 0
    waiting: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseOptions:
    """Limits of one `Database`. Times are in seconds. A caller is promised an answer within 3 of them, whatever befalls
    the database: hashing a password and a busy event loop need the rest.

    Attributes:
        timeout: the whole budget of one transaction from its first statement on, waiting for a turn or a connection
            included. Past it the answer is `Unavailable`, and a transaction that is idle then is undone at once, so
            that whoever waits for it can go on.
        pool_size: connections for writing, and as many again for reading (PostgreSQL).
        pool_timeout: how long to wait for one of them to come free (PostgreSQL).
        connect_timeout: how long a new connection may take (PostgreSQL).
        statement_timeout: how long the server works at one statement (PostgreSQL); a little under `timeout`, so that
            it stops first.
        lock_timeout: how long one statement waits for another's lock (PostgreSQL).
        slow_timeout: what a slow read (count, deep `skip`, export batch) may take instead.
        prepare_threshold: after how many runs a statement is prepared (PostgreSQL); `None` for never, which is also
            what happens where a pooler is noticed.
        synchronous: `FULL` or `NORMAL` (SQLite).
        reading_threads: threads for slow reads (SQLite).
    """

    timeout: float = 2.0
    pool_size: int = 10
    pool_timeout: float = 1.0
    connect_timeout: float = 1.5
    statement_timeout: float = 1.8
    lock_timeout: float = 1.8
    slow_timeout: float = 30.0
    prepare_threshold: int | None = 5
    synchronous: str = "FULL"
    reading_threads: int = 2

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Take them from the settings."""
        return cls(
            timeout=settings.database_timeout,
            slow_timeout=settings.database_slow_timeout,
            pool_size=settings.database_pool_size,
            pool_timeout=settings.database_pool_timeout,
            connect_timeout=settings.database_connect_timeout,
            statement_timeout=settings.database_statement_timeout,
            lock_timeout=settings.database_lock_timeout,
            prepare_threshold=settings.database_prepare_threshold,
            synchronous=settings.sqlite_synchronous.upper(),
        )


def overdue(seconds: float) -> Unavailable:
    """Say that a transaction is undone because its time, in seconds, is over."""
    return Unavailable(
        f"This transaction was undone: it had not ended after {seconds:g} seconds. Wait for other services outside of "
        "it, or ask for more time with `begin(timeout=...)`.",
        retry_after=1,
    )


def closed() -> Unavailable:
    """Say that somebody has closed the database while this was using it."""
    return Unavailable("The database is being closed. Try again in a moment.", retry_after=1)
