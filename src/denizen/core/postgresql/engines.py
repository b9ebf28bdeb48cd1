"""The two pools of one server, and what is done to a connection before it is lent out."""

from __future__ import annotations

import asyncio
import re
import time
import weakref
from functools import partial
from typing import Any, Final, cast

import psycopg
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, PoolProxiedConnection

from denizen.core.errors import Unavailable
from denizen.core.options import DatabaseOptions, overdue
from denizen.core.postgresql.guarded import WAITING, WAITING_MOST, GuardedConnection, Start, wanted_at

PING_AFTER_SECONDS = 30.0
"""A connection idle for longer is tried before it is used. Trying each time costs a third of a read."""

PING_SECONDS = 0.5

IDLE_SECONDS = 60.0
"""After which the server itself ends a transaction that nobody goes on with, should this process be wedged."""

LOOK_AGAIN_SECONDS = 0.1

SECONDS = "denizen_seconds"
"""The execution option that says how long a writing transaction may take, where that is not the usual."""

READ_ONLY_STATE = "25006"
"""SQLSTATE `read_only_sql_transaction`."""


class Pool(AsyncAdaptedQueuePool):
    """A pool whose users' budget begins when they ask for a connection, not when they get it."""

    _sqla_logger_namespace = "sqlalchemy.pool.denizen"  # by its module's name it would talk among our own events

    def connect(self) -> PoolProxiedConnection:
        """Lend a connection."""
        wanted_at.set(time.monotonic())
        return super().connect()

    def waiting(self) -> int:
        """Count those who wait for a connection to come free."""
        queue = getattr(self._pool, "_queue", None)  # neither SQLAlchemy nor asyncio has another way to ask
        return len(getattr(queue, "_getters", ()))


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
    _keep_in_order(engine)
    if start.pooled or not read_only:
        _limit_each_transaction(engine, options, start, read_only=read_only)
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
        if connection.closed:
            raise DisconnectionError("an idle connection was closed")
        now = time.monotonic()
        until = wanted_at.get(now) + options.timeout
        connection.budget = None
        if now - record.info.get("returned", now) > PING_AFTER_SECONDS or connection.has_been_told:
            connection.deadline = min(now + PING_SECONDS, until)
            try:
                dbapi.run_async(lambda driver: driver.execute("SELECT 1"))
                dbapi.run_async(lambda driver: driver.rollback())
            except psycopg.Error as error:
                if "returned" not in record.info:
                    raise  # it is new, and the next one would be as well
                raise DisconnectionError("an idle connection was gone") from error
        connection.deadline = until

    @event.listens_for(engine.sync_engine, "handle_error", retval=True)
    def part(context: Any) -> Unavailable | None:
        """Drop the whole pool's connections where they are of no use any longer.

        After a failover the old primary only reads: new connections find the new primary. A connection that was ended
        is nobody's fault but its user's: he keeps it, and is told why, until he gives it back.
        """
        error = context.original_exception
        refused = _refusal(context.connection) if isinstance(error, psycopg.Error) else None
        if refused is not None:
            context.is_disconnect = False
        elif has_stale_plan(error) or (not read_only and getattr(error, "sqlstate", None) == READ_ONLY_STATE):
            context.is_disconnect = True
        return refused

    @event.listens_for(engine.sync_engine, "checkin")
    def take_back(dbapi: Any, record: Any) -> None:
        record.info["returned"] = time.monotonic()
        _stop_alarm(record.info)


def tell(connection: Connection, error: BaseException, sql: str) -> None:
    """Let SQLAlchemy raise what an error means to it, and let go of a connection that is of no use any longer."""
    try:
        raise error  # noqa: TRY301  (SQLAlchemy asks Python for the error that is being handled)
    except BaseException:  # noqa: BLE001  (it is raised again)
        connection._handle_dbapi_exception(error, sql, None, None, None)  # noqa: SLF001  (no other way)


def _refusal(connection: Connection | None) -> Unavailable | None:
    """Say why nothing more is run on the psycopg connection under `connection`, if that is so."""
    if connection is None or connection.invalidated:
        return None
    refusal = driver_under(connection.connection).refusal
    return None if refusal is None else refusal()


