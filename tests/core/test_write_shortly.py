"""Compiled statements in transactions that write: what SQLAlchemy would do, without its work, on both databases."""

# ruff: noqa: PT012  (what is refused is a whole transaction, its end included)

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import (
    Column,
    Integer,
    MetaData,
    Table,
    bindparam,
    delete,
    func,
    insert,
    literal_column,
    select,
    text,
    update,
)
from sqlalchemy.exc import IntegrityError, InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.pool import NullPool

from denizen.core.database import Database, DatabaseOptions, constraint_of
from denizen.core.postgresql.backend import PostgreSQLBackend
from denizen.core.postgresql.guarded import Start
from denizen.core.postgresql.lean import MOST_NAMES
from denizen.core.statements import Statement
from denizen.core.writes import Call, run, run_later, run_together
from denizen.limits.models import Limit
from tests.core.ground import METADATA, NOTES, WAYS, checked_out, note, note_later, note_shortly, noted

AT = datetime(2026, 1, 31, 9, 30, 0, 123456, tzinfo=UTC)
UID = UUID("019a5c1e-7f00-7a11-8b22-3c33d44e55f6")
WHOLE: dict[str, Any] = {"number": 1, "text": "100% of it", "at": AT, "uid": UID, "words": ["a", "b"]}
NOTHING: dict[str, Any] = {"number": 2, "text": None, "at": None, "uid": None, "words": None}

INSERT = Statement(insert(NOTES).returning(NOTES))
CHANGE = Statement(
    update(NOTES)
    .where(NOTES.c.uid == bindparam("of"), NOTES.c.text.like(bindparam("like")))
    .values(at=bindparam("new_at", type_=NOTES.c.at.type), text=NOTES.c.text + "!")
    .returning(NOTES.c.text, NOTES.c.at)
)
DELETE = Statement(delete(NOTES).where(NOTES.c.number == bindparam("number")))
COUNT = Statement(select(func.count()).select_from(NOTES))
LIMITS = Statement(select(Limit.count))


class AsBehindAPooler(Database):
    """A database that takes its server for a pooler: nothing is prepared there, nor sent together."""

    async def _connect(self) -> Any:
        if self.kind == "sqlite":
            return await super()._connect()
        start = Start(self.options)
        start.pooled = True
        return PostgreSQLBackend(self.url, self.options, start, self.observe)


