"""Sessions that write, and their short way: statements that reach the turn without a connection of SQLAlchemy's.

To make such a connection, begin on it, commit on it and close it costs as much as a whole short transaction. So there
is none until somebody uses the ORM or Core in the session. The first one then joins the transaction that is open.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Connection, Dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Session
from sqlalchemy.util.concurrency import await_

from denizen.core.sqlite.writing import Step, Turn
from denizen.core.statements import Row
from denizen.core.writes import SHORT_WAY


class TurnWay:
    """The short way of one session: its transaction is that of its turn."""

    def __init__(self, turn: Turn, dialect: Dialect, observe: Callable[[str], None]) -> None:
        self.dialect = dialect
        self.observe = observe
        self._turn = turn
        self._enlisted: object = None

    def join(self, connection: Connection) -> None:
        """Let a connection of SQLAlchemy's begin, as writers must, or take over what has begun here. It is in the
        greenlet of the session's first statement.
        """
        lent: Any = connection.connection.dbapi_connection
        if lent.turn is None:
            lent.begin(self._turn)

    @property
    def has_begun(self) -> bool:
        """Whether there is a transaction that no connection of SQLAlchemy's will end."""
        return self._turn.owner is self._turn

    async def rows(self, db: AsyncSession, steps: Sequence[Step]) -> list[Sequence[Row]]:
        """Run statements one after the other; give the rows of each."""
        await self._begin(db)
        try:
            return await self._turn.rows(steps)
        except sqlite3.Error as error:
            raise self._told(error, steps[0][0]) from error

    async def put_off(self, db: AsyncSession, step: Step) -> None:
        """Run one some time before the next one or the commit."""
        await self._begin(db)
        self._turn.put_off(step)

    async def commit(self) -> None:
        """Commit what has begun here."""
        try:
            await self._turn.commit()
        except sqlite3.Error as error:
            raise self._told(error, "COMMIT") from error
        finally:
            self._turn.leave(self._turn)

    async def rollback(self) -> None:
        """Undo it."""
        try:
            await self._turn.rollback()
        finally:
            self._turn.leave(self._turn)

    async def _begin(self, db: AsyncSession) -> None:
        session = db.sync_session
        within = session.get_nested_transaction() or session.get_transaction()
        if within is None:
            if not self.has_begun:
                await self._turn.begin(self._turn)
        elif within is not self._enlisted or not within.is_active:
            await db.connection()  # begins, or opens the savepoint, if no statement has done so yet
            self._enlisted = within

    def _told(self, error: sqlite3.Error, sql: str) -> Any:
        """Say it as SQLAlchemy does, and without parameters."""
        return DBAPIError.instance(sql, None, error, sqlite3.Error, hide_parameters=True, dialect=self.dialect)


class _Session(Session):
    """Ends what has begun on the short way where SQLAlchemy would end a transaction."""

    @property
    def way(self) -> TurnWay:
        """Its own."""
        found: TurnWay = self.info[SHORT_WAY]
        return found

    def commit(self) -> None:
        """Commit. What has begun on the short way goes with the rest, so that whoever hears of the commit hears of it
        when all is done.
        """
        if self.way.has_begun:
            self.connection()  # which takes it over
        super().commit()

    def rollback(self) -> None:
        """Roll back."""
        super().rollback()
        if self.way.has_begun:
            await_(self.way.rollback())


@event.listens_for(_Session, "after_begin")
def _join(session: _Session, transaction: Any, connection: Connection) -> None:
    session.way.join(connection)


class WritingSession(AsyncSession):
    """A session that writes in a turn."""

    sync_session_class = _Session

    def __init__(self, engine: AsyncEngine, way: TurnWay) -> None:
        super().__init__(
            engine, expire_on_commit=False, autoflush=False, close_resets_only=False, info={SHORT_WAY: way}
        )
        self._way = way

    async def commit(self) -> None:
        """Commit; without SQLAlchemy, where it has no part in the transaction. Listeners hear of it all the same."""
        if self.in_transaction():
            await super().commit()
        elif self._way.has_begun:
            await self._way.commit()
            self.sync_session.dispatch.after_commit(self.sync_session)

    async def rollback(self) -> None:
        """Roll back, likewise."""
        if self.in_transaction():
            await super().rollback()
        elif self._way.has_begun:
            await self._way.rollback()
            self.sync_session.dispatch.after_rollback(self.sync_session)

    async def close(self) -> None:
        """Close for good."""
        if self.in_transaction():
            await super().close()
        else:
            self.sync_session.close()
        self.info.pop(SHORT_WAY, None)
