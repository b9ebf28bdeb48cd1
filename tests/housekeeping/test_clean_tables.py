"""Every table that grows by itself is kept small by somebody, who finds what is old by an index, on both databases."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
from sqlalchemy import Connection, event
from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.accounts import Accounts
from denizen.core.assembly import assemble
from denizen.core.base import Base
from denizen.core.feature import Cleaner
from denizen.core.hashers import NullHasher
from denizen.features import FEATURES
from denizen.migrations import models
from denizen.settings import Settings

CLEANED: Final = {
    "denizen_idempotency": "kept answers",
    "denizen_jobs": "old jobs",
    "denizen_keys": "ended keys",
    "denizen_mails": "old mails",
    "denizen_one_time_tokens": "expired links and codes",
    "denizen_audit": "old entries of the audit",
    "denizen_invitations": "old invitations",
    "denizen_limits": "expired limits",
    "denizen_sessions": "expired sign-ins",
    "denizen_signing_keys": "withdrawn signing keys",
}
"""Tables that grow, and who empties them. Whoever adds a table to one of these adds a line."""

WITH_OTHERS: Final = {
    "denizen_job_parts": "denizen_jobs",
    "denizen_audit_details": "denizen_audit",
    "denizen_refresh_tokens": "denizen_sessions",
}
"""Tables whose rows go with those of another."""

STAY: Final = {
    "denizen_users": "people are deleted by people",
    "denizen_roles": "a handful",
    "denizen_user_roles": "as many as people have",
    "denizen_profile_values": "as many as people have",
    "denizen_schema": "one row",
    "denizen_leases": "one row a kind of work",
}

SMALL: Final = {"withdrawn signing keys"}
"""Cleaners of tables with a handful of rows, in which there is nothing to find by an index."""

CLEANERS: Final = {cleaner.name: cleaner for feature in FEATURES for cleaner in feature.cleaners}


def tables() -> set[str]:
    """Those of the rooms."""
    assert models.__name__
    return {name for name in Base.metadata.tables if name.startswith("denizen_") and "search" not in name}


def test_every_table_that_grows_has_a_cleaner() -> None:
    for table, cleaner in CLEANED.items():
        assert cleaner in CLEANERS, f"nobody empties {table}"
    for table, other in WITH_OTHERS.items():
        assert other in CLEANED
        assert any(key.ondelete == "CASCADE" for key in Base.metadata.tables[table].foreign_keys), table


def test_no_table_was_forgotten() -> None:
    missing = tables() - CLEANED.keys() - WITH_OTHERS.keys() - STAY.keys()
    assert missing == set(), "does it grow? Then who empties it?"


@pytest.fixture
async def accounts(settings: Settings) -> AsyncIterator[Accounts]:
    accounts = assemble(settings, FEATURES, hasher=NullHasher())
    yield accounts
    await accounts.close()


@pytest.mark.parametrize("cleaner", CLEANERS.values(), ids=CLEANERS)
async def test_what_is_old_is_found_by_an_index(accounts: Accounts, cleaner: Cleaner) -> None:
    async with accounts.writing() as db:
        ran = await statements_of(accounts, db, cleaner)
        plans = [await plan_of(db, accounts.database.kind, *each) for each in ran]

    assert ran, "it asked nothing"
    for (statement, _), plan in zip(ran, plans, strict=True) if cleaner.name not in SMALL else ():
        for line in plan:
            assert not re.match(r"SCAN denizen_\w+$", line), (statement, plan)
            assert "Seq Scan on denizen_" not in line, (statement, plan)


async def statements_of(accounts: Accounts, db: AsyncSession, cleaner: Cleaner) -> list[tuple[str, Any]]:
    """Give what a cleaner asks for, with its values."""
    ran: list[tuple[str, Any]] = []
    connection = (await db.connection()).sync_connection
    assert isinstance(connection, Connection)

    def note(_: Any, cursor: Any, statement: str, parameters: Any, *others: Any) -> None:
        ran.append((statement, parameters))

    event.listen(connection, "before_cursor_execute", note)
    try:
        assert await cleaner.run(accounts, db, accounts.clock(), 1000) == 0
    finally:
        event.remove(connection, "before_cursor_execute", note)
    return ran


async def plan_of(db: AsyncSession, kind: str, statement: str, parameters: Any) -> list[str]:
    """Give the plan of a statement, as one for a large table would be: nobody reads an empty one by an index."""
    connection = await db.connection()
    if kind == "sqlite":
        rows = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        return [str(list(row)[3]) for row in rows]
    await connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
    return [str(row[0]) for row in await connection.exec_driver_sql(f"EXPLAIN {statement}", parameters)]
