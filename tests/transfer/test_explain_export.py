"""Among a hundred thousand accounts every part of an export walks an index: the first, those behind it and the last."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args

import psycopg
import pytest
from sqlalchemy.engine import Dialect

from denizen.core.accounts import Accounts
from denizen.core.ids import new_id
from denizen.core.statements import Statement
from denizen.directory.schemas import UserFilter
from denizen.transfer.adapters.sql import Kind
from denizen.transfer.crud import bound_query, part_query
from denizen.transfer.schemas import Format
from denizen.transfer.service import EXPORT_BATCH, plan_export
from tests.directory.test_explain_lists import IDS, NOON, RANGES, STATES, UNIQUE, fill, plan_of

LAST_ID = IDS[-1]
ALLOWED: list[dict[str, Any]] = [{}, *STATES, *UNIQUE, *RANGES, *({**unique, **RANGES[0]} for unique in UNIQUE)]


def statements(kind: Kind) -> Iterator[tuple[str, Statement, Mapping[str, Any]]]:
    """All that an export runs, under every filter that it takes."""
    for asked in ALLOWED:
        for form in get_args(Format):
            extract = plan_export(UserFilter.model_validate(asked), form, with_hashes=True)
            listing = extract.listing
            begin = (IDS[len(IDS) // 2],) if listing.order == "id" else (NOON, new_id())
            end = (LAST_ID,) if listing.order == "id" else (NOON.replace(day=16), new_id())
            behind = {f"after_{place}": value for place, value in enumerate(begin)}
            until = {f"upto_{place}": value for place, value in enumerate(end)}
            for after in ({}, behind):
                name = f"{listing.name} {form} {bool(after)}"
                values = {**listing.values, **after}
                bound = Statement(bound_query(listing, kind, after=bool(after)))
                yield f"{name} bound", bound, {**values, "size": EXPORT_BATCH}
                for upto in ({}, until):
                    part = Statement(part_query(extract, kind, after=bool(after), upto=bool(upto)))
                    yield f"{name} {'ends' if upto else 'goes on'}", part, {**values, **upto, "limit": 5 * EXPORT_BATCH}


def given_ids(kind: Kind, dialect: Dialect) -> Iterator[tuple[str, str]]:
    """Exports of given ids, with their values in them: how many there are is in their text."""
    for beside in ({}, *STATES, *UNIQUE, *RANGES):
        asked = UserFilter.model_validate({"id__in": ",".join(map(str, IDS)), **beside})
        extract = plan_export(asked, "csv", with_hashes=False)
        query = part_query(extract, kind, after=False, upto=False).params(**extract.listing.values, limit=EXPORT_BATCH)
        yield f"ids {beside}", str(query.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))


@pytest.mark.slow
@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_every_part_walks_an_index_on_sqlite(accounts: Accounts) -> None:
    await fill(accounts)
    backend = await accounts.database.backend()
    bad = []

    for name, statement, values in statements("sqlite"):
        compiled = statement.on(backend.dialect)
        rows = await backend.rows(f"EXPLAIN QUERY PLAN {compiled.sql}", compiled.parameters(values))
        plan = "; ".join(row[3] for row in rows)
        # What is scanned beside an index is the part itself, which the lines are made of.
        if re.search(r"SCAN (?!u\b|lines\b|\(?subquery)\w+\b(?! USING)", plan, re.IGNORECASE) or "TEMP B-TREE" in plan:
            bad.append((name, plan))
    for name, sql in given_ids("sqlite", backend.dialect):
        plan = "; ".join(row[3] for row in await backend.rows(f"EXPLAIN QUERY PLAN {sql}", ()))
        if "SCAN denizen_users" in plan and "USING" not in plan:
            bad.append((name, plan))

    assert bad == [], bad[0][1]


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("database_kind", ["postgresql"])
async def test_every_part_walks_an_index_on_postgresql(accounts: Accounts, database_url: str) -> None:
    await fill(accounts)
    dialect = (await accounts.database.backend()).dialect
    bad = []

    with psycopg.connect(database_url, autocommit=True, prepare_threshold=None) as db:
        db.execute("VACUUM ANALYZE denizen_users")
        for mode in ("force_generic_plan", "force_custom_plan"):
            db.execute(f"SET plan_cache_mode = {mode}".encode())
            for name, statement, values in statements("postgresql"):
                plan = plan_of(db, statement.on(dialect), values)
                # The few that a unique index finds may be sorted, and so may one part that has an end.
                may_sort = "uq_denizen_users" in plan or (name.endswith("ends") and "Bitmap Index Scan" in plan)
                if "Seq Scan" in plan or ("Sort" in plan and not may_sort):
                    bad.append((f"{mode} {name}", plan))
        for name, sql in given_ids("postgresql", dialect):
            plan = "\n".join(row[0] for row in psycopg.ClientCursor(db).execute(f"EXPLAIN {sql}".encode()))
            if "Seq Scan" in plan:
                bad.append((name, plan))

    assert bad == [], bad[0][1]
