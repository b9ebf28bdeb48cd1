"""Connections that give up on their own, and how they begin."""

from __future__ import annotations

import asyncio
import select
import time
from collections.abc import Callable, Generator
from contextlib import AsyncExitStack
from contextvars import ContextVar
from functools import partial
from typing import Any, Final
from weakref import WeakSet

import psycopg
from psycopg import IsolationLevel, pq, waiting

from denizen.core.errors import Unavailable
from denizen.core.options import DatabaseOptions, closed, overdue
from denizen.core.postgresql.lean import LeanConnection

wanted_at: ContextVar[float] = ContextVar("wanted_at")
"""When the current task began to wait for a connection, in seconds of `time.monotonic`."""

_attempts: ContextVar[list[Generator[Any, Any, Any]]] = ContextVar("attempts")
"""What the current task tries to connect with. Cancelled, psycopg would leave the socket to the garbage collector, and
the server with a client that never says who it is."""


class GuardedConnection(LeanConnection):
    """A psycopg connection that gives up on its own when `deadline` passes.

    Attributes:
        deadline: the instant, in seconds of `time.monotonic`, at which any wait ends; `None` for no limit.
        budget: the seconds that a writing transaction has until then; past them, nothing more of it is run. `None` for
            any other use.
        refusal: says why nothing more is run here, once that is so.
        waits: whether something is being run.
    """

    deadline: float | None = None
    budget: float | None = None
    refusal: Callable[[], Unavailable] | None = None
    waits = False

    @classmethod
    def _connect_gen(cls, conninfo: str = "") -> Any:
        """Connect as psycopg does; who gives up waiting closes the attempt, and with it the socket."""
        attempt = super()._connect_gen(conninfo)
        _attempts.get().append(attempt)
        return attempt

    async def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Wait as psycopg does; past the deadline, or when cancelled, close the socket and ask the server nothing."""
        self._end_if_overdue()
        if self.refusal is not None:
            raise psycopg.OperationalError("nothing more is run on this connection")
        if self.deadline is not None:
            timeout = max(0.001, self.deadline - time.monotonic())
        self.waits = True
        try:
            return await waiting.wait_async(gen, self.pgconn.socket, interval=interval, timeout=timeout)
        except psycopg.errors._WaitTimeout:  # noqa: SLF001  (what psycopg's own `wait` raises at its time-out)
            self.pgconn.finish()
            raise psycopg.OperationalError("the database did not answer in time") from None
        except (asyncio.CancelledError, KeyboardInterrupt):
            # The server may go on with the statement until its own time-out; this connection must not be lent out
            # again.
            self.pgconn.finish()
            raise
        finally:
            self.waits = False
            self._finish_if_ended()

    async def rollback(self) -> None:
        """Roll back as psycopg does; where the connection has been ended, the server has done so."""
        self._end_if_overdue()
        if self.refusal is None:
            await super().rollback()

    # The pool sets these back when it is given a connection; an error then would cost it that connection's place.

    async def set_autocommit(self, value: bool) -> None:
        """Set it as psycopg does, unless the connection has been ended."""
        if self.refusal is None:
            await super().set_autocommit(value)

    async def set_isolation_level(self, value: IsolationLevel | None) -> None:
        """Set it as psycopg does, unless the connection has been ended."""
        if self.refusal is None:
            await super().set_isolation_level(value)

    async def set_read_only(self, value: bool | None) -> None:
        """Set it as psycopg does, unless the connection has been ended."""
        if self.refusal is None:
            await super().set_read_only(value)

    def end(self, refusal: Callable[[], Unavailable]) -> None:
        """Run nothing more: close the socket, whereupon the server undoes what is open and lets go of its locks.

        What is being run now ends first; a socket must not be closed under those who wait for it.
        """
        self.refusal = self.refusal or refusal
        self._finish_if_ended()

    def _finish_if_ended(self) -> None:
        if self.refusal is not None and not self.waits:
            self.pgconn.finish()

    def _end_if_overdue(self) -> None:
        """A timer does it for who is idle. It may be late, where the event loop was held up."""
        if self.budget is None or self.deadline is None or time.monotonic() < self.deadline:
            return
        if self.is_behind or self.pgconn.transaction_status != pq.TransactionStatus.IDLE:
            self.end(partial(overdue, self.budget))

    @property
    def has_been_told(self) -> bool:
        """Whether something has arrived while nothing was asked: the server's goodbye, as a rule."""
        poll = select.poll()
        poll.register(self.pgconn.socket, select.POLLIN)
        return bool(poll.poll(0))


WAITING: Final = "gin_pending_list_limit"
WAITING_MOST: Final = "512kB"
"""What waits to be sorted into an index of words is read by every search, so that it is to be little."""


