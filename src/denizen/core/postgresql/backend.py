"""PostgreSQL behind `Database`: a pool that writes, a pool that reads, and a few connections kept for the hot path."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any, cast

import psycopg
from sqlalchemy.engine import URL, Connection, Dialect
from sqlalchemy.ext.asyncio import AsyncConnection as EngineConnection
from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.options import DatabaseOptions, Load
from denizen.core.postgresql.engines import SECONDS, Pool, driver_under, has_stale_plan, make_engine, tell
from denizen.core.postgresql.greenlets import spawn
from denizen.core.postgresql.guarded import GuardedConnection, Start
from denizen.core.postgresql.kept import KeptConnections
from denizen.core.statements import Row, watch_statements
from denizen.core.writes import SHORT_WAY, Step


class PostgreSQLBackend:
    """The connections of one process to one PostgreSQL server: a pool that writes and a pool that reads."""

    def __init__(self, url: URL, options: DatabaseOptions, start: Start, observe: Callable[[str], None]) -> None:
        self._options = options
        self._observe = observe
        self.start = start
        self._writers = make_engine(url, options, start, read_only=False)
        self._readers = make_engine(url, options, start, read_only=True)
        for engine in (self._writers, self._readers):
            watch_statements(engine, observe)
        self._kept = KeptConnections(self._readers, options, keep=not start.pooled)
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
        """Give a session whose first statement takes a connection and begins; `seconds` for both, and for all that the
        session does with them. Then it is ended by closing its socket, which needs no answer of the server.

        Fewer seconds than usual bound the transaction, not the wait for its connection: that is `pool_timeout` and
            `connect_timeout`.
        """
        engine = self._writers
        if seconds != self._options.timeout:
            engine = engine.execution_options(**{SECONDS: seconds})
        db = _WritingSession(engine, expire_on_commit=False, autoflush=False, close_resets_only=False)
        db.info[SHORT_WAY] = _Way(self.dialect, self._observe)
        try:
            yield db
        finally:
            del db.info[SHORT_WAY]
            if db.in_transaction():
                await db.__aexit__(None, None, None)  # in a task of its own: nobody's cancelling may cut it short
            else:
                db.sync_session.close()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        """Give a session in autocommit, on a connection that refuses writes."""
        async with AsyncSession(self._readers, autoflush=False, close_resets_only=False) as db:
            yield db

    @asynccontextmanager
    async def reading_slowly(self) -> AsyncIterator[AsyncSession]:
        """Give a session in one read-only transaction, which may take `slow_timeout`.

        The server is asked for it within the ordinary time: one that is frozen must not be waited for any longer.
        """
        begin = {"isolation_level": "READ COMMITTED", "postgresql_readonly": True}
        seconds = self._options.slow_timeout
        async with AsyncSession(self._readers, autoflush=False, close_resets_only=False) as db:
            connection = await db.connection(execution_options=begin)
            await connection.exec_driver_sql(f"SET LOCAL statement_timeout = {int(seconds * 1000)}")
            (await driver_of(connection)).deadline = time.monotonic() + seconds
            yield db

    async def rows_anew(self, sql: str, parameters: Any) -> list[tuple[Any, ...]]:
        """Run one SELECT as `rows` does, without preparing it."""
        return await self._kept.rows(sql, parameters, prepare=False)

    async def rows(self, sql: str, parameters: Any) -> list[tuple[Any, ...]]:
        """Run one SELECT on a psycopg connection of the reading pool."""
        for _ in range(self._options.pool_size):
            try:
                return await self._kept.rows(sql, parameters)
            except psycopg.errors.FeatureNotSupported as error:
                if not has_stale_plan(error):
                    raise
        return await self._kept.rows(sql, parameters)

    async def slow_rows(self, sql: str, parameters: Any) -> list[tuple[Any, ...]]:
        """Run one SELECT as in `reading_slowly`, on its psycopg connection and with results in binary: as text, bytes
        would be twice as long, and text would be decoded.
        """
        async with self.reading_slowly() as db:
            connection = await db.connection()
            driver = await driver_of(connection)
            try:
                cursor = await driver.cursor(binary=True).execute(sql, parameters)
                return await cursor.fetchall()
            except BaseException as error:
                if driver.closed or has_stale_plan(error):
                    await connection.invalidate()
                if driver.refusal is not None and isinstance(error, psycopg.Error):
                    raise driver.refusal() from error
                raise

    def load(self) -> Load:
        """Count what is lent out of the two pools, and who waits for some of it."""
        pools = [cast("Pool", engine.sync_engine.pool) for engine in (self._writers, self._readers)]
        writing, reading = (pool.checkedout() for pool in pools)
        return Load(writing=writing, reading=reading, waiting=sum(pool.waiting() for pool in pools))

    async def close(self) -> None:
        """Close all connections; what is in use is refused, and undone by the server. No answer of its is waited
        for.
        """
        self.start.end()
        await self._kept.close()
        await self._writers.dispose()
        await self._readers.dispose()


@asynccontextmanager
async def lend_alone(
    url: URL, options: DatabaseOptions, seconds: float, observe: Callable[[str], None]
) -> AsyncIterator[EngineConnection]:
    """Give a connection of nobody else's, in autocommit, whose statements may take `seconds` in all."""
    patient = replace(options, timeout=seconds, statement_timeout=seconds, lock_timeout=seconds)
    engine = make_engine(url, patient, Start(patient), read_only=False)
    watch_statements(engine, observe)
    try:
        async with engine.connect() as connection:
            yield await connection.execution_options(isolation_level="AUTOCOMMIT")
    finally:
        await engine.dispose()


class _WritingSession(AsyncSession):
    """A session whose end takes no new greenlet."""

    async def commit(self) -> None:
        """Commit."""
        await spawn(self.sync_session.commit)


class _Way:
    """The short way of one session: the psycopg connection under SQLAlchemy's, which begins and ends transactions."""

    def __init__(self, dialect: Dialect, observe: Callable[[str], None]) -> None:
        self.dialect = dialect
        self.observe = observe
        self._enlisted: object = None
        self._connection: Connection | None = None
        self._driver: GuardedConnection | None = None

    async def rows(self, db: AsyncSession, steps: Sequence[Step]) -> list[Sequence[Row]]:
        """Run statements; give the rows of each."""
        connection, driver = await self._reach(db)
        try:
            return await driver.rows(steps)
        except BaseException as error:
            await spawn(partial(tell, connection, error, steps[0][0]))
            raise

    async def put_off(self, db: AsyncSession, step: Step) -> None:
        """Run one with the next ones, or with the commit."""
        connection, driver = await self._reach(db)
        try:
            await driver.put_off(step)
        except BaseException as error:
            await spawn(partial(tell, connection, error, step[0]))
            raise

    async def _reach(self, db: AsyncSession) -> tuple[Connection, GuardedConnection]:
        session, known = db.sync_session, self._connection
        within = session.get_nested_transaction() or session.get_transaction()
        left = within is None or within is not self._enlisted or not within.is_active
        if known is None or self._driver is None or left or known.invalidated:
            # Begins or opens the savepoint, if nothing has yet.
            known = self._connection = await spawn(session.connection)
            self._driver = driver_under(known.connection)
            self._enlisted = session.get_nested_transaction() or session.get_transaction()
        return known, self._driver


async def driver_of(connection: EngineConnection) -> GuardedConnection:
    """Give the psycopg connection under a SQLAlchemy one."""
    raw = await connection.get_raw_connection()
    return cast(GuardedConnection, raw.driver_connection)