@pytest.fixture(params=["as it is", "behind a pooler", "prepared at once"])
async def own(database: Database, request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    """The same database; what is told of PostgreSQL's connections changes nothing on SQLite."""
    if database.kind == "sqlite" and request.param != "as it is":
        yield database
        return
    kind = AsBehindAPooler if request.param == "behind a pooler" else Database
    own = kind(database.url, DatabaseOptions(prepare_threshold=0 if request.param == "prepared at once" else 5))
    yield own
    await own.close()


def counted(rows: Any) -> int:
    return int(rows[0][0])


async def test_values_go_in_and_come_back_as_through_a_session(own: Database) -> None:
    async with own.write.begin() as db:
        for values in (WHOLE, NOTHING):
            assert await run(db, INSERT, **values) == [tuple(values.values())]
        assert await run(db, CHANGE, of=UID, like="100%", new_at=AT.replace(year=2027)) == [
            ("100% of it!", AT.replace(year=2027))
        ]
        assert await run(db, DELETE, number=2) == []
        assert (await db.execute(select(NOTES))).all() == [
            (1, "100% of it!", AT.replace(year=2027), UID, ["a", "b"]),
        ]

    assert await noted(own) == [1]


async def test_several_run_in_one_step_in_their_order(own: Database) -> None:
    for number in range(8):  # often enough to be prepared
        async with own.write.begin() as db:
            found = await run_together(
                db,
                Call(INSERT, WHOLE | {"number": number, "text": str(number)}, len),
                Call(COUNT, {}, counted),
            )
            assert found == (1, number + 1)
            assert await run_together(
                db, Call(COUNT, {}, counted), Call(DELETE, {"number": 99}, list), Call(COUNT, {}, counted)
            ) == (number + 1, [], number + 1)


async def test_it_stands_in_one_order_with_what_goes_through_sqlalchemy(own: Database) -> None:
    async with own.write.begin() as db:
        await note_later(db, 1)
        assert counted(await run(db, COUNT)) == 1
        await note_later(db, 2)
        assert await db.scalar(select(func.count()).select_from(NOTES)) == 2
        await note(db, 3)
        assert counted(await run(db, COUNT)) == 3
        db.add(Limit(digest=bytes(32), count=7, free_at=AT, expires_at=AT))
        assert await run(db, LIMITS) == [(7,)]  # what is pending goes first
        await note_later(db, 4)

    assert await noted(own) == [1, 2, 3, 4]


async def test_a_conflict_is_told_as_sqlalchemy_tells_it(own: Database) -> None:
    for _ in range(2):
        async with own.write.begin() as db:
            await note_shortly(db, 1)
            with pytest.raises(IntegrityError) as conflict:
                async with db.begin_nested():
                    await note_shortly(db, 2)
                    await run(db, INSERT, **WHOLE | {"number": 3, "text": "note 1"})
            assert constraint_of(conflict.value, METADATA) == "uq_notes_text"
            assert "note 1" not in str(conflict.value).partition("DETAIL")[0]
            await note_later(db, 4)
        assert await noted(own) == [1, 4]
        async with own.write.begin() as db:
            await db.execute(delete(NOTES))


async def test_what_was_put_off_and_fails_undoes_all(own: Database) -> None:
    async def by_the_next(db: AsyncSession) -> None:
        await note_shortly(db, 2)

    async def by_sqlalchemy(db: AsyncSession) -> None:
        await note(db, 2)

    async def by_the_commit(db: AsyncSession) -> None:
        pass

    async def after_sqlalchemy(db: AsyncSession) -> None:
        await db.scalar(select(1))

    for end in (by_the_next, by_sqlalchemy, by_the_commit, after_sqlalchemy):
        with pytest.raises(IntegrityError) as conflict:
            async with own.write.begin() as db:
                await note_shortly(db, 1)
                await run_later(db, INSERT, **WHOLE | {"number": 3, "text": "note 1"})
                await end(db)
        assert constraint_of(conflict.value, METADATA) == "uq_notes_text", end.__name__
        assert await noted(own) == []
    assert checked_out(own) == 0


async def test_a_rollback_forgets_what_was_run_and_the_session_goes_on(own: Database) -> None:
    for way in WAYS.values():
        async with own.write.begin() as db:
            await way(db, 1)
            await db.rollback()
            await way(db, 2)
            await db.run_sync(lambda session: session.rollback())
            await way(db, 3)
            await db.commit()
            await way(db, 4)
            await db.run_sync(lambda session: session.commit())
            await way(db, 5)
        assert await noted(own) == [3, 4, 5]
        async with own.write.begin() as db:
            async with db.begin():
                await way(db, 6)
            await db.execute(delete(NOTES))


async def test_every_statement_is_told_once(own: Database) -> None:
    await own.ping()
    told: list[str] = []
    own.observers.append(told.append)
    async with own.write.begin() as db:
        await note_later(db, 1)
        await run_together(db, Call(COUNT, {}, counted), Call(DELETE, {"number": 1}, list))
        await note_shortly(db, 2)
        await note(db, 3)

    words = [sql.split()[0] for sql in told if "set_config" not in sql]
    assert words == ["INSERT", "SELECT", "DELETE", "INSERT", "INSERT"]


async def test_a_session_is_refused_after_its_end(own: Database) -> None:
    async with own.write.begin() as db:
        await note_shortly(db, 1)
    for way in WAYS.values():
        with pytest.raises(InvalidRequestError, match="permanently closed"):
            await way(db, 2)
    assert checked_out(own) == 0


async def test_another_session_of_a_host_goes_sqlalchemys_way(database: Database) -> None:
    if database.kind == "postgresql":
        engine = create_async_engine(database.url.set(drivername="postgresql+psycopg"), poolclass=NullPool)
        async with AsyncSession(engine) as db, db.begin():
            await in_a_hosts_session(db)
        await engine.dispose()
    else:
        async with database.write.begin() as ours, AsyncSession(await ours.connection()) as db, db.begin():
            await in_a_hosts_session(db)

    assert await noted(database) == [1, 2, 3]


async def in_a_hosts_session(db: AsyncSession) -> None:
    assert await run(db, INSERT, **WHOLE) == [tuple(WHOLE.values())]
    await note_later(db, 2)
    assert await run_together(db, Call(COUNT, {}, counted), Call(DELETE, {"number": 99}, list)) == (2, [])
    await note_shortly(db, 3)


def test_a_default_that_python_makes_is_not_left_out() -> None:
    table = Table("t", MetaData(), Column("a", Integer), Column("b", Integer, default=lambda: 1))
    statement = Statement(insert(table).values(a=bindparam("a")))
    with pytest.raises(TypeError, match="a default"):
        statement.on(create_async_engine("postgresql+psycopg://").dialect)


# --- PostgreSQL alone ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("database_kind", ["postgresql"])
async def test_prepared_statements_outlive_what_drops_them(database: Database) -> None:
    """psycopg drops the names of a connection after a rollback and after DDL, the server after `DEALLOCATE`."""
    own = Database(database.url, DatabaseOptions(pool_size=1, prepare_threshold=0))
    number = 0

    async def use(db: AsyncSession) -> None:
        nonlocal number
        for way in WAYS.values():
            number += 1
            await way(db, number)
        await run(db, COUNT)

    for statement in ("ALTER TABLE notes ADD COLUMN more int", "/* a */ DROP VIEW IF EXISTS v", "DEALLOCATE ALL"):
        for _ in range(3):
            with pytest.raises(KeyError):
                async with own.write.begin() as db:
                    await use(db)
                    raise KeyError
            async with own.write.begin() as db:
                await use(db)
                with pytest.raises(KeyError):
                    async with db.begin_nested():
                        await use(db)
                        raise KeyError
                await use(db)
        async with own.write.begin() as db:
            await use(db)
            await note_later(db, -number)
            await db.execute(text(statement))
            await use(db)
    await own.close()


_HELD = text("SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'denizen_%'")


@pytest.mark.parametrize("database_kind", ["postgresql"])
async def test_rollbacks_leave_no_statements_behind(database: Database) -> None:
    """A server keeps what nobody closes for as long as the connection lives, some kilobytes each."""
    own = Database(database.url, DatabaseOptions(pool_size=1, prepare_threshold=0))
    for _ in range(20):
        with pytest.raises(KeyError):
            async with own.write.begin() as db:
                await run(db, COUNT)
                raise KeyError
        async with own.write.begin() as db:
            await run(db, COUNT)
            await (await db.connection()).exec_driver_sql("SAVEPOINT here")
            await run(db, COUNT)
            await (await db.connection()).exec_driver_sql("ROLLBACK TO SAVEPOINT here")
            await run(db, COUNT)
            assert await db.scalar(_HELD) in {0, 1}
    await own.close()


@pytest.mark.parametrize("database_kind", ["postgresql"])
async def test_a_connection_keeps_so_many_statements_and_no_more(database: Database) -> None:
    own = Database(database.url, DatabaseOptions(pool_size=1, prepare_threshold=0))
    async with own.write.begin() as db:
        for number in range(MOST_NAMES + 20):
            await run(db, Statement(select(NOTES.c.number, literal_column(str(number)))))
        assert await db.scalar(_HELD) in range(MOST_NAMES - 1, MOST_NAMES + 2)
        assert await run(db, Statement(select(NOTES.c.number, literal_column("0")))) == []
    await own.close()
