"""Every SQL statement that finds accounts by their own fields, and those that keep what SQLite finds them by.

The side table is written by whoever writes accounts, in the same transaction, and not by triggers: how values are
compared is decided in Python, and a table that Alembic rebuilds loses its triggers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Integer,
    String,
    and_,
    bindparam,
    column,
    exists,
    func,
    literal_column,
    or_,
    select,
    table,
    text,
)
from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.database import Reader
from denizen.core.statements import ManyRows, Statement
from denizen.core.types import JsonObject, UtcDateTime, Uuid
from denizen.profiles.models import ProfileValue, Wanted, values_of

VALUES: Final[Any] = ProfileValue.__table__

_WANTED: Final = bindparam("profile", type_=Wanted())


async def _on_sqlite(db: AsyncSession) -> bool:
    return (await db.connection()).dialect.name == "sqlite"


# --- Writing ------------------------------------------------------------------------------------------

_ROWS: Final = ManyRows("denizen_profile_values (name, value, user_id)", 3)
_FORGET: Final = text("DELETE FROM denizen_profile_values WHERE user_id IN (SELECT value FROM json_each(:ids))")


async def store_values(
    db: AsyncSession, profiles: Sequence[tuple[UUID | str, Mapping[str, Any]]], *, replace: bool
) -> None:
    """Keep what accounts are found by, all in a few statements; nothing on PostgreSQL, whose index does so by itself.

    Args:
        db: a writing session; it is not committed.
        profiles: the ids of accounts that are stored, each once, with their own fields.
        replace: whether they may have had others before; `False` for new ones.
    """
    if not profiles or not await _on_sqlite(db):
        return
    if replace:
        await db.execute(_FORGET, {"ids": json.dumps([str(user_id) for user_id, _ in profiles])})
    rows = [(name, value, str(user_id)) for user_id, profile in profiles for name, value in values_of(profile)]
    await _ROWS.store(db, rows)


# --- Finding ------------------------------------------------------------------------------------------


def has_all(kind: str, of: Any) -> ColumnElement[bool]:
    """Give the condition that an account has every value of the parameter `profile`.

    Args:
        kind: of the database.
        of: the columns of accounts: `id` on SQLite, `profile` on PostgreSQL.
    """
    if kind == "postgresql":
        # The second half lets the index be used, which leaves out those without own fields.
        return and_(of.profile.bool_op("@>")(_WANTED), of.profile != literal_column("'{}'::jsonb"))
    wanted = func.json_each(_WANTED).table_valued(column("value", String), name="wanted")
    has = exists().where(
        VALUES.c.name == _part(wanted.c.value, "$[0]"),
        VALUES.c.value == _part(wanted.c.value, "$[1]"),
        VALUES.c.user_id == of.id,
    )
    return ~exists(select(1).select_from(wanted).where(~has.correlate(wanted, *_tables(of)))).correlate(*_tables(of))


def has_first(user_id: Any) -> ColumnElement[bool]:
    """Give the condition that a row of the side table is of an account, and of the first value of the parameter
    `profile`.
    """
    first = and_(VALUES.c.name == _part(_WANTED, "$[0][0]"), VALUES.c.value == _part(_WANTED, "$[0][1]"))
    return and_(first, VALUES.c.user_id == user_id)


def has_others(of: Any) -> ColumnElement[bool]:
    """Give the condition that an account has the other values as well, where there are others."""
    return or_(func.json_array_length(_WANTED) < literal_column("2"), has_all("sqlite", of))


def unindexed(of: Any) -> ColumnElement[Any]:
    """Give a column of accounts as something that SQLite knows no index for, so that it walks over values instead."""
    return literal_column(f"+{of.table.name}.{of.key}", of.type)


def _part(of: Any, path: str) -> ColumnElement[str]:
    return func.json_extract(of, literal_column(f"'{path}'"), type_=String())


def _tables(of: Any) -> list[Any]:
    return [of.id.table if hasattr(of.id, "table") else of.__table__]


_FEW: Final = 10_000
"""So many are counted in half a millisecond; of two values that more have, either will do."""
_COUNT_SOME: Final = Statement(
    select(func.count()).select_from(
        select(1)
        .select_from(VALUES)
        .where(VALUES.c.name == bindparam("name", type_=String()), VALUES.c.value == bindparam("value", type_=String()))
        .limit(literal_column(str(_FEW)))
        .subquery()
    )
)


async def rarest_first(reads: Reader, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Order values by how many accounts have them, since SQLite walks over those with the first; as they are on
    PostgreSQL.
    """
    if reads.kind != "sqlite" or len(wanted) < 2:
        return dict(wanted)
    found = {name: await reads.rows(_COUNT_SOME, name=name, value=value) for name, value in values_of(wanted)}
    return dict(sorted(wanted.items(), key=lambda item: found[item[0]][0][0]))


# --- Looking after it ---------------------------------------------------------------------------------

_USERS: Final = table(
    "denizen_users", column("id", Uuid), column("updated_at", UtcDateTime), column("profile", JsonObject)
)
"""As much of the accounts as is needed; the model is of a room above this one."""

_WALK: Final = select(_USERS.c.id, _USERS.c.profile).limit(bindparam("limit", type_=Integer))
_HELD: Final = text(
    "SELECT user_id, name, value FROM denizen_profile_values WHERE user_id IN (SELECT value FROM json_each(:ids))"
)


class Walked(NamedTuple):
    """One account, and what it is found by.

    Attributes:
        user_id: whose.
        profile: its own fields.
        found_by: names and values of the side table.
    """

    user_id: UUID
    profile: dict[str, Any]
    found_by: set[tuple[str, str]]

    @property
    def is_right(self) -> bool:
        """Whether the account is found by the values it has."""
        return self.found_by == set(values_of(self.profile))


async def walk_values(db: AsyncSession, *, after: UUID | None, limit: int) -> list[Walked]:
    """Return the next accounts in the order of their ids, each with what it is found by. SQLite alone."""
    query = _WALK.order_by(_USERS.c.id)
    return await _walk(db, query if after is None else query.where(_USERS.c.id > after), limit)


async def walk_changed(db: AsyncSession, *, limit: int) -> list[Walked]:
    """Return the accounts that were changed last, each with what it is found by. SQLite alone."""
    return await _walk(db, _WALK.order_by(_USERS.c.updated_at.desc(), _USERS.c.id.desc()), limit)


async def _walk(db: AsyncSession, query: Any, limit: int) -> list[Walked]:
    walked = {
        str(user_id): Walked(user_id, profile, set()) for user_id, profile in await db.execute(query, {"limit": limit})
    }
    for user_id, name, value in await db.execute(_HELD, {"ids": json.dumps(list(walked))}):
        walked[user_id].found_by.add((name, value))
    return list(walked.values())


_COUNT_MISSING: Final = text(
    "SELECT (SELECT count(*) FROM denizen_users AS u, json_each(u.profile) AS f WHERE u.profile <> '{}' "
    "AND f.type NOT IN ('null', 'array', 'object')) - (SELECT count(*) FROM denizen_profile_values)"
)


async def count_missing(db: AsyncSession) -> int:
    """Count the values by which nobody is found; fewer than none where somebody is found by what he has not. SQLite
    alone.
    """
    return int((await db.execute(_COUNT_MISSING)).scalar_one())