def _limit_each_transaction(engine: AsyncEngine, options: DatabaseOptions, start: Start, *, read_only: bool) -> None:
    """Say in each transaction what start-up options would have said once, and what differs from them; end a writing
    transaction that is idle at its deadline.

    What runs on the driver alone (`rows`) is read-only by its `BEGIN`, and bounded by the connection's deadline.
    """
    limits = (
        "SELECT set_config('statement_timeout', '{}ms', true), set_config('lock_timeout', '{}ms', true), "
        "set_config('idle_in_transaction_session_timeout', '{}ms', true), "
        f"set_config('{WAITING}', '{WAITING_MOST}', true)"
    )

    @event.listens_for(engine.sync_engine, "begin")
    def limit(connection: Connection) -> None:
        seconds = connection.get_execution_options().get(SECONDS, options.timeout)
        more = seconds > options.timeout
        if start.pooled or more:
            chosen = (
                seconds if more else options.statement_timeout,
                options.lock_timeout,
                max(seconds, IDLE_SECONDS),
            )
            connection.exec_driver_sql(limits.format(*(int(each * 1000) for each in chosen)))
        if not read_only:
            _set_alarm(connection.connection, seconds, seconds - options.timeout)

    if start.pooled:

        @event.listens_for(engine.sync_engine, "checkout")
        def begin_as(dbapi: Any, record: Any, proxy: Any) -> None:
            dbapi.set_read_only(read_only)


_DROPS_NAMES: Final = re.compile(
    r"(?:\s|/\*.*?\*/|--[^\n]*\n)*(?:DROP|ALTER|ROLLBACK|DISCARD|DEALLOCATE)\b", re.IGNORECASE | re.DOTALL
)
"""What psycopg, or the server, drops prepared statements after."""


def _keep_in_order(engine: AsyncEngine) -> None:
    """Run what was put off before what SQLAlchemy runs, and drop it with the savepoint after which it was; prepare
    statements anew where names may have been dropped.
    """

    @event.listens_for(engine.sync_engine, "before_cursor_execute")
    def catch_up(connection: Connection, cursor: Any, statement: str, *others: Any) -> None:
        driver = driver_under(connection.connection)
        if driver.is_behind:
            dbapi: Any = connection.connection.dbapi_connection
            try:
                dbapi.run_async(GuardedConnection.catch_up)
            except BaseException as error:  # noqa: BLE001  (it is raised again)
                tell(connection, error, statement)
        if _DROPS_NAMES.match(statement):
            driver.forget()

    @event.listens_for(engine.sync_engine, "rollback_savepoint")
    def drop(connection: Connection, name: str, context: Any) -> None:
        driver_under(connection.connection).drop_put_off()


def _set_alarm(lent: PoolProxiedConnection, seconds: float, more: float) -> None:
    """Give the transaction on `lent` its deadline: `more` seconds than usual (or less, if negative).

    The server was asked within the ordinary time: one that is frozen must not be waited for any longer.
    """
    driver = driver_under(lent)
    driver.budget = seconds
    driver.deadline = (driver.deadline or time.monotonic()) + more
    _stop_alarm(lent.info)
    _start_alarm(weakref.ref(lent), lent.info, driver.deadline - time.monotonic(), seconds)


def _start_alarm(lent: weakref.ref[PoolProxiedConnection], info: Any, left: float, seconds: float) -> None:
    info["alarm"] = asyncio.get_running_loop().call_later(max(0.0, left), _expire, lent, info, seconds)


def _stop_alarm(info: Any) -> None:
    alarm: asyncio.TimerHandle | None = info.pop("alarm", None)
    if alarm is not None:
        alarm.cancel()


def _expire(lent: weakref.ref[PoolProxiedConnection], info: Any, seconds: float) -> None:
    """End the transaction on `lent`, which is idle at its deadline, and leave its place in the pool to others."""
    late = lent()
    if late is None or late.dbapi_connection is None:
        return
    driver = driver_under(late)
    if driver.waits:  # for a server that is late as well: that wait ends by itself about now, and says so
        _start_alarm(lent, info, LOOK_AGAIN_SECONDS, seconds)
        return
    driver.end(partial(overdue, seconds))
    late.detach()


def driver_under(lent: PoolProxiedConnection) -> GuardedConnection:
    """Give the psycopg connection under one of the pool's, be it still in the pool's books or not."""
    adapted: Any = lent.dbapi_connection
    return cast("GuardedConnection", adapted.driver_connection)


def has_stale_plan(error: BaseException) -> bool:
    """Whether a connection has prepared a statement for a table that a migration has changed since: it would fail at
    it for the rest of its life. What PostgreSQL says of it may be in any language, where it says it is always the same.
    """
    return isinstance(error, psycopg.errors.FeatureNotSupported) and (
        error.diag.source_function == "RevalidateCachedQuery"
    )
