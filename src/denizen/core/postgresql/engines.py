"""The two pools of one server, and what is done to a connection before it is lent out."""

from __future__ import annotations

import time
from typing import Any

import psycopg
from sqlalchemy import event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, PoolProxiedConnection

from denizen.core.options import DatabaseOptions
from denizen.core.postgresql.guarded import GuardedConnection, Start, wanted_at

PING_AFTER_SECONDS = 30.0
"""A connection idle for longer is tried before it is used. Trying each time costs a third of a read."""

PING_SECONDS = 0.5

READ_ONLY_STATE = "25006"
"""SQLSTATE `read_only_sql_transaction`."""


class Pool(AsyncAdaptedQueuePool):
    """A pool whose users' budget begins when they ask for a connection, not when they get it."""

    _sqla_logger_namespace = "sqlalchemy.pool.denizen"  # by its module's name it would talk among our own events

    def connect(self) -> PoolProxiedConnection:
        """Lend a connection."""
        wanted_at.set(time.monotonic())
        return super().connect()


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
        until = wanted_at.get(now) + options.timeout
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


def has_stale_plan(error: BaseException) -> bool:
    """Whether a connection has prepared a statement for a table that a migration has changed since: it would fail at
    it for the rest of its life. What PostgreSQL says of it may be in any language, where it says it is always the same.
    """
    return isinstance(error, psycopg.errors.FeatureNotSupported) and (
        error.diag.source_function == "RevalidateCachedQuery"
    )
