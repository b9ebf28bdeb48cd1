"""Every SQL statement that finds accounts: pages of lists, counts and searches."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from sqlalchemy import ColumnElement, Integer, Select, bindparam, func, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from denizen.core.database import Reader
from denizen.core.statements import Statement
from denizen.search import crud as search
from denizen.search.service import Question
from denizen.users.crud import READ_COLUMNS, Row
from denizen.users.models import User
from denizen.users.schemas import READ_FIELDS

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


def _conditions(shape: Shape, of: Any = User) -> Iterator[ColumnElement[bool]]:
    """Give the conditions, each over a parameter of the same name, and over the columns of `of`."""
    for name in shape.conditions:
        if name == "id__in":
            yield of.id.in_(bindparam(name, expanding=True))
        else:
            column, compare = _CONDITIONS[name]
            yield compare(getattr(of, column.key), bindparam(name, type_=column.type))
    if shape.leg == "named":
        yield _SORTS[shape.order][0].is_not(None)
    elif shape.leg == "nameless":
        yield getattr(User, shape.order).is_(None)  # for which there is an index; its key has another


def page_query(shape: Shape, *, deleted: bool = False) -> Select[*tuple[Any, ...]]:
    """Build the statement of one page; parameters: `limit`, `after_0`, `after_1` and those of the conditions.

    Args:
        shape: of the list.
        deleted: also go over accounts that are hidden, for what shows none of them.
    """
    columns = (User.id,) if shape.leg == "nameless" else _SORTS[shape.order]
    query = select(*READ_COLUMNS).where(*_conditions(shape))
    if not deleted:
        query = query.where(User.deleted_at.is_(None))
    if shape.after:
        bounds = [bindparam(f"after_{place}", type_=column.type) for place, column in enumerate(columns)]
        here: Any = tuple_(*columns) if len(columns) > 1 else columns[0]
        there: Any = tuple_(*bounds) if len(bounds) > 1 else bounds[0]
        query = query.where(here < there if shape.descending else here > there)
    ordered = [column.desc() for column in columns] if shape.descending else list(columns)
    return query.order_by(*ordered).limit(bindparam("limit", type_=Integer()))


_HIDDEN = (
    select(*(getattr(User, name) for name in dict.fromkeys(("id", *(each.key for each, _ in _CONDITIONS.values())))))
    .where(User.erase_at.is_not(None))
    .cte("hidden")
    .prefix_with("MATERIALIZED")
)
"""Deleted accounts, by the index of them alone."""


def count_query(shape: Shape) -> Select[int]:
    """Build the statement of a count; parameters: those of the conditions.

    All are counted, which takes an index alone, and the few that are hidden taken off: to look at each whether it is
    hidden would take the table.
    """
    found = select(func.count()).select_from(User).where(*_conditions(shape)).scalar_subquery()
    hidden = select(func.count()).select_from(_HIDDEN).where(*_conditions(shape, _HIDDEN.c)).scalar_subquery()
    return select(found - hidden)


@lru_cache(maxsize=1024)
def _page_statement(shape: Shape) -> Statement:
    return Statement(page_query(shape), shown=True)


async def list_users(reads: Reader, shape: Shape, values: Mapping[str, Any], *, limit: int, skip: int = 0) -> list[Row]:
    """Return one page.

    Args:
        reads: the hot path, where compiled statements can be used: no `skip`, no list of ids.
        shape: which list.
        values: the parameters that `shape` asks for.
        limit: rows at most.
        skip: rows to leave out first; read on a thread, since the database has to walk over them.
    """
    if not skip and "id__in" not in shape.conditions:
        return await reads.rows(_page_statement(shape), limit=limit, **values)
    query = page_query(shape).offset(skip)
    async with reads.slow() if skip else reads.session() as db:
        return [tuple(row) for row in await db.execute(query, {**values, "limit": limit})]


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
    async with reads.slow() as db:
        if not exact and not shape.conditions:
            guess = await _estimate(db)
            if guess is not None:
                return guess
        return int((await db.execute(count_query(shape), dict(values))).scalar_one())


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
