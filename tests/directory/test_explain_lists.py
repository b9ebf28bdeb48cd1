"""Among a hundred thousand accounts and keys every list, count and look-up walks an index, with the kept plan as well.

PostgreSQL plans a prepared statement five times for the values at hand, then judges whether to keep one plan for all
values. Both kinds are looked at, and so is what a connection has settled on after a dozen runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import Select, text

from denizen.core.accounts import Accounts
from denizen.core.ids import new_id
from denizen.core.profile_sources import profile_of_schema
from denizen.core.statements import Compiled, Statement
from denizen.directory.crud import Kind, Shape, count_query, count_users, near_query, page_query
from denizen.directory.schemas import MAX_IDS, UserQuery
from denizen.directory.service import Listing, plan_listing
from denizen.keys.crud import _BY_ID as _KEY_BY_ID
from denizen.keys.crud import _OPEN, _PAGES
from denizen.users.crud import _BY_ID

COUNT = 100_000
NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
PROFILE = profile_of_schema(
    {"properties": {"department": {"type": "string"}, "badge": {"type": "integer"}, "newsletter": {"type": "boolean"}}}
)
HASH = f"$argon2id$v=19$m=19456,t=2,p=1${'x' * 22}${'y' * 43}"

# A tenth is in each department, and everybody has a badge of his own.
# Half have no username, every fifty-first no address; every hundredth is not active, and another one deleted.
FILL = (
    f"""
    INSERT INTO denizen_users
        (id, profile, username, username_key, username_skeleton, email, email_key, external_id, is_active, version,
        created_at, updated_at, full_name, hashed_password, deleted_at, erase_at)
    SELECT {{id}}, {{profile}}, name, name, name, mail, mail, 'crm-' || i, i % 100 <> 0, 1, {{at}}, {{at}},
        'Person ' || i, '{HASH}', CASE WHEN i % 100 = 50 THEN {{at}} END, CASE WHEN i % 100 = 50 THEN {{at}} END
    FROM (
        SELECT i, CASE WHEN i % 2 <> 0 THEN 'u' || i END AS name,
            CASE WHEN i % 51 <> 0 OR i % 2 = 0 THEN 'u' || i || '@example.org' END AS mail
        FROM {{numbers}}
    ) AS people
    """,
    """
    INSERT INTO denizen_keys (id, name, hint, token_digest, scopes, created_at)
    SELECT {id}, 'nightly import', 'dzk_mJ4x', {digest}, '["users:read"]', {at} FROM {numbers}
    """,
)
ON = {
    "sqlite": {
        "id": "printf('019a5c1e-7f00-7a11-8b22-%012x', i)",
        "at": "printf('2026-01-%02dT%02d:%02d:%02d.000000Z', 1 + i % 28, i / 28 % 24, i / 672 % 60, i % 60)",
        "profile": "json_object('department', 'd' || (i % 10), 'badge', i, 'newsletter', json('true'))",
        "numbers": f"(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT {COUNT}) SELECT i FROM n)",
        "digest": "randomblob(32)",
    },
    "postgresql": {
        "id": "('019a5c1e-7f00-7a11-8b22-' || lpad(to_hex(i), 12, '0'))::uuid",
        "at": "timestamptz '2026-01-01 00:00:00Z' + i * interval '26 seconds'",
        "profile": "jsonb_build_object('department', 'd' || (i % 10), 'badge', i, 'newsletter', true)",
        "numbers": f"generate_series(1, {COUNT}) AS i",
        "digest": "sha256(i::text::bytea)",
    },
}

# On SQLite the values are stored beside it, as they are compared.
VALUES = """
    INSERT INTO denizen_profile_values (name, value, user_id)
    SELECT f.key, iif(f.type = 'text', json_quote(f.value), iif(f.type = 'integer', f.atom, f.type)), u.id
    FROM denizen_users AS u, json_each(u.profile) AS f
