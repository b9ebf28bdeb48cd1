"""PostgreSQL through psycopg 3, with deadlines that hold even when the server is frozen (ADR 0004).

Three things a plain engine does not do:

1. **A deadline that does not need the server.** Cancelling a psycopg query opens a second connection to ask the
   server to stop, and waits; with a frozen server `asyncio.timeout(2)` came back after 12 seconds. `GuardedConnection`
   instead closes its own socket when the time is over: the wait ends at once, and the pool drops the connection.
   Waiting for a connection of the pool, making it and using it share one budget, `DatabaseOptions.timeout`.
2. **No session state.** `statement_timeout` and read-only mode are given as start-up options, which belong to the
   connection for its whole life. PgBouncer, which lends one server connection to many clients, refuses such options
   (so that nothing can leak); then `Start.pooled` is set, the same is said inside each transaction (`SET LOCAL`), and
   nothing is prepared.
3. **No dead connections.** A server that restarts or fails over says goodbye to connections that lie idle in the
   pool. That is seen on their sockets before they are lent out, so that nobody's request has to fail of it.
"""

from __future__ import annotations

import asyncio
import select
import time
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any, cast

import psycopg
from psycopg import AsyncConnection, waiting
from sqlalchemy import event
from sqlalchemy.engine import URL, Dialect
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncConnection as EngineConnection
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, PoolProxiedConnection
from sqlalchemy.util.concurrency import greenlet_spawn

from denizen.core.options import DatabaseOptions
from denizen.core.statements import watch_statements

PING_AFTER_SECONDS = 30.0
"""A connection idle for longer is tried before it is used. Trying each time costs a third of a read."""

PING_SECONDS = 0.5

READ_ONLY_STATE = "25006"
"""SQLSTATE `read_only_sql_transaction`."""


_wanted_at: ContextVar[float] = ContextVar("wanted_at")
"""When the current task began to wait for a connection, in seconds of `time.monotonic`."""


_attempts: ContextVar[list[Generator[Any, Any, Any]]] = ContextVar("attempts")
"""What the current task tries to connect with. Cancelled, psycopg would leave the socket to the garbage collector, and
the server with a client that never says who it is."""


class Pool(AsyncAdaptedQueuePool):
    """A pool whose users' budget begins when they ask for a connection, not when they get it."""

    _sqla_logger_namespace = "sqlalchemy.pool.denizen"  # by its module's name it would talk among our own events

    def connect(self) -> PoolProxiedConnection:
        """Lend a connection."""
        _wanted_at.set(time.monotonic())
        return super().connect()


class GuardedConnection(AsyncConnection[Any]):
    """A psycopg connection that gives up on its own when `deadline` passes.

    Attributes:
        deadline: the instant, in seconds of `time.monotonic`, at which any wait ends; `None` for no limit.
    """

    deadline: float | None = None

    @classmethod
    def _connect_gen(cls, conninfo: str = "") -> Any:
        """Connect as psycopg does; who gives up waiting closes the attempt, and with it the socket."""
        attempt = super()._connect_gen(conninfo)
        _attempts.get().append(attempt)
        return attempt

    async def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Wait as psycopg does; past the deadline, or when cancelled, close the socket and ask the server nothing."""
        if self.deadline is not None:
            timeout = max(0.001, self.deadline - time.monotonic())
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

    @property
    def has_been_told(self) -> bool:
        """Whether something has arrived while nothing was asked: the server's goodbye, as a rule."""
        poll = select.poll()
        poll.register(self.pgconn.socket, select.POLLIN)
        return bool(poll.poll(0))


