"""Every SQL statement that finds accounts: pages of lists, counts and searches."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final, Literal

from sqlalchemy import ColumnElement, Integer, Select, Text, bindparam, cast, func, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from denizen.core.database import Reader
from denizen.core.statements import Statement
from denizen.profiles import crud as profiles
from denizen.search import crud as search
from denizen.search.service import Question
from denizen.users.crud import READ_COLUMNS, Row
from denizen.users.models import User
from denizen.users.schemas import READ_FIELDS

Kind = Literal["sqlite", "postgresql"]

Leg = Literal["whole", "named", "nameless"]
"""A list ordered by a name that some do not have is walked in two legs: by the name, then those without one, by id."""

_SORTS: dict[str, tuple[InstrumentedAttribute[Any], ...]] = {
    "id": (User.id,),
    "created_at": (User.created_at, User.id),
    "updated_at": (User.updated_at, User.id),
    "username": (User.username_key,),
    "email": (User.email_key,),
}

_CONDITIONS: dict[str, tuple[InstrumentedAttribute[Any], Any]] = {
    "email": (User.email_key, operator.eq),
    "username": (User.username_key, operator.eq),
    "external_id": (User.external_id, operator.eq),
    "is_active": (User.is_active, operator.eq),
    **{
        f"{name}__{sign}": (_SORTS[name][0], getattr(operator, {"gte": "ge", "lte": "le"}.get(sign, sign)))
        for name in ("created_at", "updated_at")
        for sign in ("gte", "gt", "lte", "lt")
    },
}


UNIQUE: Final = frozenset({"email", "username", "external_id", "id__in"})
"""Filters that leave so few rows that any order over them is cheap."""

PROFILE: Final = "profile"
"""The condition that own fields have certain values: all of them, by name, are its one parameter."""


@dataclass(frozen=True, slots=True)
class Shape:
    """All of a list's text that is not a parameter.

    Attributes:
        order: a key of `_SORTS`.
        descending: the other way round.
        leg: which part of it.
        after: whether it goes on behind a row.
        conditions: the names of its filters, sorted.
    """

    order: str = "id"
    descending: bool = False
    leg: Leg = "whole"
    after: bool = False
    conditions: tuple[str, ...] = ()

    @property
    def by_own_fields(self) -> bool:
        """Whether its own fields are what accounts are found by, for want of something rarer."""
        return PROFILE in self.conditions and not UNIQUE & set(self.conditions)


def _conditions(shape: Shape, kind: Kind, of: Any = User) -> Iterator[ColumnElement[bool]]:
    """Give the conditions, each over a parameter of the same name, and over the columns of `of`."""
    walks_values = shape.by_own_fields and kind == "sqlite" and of is User
    if walks_values:
        yield profiles.has_first(User.id)
    for name in shape.conditions:
        if name == PROFILE:
            yield profiles.has_others(User) if walks_values else profiles.has_all(kind, of)
        elif name == "id__in":
            yield of.id.in_(bindparam(name, expanding=True))
        else:
            column, compare = _CONDITIONS[name]
            own = getattr(of, column.key)
            yield compare(profiles.unindexed(own) if walks_values else own, bindparam(name, type_=column.type))
    if shape.leg == "named":
        yield _SORTS[shape.order][0].is_not(None)
    elif shape.leg == "nameless":
        yield getattr(User, shape.order).is_(None)  # for which there is an index; its key has another


def page_query(shape: Shape, kind: Kind, *, deleted: bool = False) -> Select[*tuple[Any, ...]]:
    """Build the statement of one page; parameters: `limit`, `after_0`, `after_1` and those of the conditions.

    Args:
        shape: of the list.
        kind: of the database.
        deleted: also go over accounts that are hidden, for what shows none of them.
    """
    columns: tuple[Any, ...] = (User.id,) if shape.leg == "nameless" else _SORTS[shape.order]
    query = select(*READ_COLUMNS).where(*_conditions(shape, kind))
    if shape.by_own_fields and kind == "sqlite":
        # Those with the first value are walked over, in the order of their ids.
        columns = tuple(profiles.VALUES.c.user_id if column is User.id else column for column in columns)
    if not deleted:
        query = query.where(User.deleted_at.is_(None))
    if shape.after:
        bounds = [bindparam(f"after_{place}", type_=column.type) for place, column in enumerate(columns)]
        here: Any = tuple_(*columns) if len(columns) > 1 else columns[0]
        there: Any = tuple_(*bounds) if len(bounds) > 1 else bounds[0]
        query = query.where(here < there if shape.descending else here > there)
    if shape.by_own_fields and kind == "postgresql":
        # By what no index has: else PostgreSQL would walk over all accounts in their order until it had met enough of
        # whom it takes to be many, and a kept plan takes them for that whatever is asked for.
        columns = tuple(cast(column, Text).collate("C") if column is User.id else column for column in columns)
    ordered = [column.desc() for column in columns] if shape.descending else list(columns)
    return query.order_by(*ordered).limit(bindparam("limit", type_=Integer()))


NEAR: Final = 20
"""Accounts that are looked at for each one wanted, before PostgreSQL's index is asked who has a value at all."""


def near_query(shape: Shape) -> Select[*tuple[Any, ...]]:
    """Build the statement of a page by own fields out of the next accounts alone, on PostgreSQL; parameters: those of
    the page, and `near`, the number of these accounts.

    Its index gives all who have a value, in no order: of a value that many have, most for nothing.
    """
    near = page_query(replace(shape, conditions=()), "postgresql").limit(bindparam("near", type_=Integer()))
    found = near.subquery("near")
    query = select(*found.c).where(*_conditions(shape, "postgresql", found.c))
    return query.order_by(found.c.id.desc() if shape.descending else found.c.id).limit(
        bindparam("limit", type_=Integer())
    )


