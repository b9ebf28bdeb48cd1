"""What a database's refusals are called, alike on both."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from denizen.core.base import Base
from denizen.core.database import Database, constraint_of
from denizen.core.errors import StorageFull, Unavailable
from denizen.core.failures import meaning
from denizen.core.ids import new_id
from denizen.keys.models import Key
from denizen.users.models import User

NOW = datetime(2026, 1, 31, tzinfo=UTC)
ADA = {
    "username": "ada",
    "username_key": "ada",
    "username_skeleton": "ada",
    "email": "ada@example.org",
    "email_key": "ada@example.org",
    "external_id": "1815",
    "created_at": NOW,
    "updated_at": NOW,
    "is_active": True,
    "version": 1,
}
BOB = ADA | {
    "username": "bob",
    "username_key": "bob",
    "username_skeleton": "bob",
    "email": "bob@example.org",
    "email_key": "bob@example.org",
    "external_id": "1816",
}
NAMELESS = {"username": None, "username_key": None, "username_skeleton": None, "email": None, "email_key": None}


@pytest.mark.parametrize(
    ("values", "name"),
    [
        (BOB | {"email_key": ADA["email_key"]}, "uq_denizen_users_email_key"),
        (BOB | {"username_key": "ada"}, "uq_denizen_users_username_key"),
        (BOB | {"username_skeleton": "ada"}, "uq_denizen_users_username_skeleton"),
        (BOB | {"external_id": "1815"}, "uq_denizen_users_external_id"),
        (BOB | {"id": "same"}, "pk_denizen_users"),
        (BOB | NAMELESS, "ck_denizen_users_username_or_email"),
        (BOB | {"username_key": None}, "ck_denizen_users_username_has_key"),
        (BOB | {"username_skeleton": None}, "ck_denizen_users_username_has_skeleton"),
        (BOB | {"email_key": None}, "ck_denizen_users_email_has_key"),
    ],
)
async def test_broken_constraints_have_one_name_on_both(database: Database, values: dict[str, Any], name: str) -> None:
    ids = new_id(), new_id()
    second = values | {"id": ids[0] if values.get("id") else ids[1]}
    async with database.write.begin() as db:
        await db.execute(insert(User), ADA | {"id": ids[0]})
        with pytest.raises(IntegrityError) as broken:
            async with db.begin_nested():
                await db.execute(insert(User), second)

    assert constraint_of(broken.value, Base.metadata) == name


async def test_lengths_are_checked_by_the_database_too(database: Database) -> None:
    limits = {"email": 254, "username": 64, "full_name": 200, "external_id": 255, "hashed_password": 1024}
    for column, limit in limits.items():
        async with database.write.begin() as db:
            with pytest.raises((IntegrityError, OperationalError, Exception)) as broken:
                async with db.begin_nested():
                    await db.execute(insert(User), BOB | {"id": new_id(), column: "é" * (limit + 1)})
            if database.kind == "sqlite":
                assert isinstance(broken.value, IntegrityError)
                assert constraint_of(broken.value, Base.metadata) == f"ck_denizen_users_{column}_length"
            async with db.begin_nested() as savepoint:
                await db.execute(insert(User), BOB | {"id": new_id(), column: "é" * limit})
                await savepoint.rollback()


async def test_a_reference_to_nobody_is_refused(database: Database) -> None:
    key = {"id": new_id(), "name": "k", "hint": "dzk_", "token_digest": b"d" * 32, "scopes": [], "created_at": NOW}
    async with database.write.begin() as db:
        with pytest.raises(IntegrityError) as broken:
            async with db.begin_nested():
                await db.execute(insert(Key), key | {"user_id": new_id()})

    # SQLite does not say which; nobody is told more than that it was not stored.
    named = "fk_denizen_keys_user_id_denizen_users" if database.kind == "postgresql" else None
    assert constraint_of(broken.value, Base.metadata) == named


def on_sqlite(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("words that change from version to version")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (on_sqlite(sqlite3.SQLITE_BUSY), Unavailable),
        (on_sqlite(sqlite3.SQLITE_BUSY_SNAPSHOT), Unavailable),
        (on_sqlite(sqlite3.SQLITE_INTERRUPT), Unavailable),
        (on_sqlite(sqlite3.SQLITE_IOERR_READ), Unavailable),
        (on_sqlite(sqlite3.SQLITE_FULL), StorageFull),
        (on_sqlite(sqlite3.SQLITE_CORRUPT), Unavailable),
        (on_sqlite(sqlite3.SQLITE_NOTADB), Unavailable),
        (on_sqlite(sqlite3.SQLITE_ERROR), None),
        (sqlite3.ProgrammingError("of our own"), None),
        (psycopg.OperationalError("no answer"), Unavailable),
        (psycopg.errors.AdminShutdown("going"), Unavailable),
        (psycopg.errors.TooManyConnections("full"), Unavailable),
        (psycopg.errors.QueryCanceled("slow"), Unavailable),
        (psycopg.errors.LockNotAvailable("held"), Unavailable),
        (psycopg.errors.DeadlockDetected("crosswise"), Unavailable),
        (psycopg.errors.IdleInTransactionSessionTimeout("idle"), Unavailable),
        (psycopg.errors.IoError("disk"), Unavailable),
        (psycopg.errors.DiskFull("full"), StorageFull),
        (psycopg.errors.UniqueViolation("twice"), None),
        (psycopg.errors.SyntaxError("of our own"), None),
        (PoolTimeout("none free"), Unavailable),
        (TimeoutError("of a host, around its own work"), None),
        (KeyError("of our own"), None),
    ],
)
def test_failures_that_another_try_may_not_meet_are_told_from_those_of_the_code(
    error: Exception, kind: type[Unavailable] | None
) -> None:
    for seen in (error, OperationalError("SELECT 1", {}, error)):
        found = meaning(seen)
        assert (None if found is None else type(found)) == kind
        assert found is None or (found.retry_after or 0) >= 1
