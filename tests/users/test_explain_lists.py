"""Among a hundred thousand accounts every list and every look-up walks an index, with the plan that is kept as well."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import psycopg
from sqlalchemy import text

from denizen.core.accounts import Accounts
from denizen.core.ids import new_id
from denizen.core.statements import Compiled, Statement
from denizen.keys.crud import _OPEN
from denizen.users.crud import _BY_ID, Shape, page_query
from denizen.users.schemas import UserQuery
from denizen.users.service import plan_listing

COUNT = 100_000
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)

# Half have no username, every fifty-first no address, every hundredth is not active.
FILL = """
    INSERT INTO denizen_users
        (id, username, username_key, username_skeleton, email, email_key, external_id, is_active, version, created_at,
        updated_at)
    SELECT {id}, name, name, name, mail, mail, 'crm-' || i, i % 100 <> 0, 1, {at}, {at}
    FROM (
        SELECT i, CASE WHEN i % 2 <> 0 THEN 'u' || i END AS name,
            CASE WHEN i % 51 <> 0 OR i % 2 = 0 THEN 'u' || i || '@example.org' END AS mail
        FROM {numbers}
    ) AS people
"""
ON = {
    "sqlite": {
        "id": "printf('019a5c1e-7f00-7a11-8b22-%012x', i)",
        "at": "printf('2026-01-%02dT%02d:%02d:%02d.000000Z', 1 + i % 28, i / 28 % 24, i / 672 % 60, i % 60)",
        "numbers": f"(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT {COUNT}) SELECT i FROM n)",
    },
    "postgresql": {
        "id": "('019a5c1e-7f00-7a11-8b22-' || lpad(to_hex(i), 12, '0'))::uuid",
        "at": "timestamptz '2026-01-01 00:00:00Z' + i * interval '26 seconds'",
        "numbers": f"generate_series(1, {COUNT}) AS i",
    },
}

BOUNDS = ("gte", "gt", "lte", "lt")
LISTS: list[dict[str, Any]] = [
    *({"order_by": order} for order in ("id", "created_at", "updated_at", "username", "email")),
    *({"order_by": "id", "is_active": state} for state in (True, False)),
    *({"order_by": field, f"{field}__{bound}": NOON} for field in ("created_at", "updated_at") for bound in BOUNDS),
    {"order_by": "created_at", "created_at__gte": NOON, "created_at__lt": NOON},
    *(
        {"order_by": order, **unique}
        for order in ("id", "created_at", "username")
        for unique in ({"email": "u7@example.org"}, {"username": "u7", "is_active": True}, {"external_id": "crm-7"})
    ),
]


def statements() -> Iterator[tuple[str, Statement, Mapping[str, Any]]]:
    """All that is served: its name, the statement, and values for its parameters."""
    yield "one account", _BY_ID, {"id": new_id()}
    yield "one key", _OPEN, {"token_digest": b"x" * 32, "at": NOON}
    behind: dict[str, tuple[Any, ...]] = {"id": (new_id(),), "username": ("u7",), "email": ("u7@example.org",)}
    for asked in LISTS:
        for sign in ("", "-"):
            listing = plan_listing(UserQuery.model_validate(asked | {"order_by": sign + asked["order_by"]}))
            named = listing.order in {"username", "email"}
            for leg in ("named", "nameless") if named else ("whole",):
                place = (new_id(),) if leg == "nameless" else behind.get(listing.order, (NOON, new_id()))
                for after in (False, True):
                    shape = Shape(listing.order, listing.descending, leg, after, listing.conditions)
                    values = dict(listing.values) | {f"after_{n}": value for n, value in enumerate(place) if after}
                    yield f"{listing.name} {leg} {after}", Statement(page_query(shape)), values | {"limit": 11}


async def fill(accounts: Accounts) -> None:
    kind = accounts.database.kind
    async with accounts.writing(timeout=120) as db:
        if kind == "postgresql":
            await db.execute(text("SET LOCAL statement_timeout = 120000"))
        await db.execute(text(FILL.format(**ON[kind])))
        await db.execute(text("ANALYZE denizen_users"))


def plan_on_postgresql(db: psycopg.Connection[Any], compiled: Compiled, values: Mapping[str, Any]) -> str:
    """The plan that PostgreSQL keeps for a prepared statement, whatever its parameters."""
    names = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", compiled.sql)))
    numbered = re.sub(r"%\((\w+)\)s", lambda found: f"${names.index(found[1]) + 1}", compiled.sql)
    given = compiled.parameters(values)
    with psycopg.ClientCursor(db) as cursor:
        cursor.execute("DEALLOCATE ALL")
        cursor.execute(f"PREPARE listed AS {numbered}".encode())
        holes = ", ".join(["%s"] * len(names))
        cursor.execute(f"EXPLAIN EXECUTE listed ({holes})".encode(), [given[name] for name in names])
        return "\n".join(row[0] for row in cursor.fetchall())


async def test_every_list_and_look_up_walks_an_index(accounts: Accounts, database_url: str) -> None:
    await fill(accounts)
    bad = []

    backend = await accounts.database.backend()
    if accounts.database.kind == "sqlite":
        for name, statement, values in statements():
            compiled = statement.on(backend.dialect)
            rows = await backend.rows(f"EXPLAIN QUERY PLAN {compiled.sql}", compiled.parameters(values))
            plan = "; ".join(row[3] for row in rows)
            if re.search(r"SCAN \w+\b(?! USING)", plan) or "TEMP B-TREE" in plan:
                bad.append((name, plan))
    else:
        with psycopg.connect(database_url, autocommit=True) as db:
            for mode in ("force_generic_plan", "force_custom_plan"):
                db.execute(f"SET plan_cache_mode = {mode}".encode())
                for name, statement, values in statements():
                    plan = plan_on_postgresql(db, statement.on(backend.dialect), values)
                    if "Seq Scan" in plan or ("Sort" in plan and "uq_denizen_users" not in plan):
                        bad.append((f"{mode} {name}", plan))

    assert bad == []