class Start:
    """How connections to one server begin, found out with the first of them.

    Attributes:
        pooled: whether something between us and the server refuses (or drops) start-up options, as PgBouncer does.
    """

    def __init__(self, options: DatabaseOptions) -> None:
        self._options = options
        self.pooled = False

    async def connect(self, *args: Any, read_only: bool, **kwargs: Any) -> GuardedConnection:
        """Connect, with the limits as start-up options where those get through.

        Raises:
            psycopg.OperationalError: nobody answers, or the answer is no.
        """
        given = kwargs.pop("options", "") or ""
        try:
            async with asyncio.timeout_at(self._latest()):
                if not self.pooled:
                    connection = await self._try_options(*args, read_only=read_only, given=given, **kwargs)
                    if connection is not None:
                        return connection
                    self.pooled = True
                return await self._open_pooled(*args, **({"options": given} if given else {}), **kwargs)
        except TimeoutError:
            raise psycopg.OperationalError("the database did not accept a connection in time") from None

    def _latest(self) -> float:
        """Give the instant, by the loop's clock, at which whoever wants the connection can wait no longer."""
        now = time.monotonic()
        left = _wanted_at.get(now) + self._options.timeout - now
        return asyncio.get_running_loop().time() + min(self._options.connect_timeout, left)

    async def _try_options(self, *args: Any, read_only: bool, given: str, **kwargs: Any) -> GuardedConnection | None:
        """Connect with start-up options; `None` where something on the way refuses them or lets them vanish."""
        try:
            connection = await self._open(*args, options=f"{given} {self._start_up(read_only)}".strip(), **kwargs)
        except psycopg.OperationalError as error:
            if "startup parameter" in str(error):
                return None
            raise
        if await self._took_effect(connection, read_only):
            return connection
        await connection.close()
        return None

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
        await connection.set_autocommit(True)
        await connection.execute("SET TimeZone = 'UTC'")
        await connection.set_autocommit(False)
        return connection

    def _start_up(self, read_only: bool) -> str:
        chosen = {
            "statement_timeout": f"{int(self._options.statement_timeout * 1000)}ms",
            "lock_timeout": f"{int(self._options.lock_timeout * 1000)}ms",
            "idle_in_transaction_session_timeout": "60s",
            "default_transaction_read_only": "on" if read_only else "off",
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


def make_engine(url: URL, options: DatabaseOptions, start: Start, *, read_only: bool) -> AsyncEngine:
    """Make the engine for writing, or the one for reading (autocommit, and the server refuses writes).

    Args:
        url: a `postgresql://` URL, password included.
        options: pool size and time-outs.
        start: shared by both engines of one database.
        read_only: which of the two.
    """
    autocommit = read_only and not start.pooled
    engine = create_async_engine(
        url.set(drivername="postgresql+psycopg"),
        poolclass=Pool,
        pool_size=options.pool_size,
        max_overflow=0,
        pool_timeout=options.pool_timeout,
        pool_recycle=1800,
        isolation_level="AUTOCOMMIT" if autocommit else "READ COMMITTED",
        use_native_hstore=False,
        hide_parameters=True,  # addresses and hashes, which a host's log would print with an error
        connect_args={"async_creator_fn": _creator(start, read_only)},
    )
    _watch(engine, options, read_only=read_only)
    if start.pooled:
        _limit_each_transaction(engine, options, read_only=read_only)
    return engine


def _creator(start: Start, read_only: bool) -> Any:
    async def create(*args: Any, **kwargs: Any) -> GuardedConnection:
        return await start.connect(*args, read_only=read_only, **kwargs)

    return create


def _watch(engine: AsyncEngine, options: DatabaseOptions, *, read_only: bool) -> None:
    """Give each connection that is lent out its deadline, and try it first when it may be dead."""

    @event.listens_for(engine.sync_engine, "checkout")
    def lend(dbapi: Any, record: Any, proxy: Any) -> None:
        connection: GuardedConnection = dbapi.driver_connection
        now = time.monotonic()
        until = _wanted_at.get(now) + options.timeout
        if now - record.info.get("returned", now) > PING_AFTER_SECONDS or connection.has_been_told:
            connection.deadline = min(now + PING_SECONDS, until)
            try:
                dbapi.run_async(lambda driver: driver.execute("SELECT 1"))
                dbapi.run_async(lambda driver: driver.rollback())
            except psycopg.Error as error:
                raise DisconnectionError("an idle connection was gone") from error
        connection.deadline = until

    @event.listens_for(engine.sync_engine, "handle_error")
    def part(context: Any) -> None:
        """Drop the whole pool's connections where they are of no use any longer.

        After a failover the old primary only reads: new connections find the new primary.
        """
        error = context.original_exception
        if has_stale_plan(error) or (not read_only and getattr(error, "sqlstate", None) == READ_ONLY_STATE):
            context.is_disconnect = True

    @event.listens_for(engine.sync_engine, "checkin")
    def take_back(dbapi: Any, record: Any) -> None:
        record.info["returned"] = time.monotonic()


def _limit_each_transaction(engine: AsyncEngine, options: DatabaseOptions, *, read_only: bool) -> None:
    """Say in each transaction what start-up options would have said once.

    What runs on the driver alone (`rows`) is read-only by its `BEGIN`, and bounded by the connection's deadline.
    """
    milliseconds = (int(options.statement_timeout * 1000), int(options.lock_timeout * 1000))
    limits = "SELECT set_config('statement_timeout', '{}ms', true), set_config('lock_timeout', '{}ms', true)"

    @event.listens_for(engine.sync_engine, "checkout")
    def begin_as(dbapi: Any, record: Any, proxy: Any) -> None:
        dbapi.set_read_only(read_only)

    @event.listens_for(engine.sync_engine, "begin")
    def limit(connection: Any) -> None:
        connection.exec_driver_sql(limits.format(*milliseconds))


class PostgreSQLBackend:
    """The connections of one process to one PostgreSQL server: a pool that writes and a pool that reads."""

    def __init__(self, url: URL, options: DatabaseOptions, start: Start, observe: Callable[[str], None]) -> None:
        self._options = options
        self.start = start
        self._writers = make_engine(url, options, start, read_only=False)
        self._readers = make_engine(url, options, start, read_only=True)
        for engine in (self._writers, self._readers):
            watch_statements(engine, observe)
        self.dialect: Dialect = self._readers.dialect

    @classmethod
    async def open(cls, url: URL, options: DatabaseOptions, observe: Callable[[str], None]) -> PostgreSQLBackend:
        """Connect once, to learn how connections begin here, then make the pools.

        Raises:
            psycopg.OperationalError: nobody answers, or the answer is no.
        """
        start = Start(options)
        probe = make_engine(url, options, start, read_only=True)
        try:
            async with probe.connect():
                pass
        finally:
            await probe.dispose()
        return cls(url, options, start, observe)

    @asynccontextmanager
    async def writing(self, seconds: float) -> AsyncIterator[AsyncSession]:
        """Give a session whose first statement takes a connection and begins; more `seconds` than usual are asked of
        the server.
        """
        async with AsyncSession(self._writers, expire_on_commit=False, autoflush=False) as db:
            if seconds > self._options.timeout:
                await self._extend(await db.connection(), seconds)
            yield db

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        """Give a session in autocommit, on a connection that refuses writes."""
        async with AsyncSession(self._readers, autoflush=False) as db:
            yield db

    @asynccontextmanager
    async def reading_slowly(self) -> AsyncIterator[AsyncSession]:
        """Give a session in one read-only transaction, which may take `slow_timeout`."""
        begin = {"isolation_level": "READ COMMITTED", "postgresql_readonly": True}
        async with AsyncSession(self._readers, autoflush=False) as db:
            await self._extend(await db.connection(execution_options=begin), self._options.slow_timeout)
            yield db

    async def _extend(self, connection: EngineConnection, seconds: float) -> None:
        """Give the transaction on `connection` more time than its engine gives, on both sides of the wire.

        The server is asked within the ordinary time: one that is frozen must not be waited for any longer.
        """
        await connection.exec_driver_sql(f"SET LOCAL statement_timeout = {int(seconds * 1000)}")
        (await driver_of(connection)).deadline = time.monotonic() + seconds

    async def rows(self, sql: str, parameters: Any) -> list[tuple[Any, ...]]:
        """Run one SELECT on a psycopg connection of the reading pool."""
        for _ in range(self._options.pool_size):
            try:
                return await self._rows(sql, parameters)
            except psycopg.errors.FeatureNotSupported as error:
                if not has_stale_plan(error):
                    raise
        return await self._rows(sql, parameters)

    async def _rows(self, sql: str, parameters: Any) -> list[tuple[Any, ...]]:
        lent = await greenlet_spawn(self._readers.sync_engine.raw_connection)
        driver = cast(GuardedConnection, lent.driver_connection)
        try:
            cursor = driver.cursor()
            await cursor.execute(sql, parameters)
            return await cursor.fetchall()
        except BaseException as error:
            if driver.closed or has_stale_plan(error):
                await greenlet_spawn(lent.invalidate)
            raise
        finally:
            await greenlet_spawn(lent.close)

    async def close(self) -> None:
        """Close both pools."""
        await self._writers.dispose()
        await self._readers.dispose()


def has_stale_plan(error: BaseException) -> bool:
    """Whether a connection has prepared a statement for a table that a migration has changed since: it would fail at
    it for the rest of its life. What PostgreSQL says of it may be in any language, where it says it is always the same.
    """
    return isinstance(error, psycopg.errors.FeatureNotSupported) and (
        error.diag.source_function == "RevalidateCachedQuery"
    )


async def driver_of(connection: EngineConnection) -> GuardedConnection:
    """Give the psycopg connection under a SQLAlchemy one."""
    raw = await connection.get_raw_connection()
    return cast(GuardedConnection, raw.driver_connection)
