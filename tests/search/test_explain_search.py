"""Among a hundred thousand accounts a search reads a small part of them, on the twentieth call as on the first."""

from __future__ import annotations

import re
from typing import Any

import psycopg
import pytest
from sqlalchemy import text

from denizen.core.accounts import Accounts
from denizen.directory.crud import search_statement, search_users
from denizen.search.crud import create_entries
from denizen.search.service import understand
from tests.directory.test_explain_lists import COUNT, execution, fill, numbered

RARE, COMMON, EVERYBODY, ABSENT, SHORT, TWO, NAME = "77777", "777", "example", "nobody", "7", "person 7777", "u777@exam"
ASKED = (RARE, COMMON, EVERYBODY, ABSENT, SHORT, TWO, NAME)

pytestmark = pytest.mark.slow


async def fill_with_entries(accounts: Accounts) -> None:
    """Store accounts, and the entries that they would have."""
    await fill(accounts)
    async with accounts.database.read.slow() as db:
        ids = [str(row[0]) for row in await db.execute(text("SELECT id FROM denizen_users ORDER BY id"))]
    async with accounts.writing(timeout=120) as db:
        if accounts.database.kind == "postgresql":
            await db.execute(text("SET LOCAL statement_timeout = 120000"))
        for begin in range(0, COUNT, 10_000):
            found_by = [f"  u{n}  example  org  person  {n}  crm " for n in range(begin + 1, begin + 10_001)]
            await create_entries(db, list(zip(ids[begin:], found_by, strict=False))[:10_000])


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_a_search_walks_fts5_and_indexes_on_sqlite(accounts: Accounts) -> None:
    await fill_with_entries(accounts)
    backend = await accounts.database.backend()

    for asked in ASKED:
        question = understand(asked, "sqlite")
        compiled = search_statement("sqlite", question.words, trigrams=True).on(backend.dialect)
        values = compiled.parameters(question.values | {"limit": 11})
        plan = "; ".join(row[3] for row in await backend.rows(f"EXPLAIN QUERY PLAN {compiled.sql}", values))

        assert re.search(r"SCAN i VIRTUAL TABLE INDEX 0:M", plan), plan
        assert not re.search(r"SCAN (s|denizen_\w+)\b(?! USING)", plan), plan
        rows, found = await search_users(accounts.database.read, question, limit=11)
        assert bool(rows) == (asked != ABSENT), asked
        assert found >= len(rows)


def blocks_read(plan: dict[str, Any]) -> int:
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def scanned(plan: dict[str, Any]) -> set[str]:
    """The tables that are read from their beginning."""
    here = {str(plan["Relation Name"])} if plan["Node Type"] == "Seq Scan" else set()
    return here.union(*(scanned(part) for part in plan.get("Plans", ())))


@pytest.mark.parametrize("database_kind", ["postgresql"])
async def test_a_search_reads_little_on_postgresql(accounts: Accounts, database_url: str) -> None:
    await fill_with_entries(accounts)
    dialect = (await accounts.database.backend()).dialect

    with psycopg.connect(database_url, autocommit=True, prepare_threshold=None) as db:
        db.execute("VACUUM ANALYZE denizen_users, denizen_search")
        [(pages,)] = db.execute("SELECT pg_relation_size('denizen_search') / 8192").fetchall()
        for asked in ASKED:
            question = understand(asked, "postgresql")
            compiled = search_statement("postgresql", question.words, trigrams=True).on(dialect)
            given = compiled.parameters(question.values | {"limit": 11})
            with psycopg.ClientCursor(db) as cursor:
                cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {compiled.sql}".encode(), given)
                [(explained,)] = cursor.fetchall()
            plan = explained[0]["Plan"]

            # What everybody has is found fastest by reading until there are enough.
            assert scanned(plan) <= ({"denizen_search"} if asked in {EVERYBODY, SHORT} else set()), (asked, plan)
            # For each of at most a thousand who are ranked, the page of the entry, of the account and of two indexes.
            assert blocks_read(plan) < pages + 8_000, (asked, plan)
            if asked in {RARE, ABSENT, TWO, NAME}:
                assert blocks_read(plan) < 400, (asked, plan)


@pytest.mark.parametrize("database_kind", ["postgresql"])
async def test_the_twentieth_search_of_a_connection_is_planned_for_its_words_still(accounts: Accounts) -> None:
    """A plan for any words at all would be one for common words, under which rare ones are looked for in every row."""
    await fill_with_entries(accounts)
    backend = await accounts.database.backend()
    reads = accounts.database.read

    for asked in (EVERYBODY, RARE):
        question = understand(asked, "postgresql")
        for _ in range(20):
            rows, _ = await search_users(reads, question, limit=11)
            assert rows
        compiled = search_statement("postgresql", question.words, trigrams=True).on(backend.dialect)
        kept = await backend.rows(
            "SELECT name FROM pg_prepared_statements WHERE statement = %(text)s", {"text": numbered(compiled)[0]}
        )
        assert kept == [], execution("it", compiled, question.values | {"limit": 11})