def _hidden(*names: str) -> Any:
    columns = dict.fromkeys(("id", *(each.key for each, _ in _CONDITIONS.values()), *names))
    hidden = select(*(getattr(User, name) for name in columns)).where(User.erase_at.is_not(None))
    return hidden.cte("hidden").prefix_with("MATERIALIZED")


_HIDDEN, _HIDDEN_PROFILES = _hidden(), _hidden(PROFILE)
"""Deleted accounts, by the index of them alone."""


def count_query(shape: Shape, kind: Kind) -> Select[int]:
    """Build the statement of a count; parameters: those of the conditions.

    All are counted, which takes an index alone, and the few that are hidden taken off: to look at each whether it is
    hidden would take the table.
    """
    found = select(func.count()).select_from(User).where(*_conditions(shape, kind))
    hidden = _HIDDEN_PROFILES if PROFILE in shape.conditions else _HIDDEN
    few = select(func.count()).select_from(hidden).where(*_conditions(shape, kind, hidden.c))
    return select(found.scalar_subquery() - few.scalar_subquery())


@lru_cache(maxsize=64)
def _near_statement(shape: Shape) -> Statement:
    return Statement(near_query(shape), shown=True)


@lru_cache(maxsize=1024)
def _page_statement(shape: Shape, kind: Kind) -> Statement:
    return Statement(page_query(shape, kind), shown=True)


async def list_users(reads: Reader, shape: Shape, values: Mapping[str, Any], *, limit: int, skip: int = 0) -> list[Row]:
    """Return one page.

    Args:
        reads: the hot path, where compiled statements can be used: no `skip`, no list of ids.
        shape: which list.
        values: the parameters that `shape` asks for.
        limit: rows at most.
        skip: rows to leave out first; read on a thread, since the database has to walk over them.
    """
    values = await _ordered(reads, values)
    if shape.by_own_fields and reads.kind == "postgresql" and not skip:
        rows = await reads.rows(_near_statement(shape), limit=limit, near=NEAR * limit, **values)
        if len(rows) == limit:
            return rows
    if not skip and "id__in" not in shape.conditions:
        # Whoever has the rarest value may lack all else: SQLite then walks over all of them, not on the event loop.
        walks = shape.by_own_fields and reads.kind == "sqlite" and len(shape.conditions) + len(values[PROFILE]) > 2
        read = reads.rows_anew if walks else reads.rows
        return await read(_page_statement(shape, reads.kind), limit=limit, **values)
    query = page_query(shape, reads.kind).offset(skip)
    async with reads.slow() if skip else reads.session() as db:
        return [tuple(row) for row in await db.execute(query, {**values, "limit": limit})]


async def _ordered(reads: Reader, values: Mapping[str, Any]) -> Mapping[str, Any]:
    if PROFILE not in values:
        return values
    return {**values, PROFILE: await profiles.rarest_first(reads, values[PROFILE])}


@lru_cache(maxsize=64)
def search_statement(kind: str, words: int, *, trigrams: bool) -> Statement:
    """Build the statement of a search; parameters: `limit` and those of the question. The last column is `total`."""
    found = search.ranked(kind, words, trigrams=trigrams).subquery("found")
    query = select(*READ_COLUMNS, found.c.total).join(found, found.c.user_id == User.id).order_by(found.c.rank)
    return Statement(query, shown=True)


async def search_users(reads: Reader, question: Question, *, limit: int) -> tuple[list[Row], int]:
    """Return the best accounts for a question, and how many were found in all, where `search.POOL` and one more mean
    that others were not looked at.
    """
    trigrams = await search.has_trigrams(reads)
    statement = search_statement(reads.kind, question.words, trigrams=trigrams)
    rows = await reads.rows_anew(statement, limit=limit, **question.values)
    return [row[:-1] for row in rows], rows[0][-1] if rows else 0


async def count_users(reads: Reader, shape: Shape, values: Mapping[str, Any], *, exact: bool) -> int:
    """Count the accounts of a list, on a thread.

    Args:
        exact: count them one by one. Otherwise a list without conditions is answered from what the database believes:
            PostgreSQL's statistics, SQLite's highest row number. Under conditions both count.
    """
    values = await _ordered(reads, values)
    async with reads.slow() as db:
        if not exact and not shape.conditions:
            guess = await _estimate(db)
            if guess is not None:
                return guess
        return int((await db.execute(count_query(shape, reads.kind), dict(values))).scalar_one())


async def _estimate(db: AsyncSession) -> int | None:
    """Give the believed number of accounts, or `None` where PostgreSQL has never analysed the table."""
    if (await db.connection()).dialect.name == "postgresql":
        believed = "SELECT reltuples::bigint FROM pg_class WHERE oid = 'denizen_users'::regclass"
    else:
        believed = "SELECT coalesce(max(rowid), 0) FROM denizen_users"
    found = int((await db.execute(text(believed))).scalar_one())
    if found < 0:
        return None
    hidden = (await db.execute(select(func.count()).where(User.erase_at.is_not(None)))).scalar_one()
    return max(0, found - int(hidden))


DELETED_FIELDS = (*READ_FIELDS, "deleted_at", "erase_at")


async def list_deleted(reads: Reader, *, limit: int) -> list[Row]:
    """Return deleted accounts, those that are erased first first; in the order of `DELETED_FIELDS`."""
    query = select(*READ_COLUMNS, User.deleted_at, User.erase_at).where(User.erase_at.is_not(None))
    async with reads.slow() as db:
        return [tuple(row) for row in await db.execute(query.order_by(User.erase_at).limit(limit))]