"""

BOUNDS = ("gte", "gt", "lte", "lt")
STATES: list[dict[str, Any]] = [{"is_active": state} for state in (True, False)]
COMMON = {"profile.department": "d7"}
RARE = {"profile.badge": "77777"}
OWN: list[dict[str, Any]] = [COMMON, RARE, {**COMMON, **RARE}, {**COMMON, "is_active": True}]
UNIQUE: list[dict[str, Any]] = [
    {"email": "u7@example.org"},
    {"username": "u7", "is_active": True},
    {"external_id": "crm-7"},
]
RANGES: list[dict[str, Any]] = [
    *({f"{field}__{bound}": NOON} for field in ("created_at", "updated_at") for bound in BOUNDS),
    {"created_at__gte": NOON, "created_at__lt": NOON},
    {"updated_at__gt": NOON, "updated_at__lte": NOON},
]
LISTS: list[dict[str, Any]] = [
    *({"order_by": order} for order in ("id", "created_at", "updated_at", "username", "email")),
    *({"order_by": "id", **state} for state in (*STATES, *OWN)),
    *({"order_by": next(iter(bounds)).partition("__")[0], **bounds} for bounds in RANGES),
    *({"order_by": order, **unique} for order in ("id", "created_at", "username") for unique in UNIQUE),
    *({"order_by": order, **UNIQUE[0], **COMMON} for order in ("id", "updated_at", "email")),
]
IDS = [UUID(f"019a5c1e-7f00-7a11-8b22-{200 * n + 1:012x}") for n in range(MAX_IDS)]

Explained = Iterator[tuple[str, Statement, Mapping[str, Any]]]
"""A name, the statement, and values for its parameters."""


def planned(asked: Mapping[str, Any]) -> Listing:
    return plan_listing(UserQuery.model_validate(asked), PROFILE)


def statements(kind: Kind) -> Explained:
    """All that the hot path serves."""
    yield "one account", _BY_ID, {"id": new_id()}
    yield "who calls", _OPEN, {"token_digest": b"x" * 32, "at": NOON}
    yield "one key", _KEY_BY_ID, {"id": new_id()}
    yield "keys", _PAGES[False, False], {"limit": 11}
    yield "keys further on", _PAGES[False, True], {"limit": 11, "after": new_id()}
    yield "keys of one person", _PAGES[True, False], {"limit": 11, "user_id": new_id()}
    yield "keys of one person further on", _PAGES[True, True], {"limit": 11, "user_id": new_id(), "after": new_id()}
    behind: dict[str, tuple[Any, ...]] = {"id": (new_id(),), "username": ("u7",), "email": ("u7@example.org",)}
    for asked in LISTS:
        for sign in ("", "-"):
            listing = planned(asked | {"order_by": sign + asked["order_by"]})
            named = listing.order in {"username", "email"}
            for leg in ("named", "nameless") if named else ("whole",):
                place = (new_id(),) if leg == "nameless" else behind.get(listing.order, (NOON, new_id()))
                for after in (False, True):
                    shape = Shape(listing.order, listing.descending, leg, after, listing.conditions)
                    values = dict(listing.values) | {f"after_{n}": value for n, value in enumerate(place) if after}
                    if kind == "postgresql" and shape.by_own_fields:
                        yield (
                            f"near {listing.name} {after}",
                            Statement(near_query(shape)),
                            values | {"limit": 11, "near": 220},
                        )
                    yield f"{listing.name} {leg} {after}", Statement(page_query(shape, kind)), values | {"limit": 11}


def counts(kind: Kind) -> Explained:
    """Counts under every filter."""
    for asked in (*STATES, *OWN, *UNIQUE, *RANGES):
        listing = planned(asked)
        yield (
            f"count {listing.name}",
            Statement(count_query(Shape(conditions=listing.conditions), kind)),
            listing.values,
        )


def lists_of_ids(kind: Kind) -> Iterator[tuple[str, Select[Any]]]:
    """Lists and counts of given ids, with their values in them: how many there are is in their text."""
    own = OWN if kind == "sqlite" else []  # SQLAlchemy cannot write `jsonb` into a text
    for beside in ({}, *STATES, *own, *UNIQUE, *RANGES):
        for order in ("id", "-created_at", "updated_at", "username"):
            listing = planned({"id__in": ",".join(map(str, IDS)), "order_by": order, **beside})
            shape = Shape(
                listing.order,
                listing.descending,
                "named" if order == "username" else "whole",
                False,
                listing.conditions,
            )
            name = f"ids {order} {beside}"
            yield name, page_query(shape, kind).params(**listing.values, limit=11)
            yield f"count {name}", count_query(Shape(conditions=listing.conditions), kind).params(**listing.values)


async def fill(accounts: Accounts) -> None:
    kind = accounts.database.kind
    async with accounts.writing(timeout=120) as db:
        if kind == "postgresql":
            await db.execute(text("SET LOCAL statement_timeout = 120000"))
            # What is not known to be on the disk yet, VACUUM does not mark as visible to all.
            await db.execute(text("SET LOCAL synchronous_commit = on"))
            # Rows would go where those of other tests were deleted, and the planner heeds that they are out of order.
            await db.execute(text("TRUNCATE denizen_users CASCADE"))
        for each in FILL:
            await db.execute(text(each.format(**ON[kind]).replace(":", r"\:")))
        if kind == "sqlite":
            await db.execute(text(VALUES))
            await db.execute(text("ANALYZE"))


@pytest.mark.slow
@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_everything_walks_an_index_on_sqlite(accounts: Accounts) -> None:
    await fill(accounts)
    backend = await accounts.database.backend()
    bad = []

    async def explain(name: str, query: str, parameters: Any, *, may_sort: bool) -> None:
        plan = "; ".join(row[3] for row in await backend.rows(f"EXPLAIN QUERY PLAN {query}", parameters))
        if re.search(r"SCAN (?!hidden\b|wanted\b|CONSTANT ROW)\w+\b(?! USING)", plan) or (
            "TEMP B-TREE" in plan and not may_sort
        ):
            bad.append((name, plan))

    for name, statement, values in (*statements("sqlite"), *counts("sqlite")):
        compiled = statement.on(backend.dialect)
        await explain(name, compiled.sql, compiled.parameters(values), may_sort=False)
    for name, query in lists_of_ids("sqlite"):
        literal = query.compile(dialect=backend.dialect, compile_kwargs={"literal_binds": True})
        await explain(name, str(literal), (), may_sort=True)  # five hundred rows

    assert bad == []


@pytest.mark.slow
@pytest.mark.parametrize("database_kind", ["postgresql"])
async def test_everything_walks_an_index_on_postgresql(accounts: Accounts, database_url: str) -> None:
    await fill(accounts)
    dialect = (await accounts.database.backend()).dialect
    bad = []

    with psycopg.connect(database_url, autocommit=True, prepare_threshold=None) as db:
        db.execute("VACUUM ANALYZE denizen_users, denizen_keys")  # as its own does, of which counts live
        for mode, explained in (
            ("force_generic_plan", statements("postgresql")),
            ("force_custom_plan", statements("postgresql")),
            ("force_custom_plan", counts("postgresql")),
        ):
            db.execute(f"SET plan_cache_mode = {mode}".encode())
            for name, statement, values in explained:
                plan = plan_of(db, statement.on(dialect), values)
                if not is_indexed(plan):
                    bad.append((f"{mode} {name}", plan))
        for name, query in lists_of_ids("postgresql"):
            literal = query.compile(dialect=dialect, compile_kwargs={"literal_binds": True})
            plan = "\n".join(row[0] for row in psycopg.ClientCursor(db).execute(f"EXPLAIN {literal}".encode()))
            if "Seq Scan" in plan:
                bad.append((name, plan))

    assert bad == []


def is_indexed(plan: str) -> bool:
    """Whether it walks an index in the order wanted, or finds by one those whom it sorts."""
    found = ("uq_denizen_users", "ix_denizen_users_profile", "Index Cond: (id")
    return "Seq Scan" not in plan and ("Sort" not in plan or any(index in plan for index in found))


def numbered(compiled: Compiled) -> tuple[str, list[str]]:
    """A statement as PostgreSQL knows it, and the names of its parameters in their order."""
    names = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", compiled.sql)))
    return re.sub(r"%\((\w+)\)s", lambda found: f"${names.index(found[1]) + 1}", compiled.sql), names


def execution(name: str, compiled: Compiled, values: Mapping[str, Any]) -> str:
    """The text that runs a prepared statement."""
    given = compiled.parameters(values)
    literals = ", ".join(sql.Literal(given[each]).as_string(None) for each in numbered(compiled)[1])
    return f"EXECUTE {name} ({literals})"


def plan_of(db: psycopg.Connection[Any], compiled: Compiled, values: Mapping[str, Any]) -> str:
    """The plan of a prepared statement, in the mode that is set."""
    with psycopg.ClientCursor(db) as cursor:
        cursor.execute("DEALLOCATE ALL")
        cursor.execute(f"PREPARE listed AS {numbered(compiled)[0]}".encode())
        cursor.execute(f"EXPLAIN {execution('listed', compiled, values)}".encode())
        return "\n".join(row[0] for row in cursor.fetchall())


_PREPARED = "SELECT name, generic_plans + custom_plans FROM pg_prepared_statements WHERE statement = %(text)s"


@pytest.mark.slow
@pytest.mark.parametrize("database_kind", ["postgresql"])
async def test_connection_that_has_run_everything_often_walks_an_index_still(
    accounts: Accounts, database_url: str
) -> None:
    await fill(accounts)
    with psycopg.connect(database_url, autocommit=True) as db:
        db.execute("VACUUM ANALYZE denizen_users, denizen_keys")
    backend = await accounts.database.backend()
    bad = []

    for name, statement, values in statements("postgresql"):
        compiled = statement.on(backend.dialect)
        for _ in range(14):
            await accounts.database.read.rows(statement, **values)
        [(prepared, plans)] = await backend.rows(_PREPARED, {"text": numbered(compiled)[0]})
        assert plans >= 9, name  # the same connection, which prepares at the sixth
        explained = await backend.rows(f"EXPLAIN {execution(prepared, compiled, values)}", None)
        plan = "\n".join(row[0] for row in explained)
        if not is_indexed(plan):
            bad.append((name, plan))

    assert bad == []


@pytest.mark.parametrize("database_kind", ["postgresql"])
async def test_count_is_planned_for_its_own_range_however_many_ran_before(accounts: Accounts) -> None:
    """A plan for all ranges is one for a third of the table: it would read all of it for the three of this minute."""
    wide, reads = planned({"created_at__gte": datetime(2000, 1, 1, tzinfo=UTC)}), accounts.database.read

    for _ in range(14):
        await count_users(reads, Shape(conditions=wide.conditions), wide.values, exact=True)

    async with reads.slow() as db:  # the same connection again
        kept = await db.execute(text("SELECT statement, generic_plans FROM pg_prepared_statements"))
        assert [statement for statement, plans in kept if "count(" in statement and plans] == []
