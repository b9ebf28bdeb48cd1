"""Reading connections that the hot path keeps between two statements.

Taking a connection out of SQLAlchemy's pool and giving it back costs more than an indexed read: two changes of greenlet
and two chains of events. So a few stay lent out, newest first; what the pool would check before is checked here.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, cast

import psycopg
from sqlalchemy.exc import TimeoutError as SQLAlchemyTimeout
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import PoolProxiedConnection
from sqlalchemy.util.concurrency import greenlet_spawn

from denizen.core.options import DatabaseOptions
from denizen.core.postgresql.engines import PING_AFTER_SECONDS, has_stale_plan
from denizen.core.postgresql.guarded import GuardedConnection


class KeptConnections:
    """Runs single SELECTs on connections of a reading engine.

    Args:
        engine: in autocommit, so that nothing is left open between two statements.
        options: at most half of the pool is used here, so that sessions find connections too; who waits for longer than
            `pool_timeout` is told so.
        keep: whether connections may be kept at all. Behind a pooler each statement is a transaction that must end.
    """

    def __init__(self, engine: AsyncEngine, options: DatabaseOptions, *, keep: bool) -> None:
        self._engine = engine.sync_engine
        self._options = options
        self._keep = keep and options.pool_size > 1
        self._places = asyncio.Semaphore(max(1, options.pool_size // 2))
        self._idle: list[tuple[PoolProxiedConnection, float]] = []
        self._forgotten: list[PoolProxiedConnection] = []

    async def rows(self, sql: str, parameters: Any, *, prepare: bool | None = None) -> list[tuple[Any, ...]]:
        """Run one SELECT and give its rows.

        Args:
            sql: with psycopg's placeholders.
            parameters: by name.
            prepare: `False` for never, so that each run is planned for its parameters; otherwise after some runs.

        Raises:
            sqlalchemy.exc.TimeoutError: no connection came free in time.
            psycopg.Error: what the driver says.
            Unavailable: the database is being closed.
        """
        until = time.monotonic() + self._options.timeout
        try:
            if self._places.locked():
                async with asyncio.timeout(self._options.pool_timeout):
                    await self._places.acquire()
            else:
                await self._places.acquire()
        except TimeoutError:
            raise SQLAlchemyTimeout("no reading connection came free in time") from None
        try:
            lent = self._take_kept() or await self._take_from_pool(until)
            _driver_of(lent).deadline = until
            return await self._run(lent, sql, parameters, prepare)
        finally:
            self._places.release()

    def _take_kept(self) -> PoolProxiedConnection | None:
        """Give the newest of the kept connections that are alive; forget the others."""
        now = time.monotonic()
        while self._idle:
            lent, since = self._idle.pop()
            driver = _driver_of(lent)
            if now - since < PING_AFTER_SECONDS and not driver.closed and not driver.has_been_told:
                return lent
            self._forgotten.append(lent)
        return None

    async def _take_from_pool(self, until: float) -> PoolProxiedConnection:
        while self._forgotten:
            await greenlet_spawn(self._forgotten.pop().invalidate)
        try:
            async with asyncio.timeout(until - time.monotonic()):
                return await greenlet_spawn(self._engine.raw_connection)
        except TimeoutError:
            raise SQLAlchemyTimeout("no reading connection came free in time") from None

    async def _run(
        self, lent: PoolProxiedConnection, sql: str, parameters: Any, prepare: bool | None
    ) -> list[tuple[Any, ...]]:
        keep = False
        driver = _driver_of(lent)
        try:
            (rows,) = await driver.rows([(sql, parameters)], prepare=prepare)
            keep = self._keep and not driver.closed
        except BaseException as error:
            if driver.closed or has_stale_plan(error):
                await greenlet_spawn(lent.invalidate)
            if driver.refusal is not None and isinstance(error, psycopg.Error):
                raise driver.refusal() from error
            raise
        else:
            return list(rows)
        finally:
            if keep:
                self._idle.append((lent, time.monotonic()))
            else:
                await greenlet_spawn(lent.close)

    async def close(self) -> None:
        """Give all back to the pool."""
        lent = [*(each for each, _ in self._idle), *self._forgotten]
        self._idle.clear()
        self._forgotten.clear()
        for each in lent:
            await greenlet_spawn(each.close)


def _driver_of(lent: PoolProxiedConnection) -> GuardedConnection:
    return cast("GuardedConnection", lent.driver_connection)