class Start:
    """How connections to one server begin, found out with the first of them; and their end, all together.

    Attributes:
        pooled: whether something between us and the server refuses (or drops) start-up options, as PgBouncer does.
    """

    def __init__(self, options: DatabaseOptions) -> None:
        self._options = options
        self.pooled = False
        self._made: WeakSet[GuardedConnection] = WeakSet()
        self._ended = False

    async def connect(self, *args: Any, read_only: bool, **kwargs: Any) -> GuardedConnection:
        """Connect, with the limits as start-up options where those get through.

        Raises:
            psycopg.OperationalError: nobody answers, or the answer is no.
            Unavailable: the database is being closed.
        """
        given = kwargs.pop("options", "") or ""
        if read_only and kwargs.get("target_session_attrs") == "read-write":
            # A session that we only read in is no read-write one, on the primary either, so that none would do.
            kwargs["target_session_attrs"] = "primary"
        try:
            async with asyncio.timeout_at(self._latest()):
                connection = await self._connect(*args, read_only=read_only, given=given, **kwargs)
        except TimeoutError:
            raise psycopg.OperationalError("the database did not accept a connection in time") from None
        self._made.add(connection)
        if self._ended:
            connection.end(closed)
            raise closed()
        return connection

    def end(self) -> None:
        """End all connections, those in use as well, and make no more."""
        self._ended = True
        for connection in list(self._made):
            connection.end(closed)

    async def _connect(self, *args: Any, read_only: bool, given: str, **kwargs: Any) -> GuardedConnection:
        if not self.pooled:
            connection = await self._try_options(*args, read_only=read_only, given=given, **kwargs)
            if connection is not None:
                return connection
            self.pooled = True
        return await self._open_pooled(*args, **({"options": given} if given else {}), **kwargs)

    def _latest(self) -> float:
        """Give the instant, by the loop's clock, at which whoever wants the connection can wait no longer."""
        now = time.monotonic()
        left = wanted_at.get(now) + self._options.timeout - now
        return asyncio.get_running_loop().time() + min(self._options.connect_timeout, left)

    async def _try_options(self, *args: Any, read_only: bool, given: str, **kwargs: Any) -> GuardedConnection | None:
        """Connect with start-up options; `None` where something on the way refuses them or lets them vanish."""
        try:
            connection = await self._open(*args, options=f"{given} {self._start_up(read_only)}".strip(), **kwargs)
        except psycopg.OperationalError as error:
            if "startup parameter" in str(error):
                return None
            raise
        async with AsyncExitStack() as stack:
            stack.push_async_callback(connection.close)
            if not await self._took_effect(connection, read_only):
                return None
            stack.pop_all()
        return connection

    async def _open(self, *args: Any, **kwargs: Any) -> GuardedConnection:
        kwargs.setdefault("application_name", "denizen")
        threshold = None if self.pooled else self._options.prepare_threshold
        attempts: list[Generator[Any, Any, Any]] = []
        _attempts.set(attempts)
        try:
            connection = await GuardedConnection.connect(*args, prepare_threshold=threshold, **kwargs)
        finally:
            for attempt in attempts:
                attempt.close()
        connection.deadline = time.monotonic() + self._options.connect_timeout
        return connection

    async def _open_pooled(self, *args: Any, **kwargs: Any) -> GuardedConnection:
        """Connect, and set the one thing that poolers keep apart for each of their clients."""
        connection = await self._open(*args, **kwargs)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(connection.close)
            await connection.set_autocommit(True)
            await connection.execute("SET TimeZone = 'UTC'")
            await connection.set_autocommit(False)
            stack.pop_all()
        return connection

    def _start_up(self, read_only: bool) -> str:
        chosen = {
            "statement_timeout": f"{int(self._options.statement_timeout * 1000)}ms",
            "lock_timeout": f"{int(self._options.lock_timeout * 1000)}ms",
            "idle_in_transaction_session_timeout": "60s",
            "default_transaction_read_only": "on" if read_only else "off",
            WAITING: WAITING_MOST,
            "TimeZone": "UTC",  # east of it, the last hours of the year 9999 could not be read
        }
        return " ".join(f"-c {name}={value}" for name, value in chosen.items())

    async def _took_effect(self, connection: GuardedConnection, read_only: bool) -> bool:
        """Ask: a pooler that is told to ignore start-up options lets them vanish without a word."""
        await connection.set_autocommit(True)
        names = ("default_transaction_read_only", "idle_in_transaction_session_timeout")
        found = await (await connection.execute("SELECT current_setting(%s), current_setting(%s)", names)).fetchone()
        await connection.set_autocommit(False)
        return found == ("on" if read_only else "off", "1min")
