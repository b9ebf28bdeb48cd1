"""The SQL of bulk work: whole batches in one statement each.

A batch travels as one JSON text, and what it gives comes back as one, on both databases. On SQLite that makes a batch
one step of one statement, during which Python is free for the next batch; row by row the two would wait for each
other's hold on the interpreter. On PostgreSQL it costs what COPY into a staging table and from there costs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import String, cast, func, select, text, type_coerce
from sqlalchemy.ext.asyncio import AsyncSession

from denizen.search import crud as search
from denizen.transfer.schemas import EXPORTED, STORED, Account
from denizen.users.crud import TAKEN
from denizen.users.models import User

KINDS: Final = tuple(TAKEN)
"""The columns that two accounts cannot share, in the order in which a clash is told."""

Taken = Mapping[str, Mapping[str, str]]
"""By column: who (an id) holds which value."""

_TYPES: Final = {
    "id": "uuid",
    "is_active": "boolean",
    "created_at": "timestamptz",
    "updated_at": "timestamptz",
    "version": "integer",
}
_NAMES: Final = ", ".join(STORED)
_ON_SQLITE: Final = ", ".join(f"json_extract(value, '$[{index}]')" for index in range(len(STORED)))
_ON_POSTGRESQL: Final = ", ".join(
    f"CAST(row ->> {index} AS {_TYPES.get(name, 'text')})" for index, name in enumerate(STORED)
)
_encode: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

_INSERT: Final = {  # made of names that stand in this file
    "sqlite": text(
        f"INSERT INTO denizen_users ({_NAMES}) SELECT {_ON_SQLITE} "  # noqa: S608  (names of this file)
        "FROM json_each(:rows) WHERE true ON CONFLICT DO NOTHING"
    ),
    "postgresql": text(
        f"WITH landed AS (INSERT INTO denizen_users ({_NAMES}) SELECT {_ON_POSTGRESQL} "  # noqa: S608  (as above)
        "FROM jsonb_array_elements(CAST(:rows AS jsonb)) AS row ON CONFLICT DO NOTHING RETURNING id) "
        "SELECT CAST(json_agg(id) AS text) FROM landed"
    ),
}
_ROOM_FOR_A_BATCH: Final = text("PRAGMA cache_size = -16000")
"""16 MB instead of 2: a batch touches pages all over nine indexes, and what does not fit is written twice."""

_LAST_ROW: Final = text("SELECT coalesce(max(rowid), 0) FROM denizen_users")
_ROWS_BEHIND: Final = text("SELECT json_group_array(id) FROM denizen_users WHERE rowid > :last")


async def insert_accounts(db: AsyncSession, accounts: Sequence[Account]) -> set[str]:
    """Store what can be stored, in order, and index it for searching; the unique indexes decide.

    Args:
        db: a writing session; it is not committed.
        accounts: no two with the same id.

    Returns:
        The ids of those that were stored.
    """
    stored = await _insert(db, accounts)
    await search.create_entries(db, [(account.id, account.found_by) for account in accounts if account.id in stored])
    return stored


async def _insert(db: AsyncSession, accounts: Sequence[Account]) -> set[str]:
    dialect = (await db.connection()).dialect.name
    rows = _encode([account[: len(STORED)] for account in accounts])
    if dialect == "postgresql":
        return set(json.loads((await db.execute(_INSERT[dialect], {"rows": rows})).scalar_one() or "[]"))
    await db.execute(_ROOM_FOR_A_BATCH)
    last = (await db.execute(_LAST_ROW)).scalar_one()
    stored = await db.execute(_INSERT[dialect], {"rows": rows})
    if stored.rowcount == len(accounts):  # type: ignore[attr-defined]  # a CursorResult, declared as Result
        return {account.id for account in accounts}
    # What this transaction stored has the highest row numbers, since nobody else writes meanwhile.
    return set(json.loads((await db.execute(_ROWS_BEHIND, {"last": last})).scalar_one()))


_HOLDERS_ON: Final = {
    "sqlite": """
        SELECT json_group_array(json_array(u.{column}, u.id))
        FROM json_each(:wanted) AS w CROSS JOIN denizen_users AS u ON u.{column} = w.value
    """,
    "postgresql": """
        SELECT CAST(json_agg(json_build_array(u.{column}, u.id)) AS text) FROM denizen_users AS u
        WHERE u.{column} IN (SELECT CAST(jsonb_array_elements_text(CAST(:wanted AS jsonb)) AS {type}))
    """,
}
_HOLDERS: Final = {
    (dialect, column): text(pattern.format(column=column, type=_TYPES.get(column, "text")))
    for dialect, pattern in _HOLDERS_ON.items()
    for column in KINDS
}


async def find_taken(db: AsyncSession, accounts: Iterable[Account]) -> dict[str, dict[str, str]]:
    """Return who holds what `accounts` ask for, as it is now."""
    dialect = (await db.connection()).dialect.name
    asked = list(accounts)
    taken: dict[str, dict[str, str]] = {}
    for column in KINDS:
        place = Account._fields.index(column)
        wanted = [value for account in asked if (value := account[place]) is not None]
        found = "[]"
        if wanted:
            answer = await db.execute(_HOLDERS[dialect, column], {"wanted": _encode(wanted)})
            found = answer.scalar_one() or "[]"
        taken[column] = dict(json.loads(found))
    return taken


_READ: Final = {
    "sqlite": "SELECT json_group_array(json_array({values})) "
    "FROM json_each(:ids) AS w CROSS JOIN denizen_users AS u ON u.id = w.value",
    "postgresql": "SELECT CAST(json_agg(json_build_array({values})) AS text) FROM (SELECT * FROM denizen_users "
    "WHERE id IN (SELECT CAST(jsonb_array_elements_text(CAST(:ids AS jsonb)) AS uuid)) ORDER BY id {lock}) AS u",
}
_VALUES: Final = ", ".join(f"u.{name}" for name in STORED)


async def read_accounts(db: AsyncSession, ids: Sequence[str], *, lock: bool) -> dict[str, Account]:
    """Return accounts by their ids.

    Args:
        db: any session.
        ids: of the accounts; those that are not there are left out.
        lock: let nobody else change them before this transaction ends. They are held in the order of their ids, so
            that two imports never wait for each other's crosswise. SQLite has one writer in any case.

    Returns:
        Their `line` is 0; times are as the database writes them.
    """
    dialect = (await db.connection()).dialect.name
    query = _READ[dialect].format(values=_VALUES, lock="FOR UPDATE" if lock else "")
    found = (await db.execute(text(query), {"ids": _encode(ids)})).scalar_one() or "[]"
    return {row[0]: Account._make([*row, "", 0, None, frozenset()]) for row in json.loads(found)}


CHANGED: Final = tuple(name for name in STORED if name not in {"id", "created_at"})
_CHANGE: Final = {
    "sqlite": text(
        "UPDATE denizen_users SET "  # noqa: S608  (as above)
        + ", ".join(f"{name} = json_extract(e.value, '$[{STORED.index(name)}]')" for name in CHANGED)
        + " FROM json_each(:rows) AS e WHERE denizen_users.id = json_extract(e.value, '$[0]')"
    ),
    "postgresql": text(
        "UPDATE denizen_users AS u SET "  # noqa: S608  (as above)
        + ", ".join(f"{name} = CAST(row ->> {STORED.index(name)} AS {_TYPES.get(name, 'text')})" for name in CHANGED)
        + " FROM jsonb_array_elements(CAST(:rows AS jsonb)) AS row WHERE u.id = CAST(row ->> 0 AS uuid)"
    ),
}


async def update_accounts(db: AsyncSession, accounts: Sequence[Account]) -> None:
    """Store accounts that `read_accounts` gave as they are now, and index them for searching, each once.

    Raises:
        IntegrityError: somebody took a name since it was seen to be free.
    """
    if not accounts:
        return
    dialect = (await db.connection()).dialect.name
    if dialect == "sqlite":
        await db.execute(_ROOM_FOR_A_BATCH)
    await db.execute(_CHANGE[dialect], {"rows": _encode([account[: len(STORED)] for account in accounts])})
    await search.update_entries(db, [(account.id, account.found_by) for account in accounts if account.found_by])


async def refresh_statistics(db: AsyncSession) -> None:
    """Let PostgreSQL look at how the table is now. Until it does so by itself, it plans as for an empty one.

    A role that does not own the table is told so by the server, and nothing happens.
    """
    if (await db.connection()).dialect.name == "postgresql":
        await db.execute(text("ANALYZE denizen_users"))


# --- Out ---------------------------------------------------------------------------------------------


def _as_text(name: str, dialect: str) -> Any:
    """Give a column as `Account` has it. SQLite stores ids and times in that form already."""
    column = getattr(User, name)
    if name == "id":
        return type_coerce(column, String) if dialect == "sqlite" else cast(column, String)
    if name not in {"created_at", "updated_at"}:
        return column
    if dialect == "sqlite":
        return type_coerce(column, String)
    return func.to_char(func.timezone("UTC", column), 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')


async def list_accounts(
    db: AsyncSession, *, after: str | None, limit: int, is_active: bool | None, with_hashes: bool
) -> list[tuple[Any, ...]]:
    """Return the next accounts in the order of their ids, as text and numbers.

    Args:
        db: a reading session.
        after: the id behind which to begin; `None` for the first.
        limit: how many at most.
        is_active: only those that are, or are not.
        with_hashes: with `hashed_password` as last column behind `EXPORTED`.
    """
    dialect = (await db.connection()).dialect.name
    names = (*EXPORTED, "hashed_password") if with_hashes else EXPORTED
    query = select(*(_as_text(name, dialect) for name in names)).order_by(User.id).limit(limit)
    if after is not None:
        query = query.where(User.id > UUID(after))
    if is_active is not None:
        query = query.where(User.is_active == is_active)
    return [tuple(row) for row in await db.execute(query)]
