"""The SQL of bulk work: whole batches in a few statements.

A batch travels as one JSON text, and what it gives comes back as one, on both databases. On SQLite that makes it one
step of one statement, during which Python is free for the next batch; row by row the two would wait for each other's
hold on the interpreter. On PostgreSQL it costs what COPY into a staging table and from there costs. New rows, of which
an import has most, go to SQLite as parameters, hundreds in a step (`ManyRows`).
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Final, NamedTuple, TypeVar

from sqlalchemy import (
    ColumnElement,
    Integer,
    LargeBinary,
    Select,
    bindparam,
    func,
    literal_column,
    select,
    text,
    tuple_,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from denizen.core.database import Database, Reader
from denizen.core.errors import Unavailable
from denizen.core.statements import ManyRows, Statement, encode_rows
from denizen.directory.crud import Shape, page_query
from denizen.directory.service import Listing
from denizen.profiles import crud as profiles
from denizen.search import crud as search
from denizen.transfer.adapters import sql
from denizen.transfer.adapters.sql import Kind
from denizen.transfer.schemas import OWN, STORED, Account, Format
from denizen.users.errors import TAKEN
from denizen.users.models import User

T = TypeVar("T")

KINDS: Final = tuple(TAKEN)
"""The columns that two accounts cannot share, in the order in which a clash is told."""

Taken = Mapping[str, Mapping[str, str]]
"""By column: who (an id) holds which value. Under `HIDDEN` those of them who are deleted: their names stay taken, and
nobody finds them by one."""

HIDDEN: Final = "hidden"

_TYPES: Final = {
    "id": "uuid",
    "is_active": "boolean",
    "email_verified_at": "timestamptz",
    "created_at": "timestamptz",
    "updated_at": "timestamptz",
    "version": "integer",
    "profile": "jsonb",
}
_WIDTH: Final = len(STORED)
_NAMES: Final = ", ".join(STORED)
_ON_POSTGRESQL: Final = ", ".join(
    f"CAST(row ->> {index} AS {_TYPES.get(name, 'text')})" for index, name in enumerate(STORED)
)

_INSERT: Final = text(  # made of names that stand in this file
    f"WITH landed AS (INSERT INTO denizen_users ({_NAMES}) SELECT {_ON_POSTGRESQL} "  # noqa: S608  (names of this file)
    "FROM jsonb_array_elements(CAST(:rows AS jsonb)) AS row ON CONFLICT DO NOTHING RETURNING id) "
    "SELECT CAST(json_agg(id) AS text) FROM landed"
)
_ROWS: Final = ManyRows(f"denizen_users ({_NAMES})", _WIDTH, otherwise="ON CONFLICT DO NOTHING")
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
    new = accounts if len(stored) == len(accounts) else [each for each in accounts if each.id in stored]
    await search.create_entries(db, [(account.id, account.found_by) for account in new])
    await profiles.store_values(db, [(account.id, account.own) for account in new if account.own], replace=False)
    return stored


async def _insert(db: AsyncSession, accounts: Sequence[Account]) -> set[str]:
    dialect = (await db.connection()).dialect.name
    rows = [account[:_WIDTH] for account in accounts]
    if dialect == "postgresql":
        sent = {"rows": encode_rows(rows)}
        return set(json.loads((await db.execute(_INSERT, sent)).scalar_one() or "[]"))
    await db.execute(_ROOM_FOR_A_BATCH)
    last = (await db.execute(_LAST_ROW)).scalar_one()
    if await _ROWS.store(db, rows) == len(accounts):
        return {account.id for account in accounts}
    # What this transaction stored has the highest row numbers, since nobody else writes meanwhile.
    return set(json.loads((await db.execute(_ROWS_BEHIND, {"last": last})).scalar_one()))


_HOLDERS_ON: Final = {
    "sqlite": """
        SELECT json_group_array(json_array(u.{column}, u.id, u.deleted_at))
        FROM json_each(:wanted) AS w CROSS JOIN denizen_users AS u ON u.{column} = w.value
    """,
    "postgresql": """
        SELECT CAST(json_agg(json_build_array(u.{column}, u.id, u.deleted_at)) AS text) FROM denizen_users AS u
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
    taken: dict[str, dict[str, str]] = {HIDDEN: {}}
    for column in KINDS:
        place = Account._fields.index(column)
        wanted = [value for account in asked if (value := account[place]) is not None]
        found = "[]"
        if wanted:
            answer = await db.execute(_HOLDERS[dialect, column], {"wanted": encode_rows(wanted)})
            found = answer.scalar_one() or "[]"
        holders = json.loads(found)
        taken[column] = {value: user_id for value, user_id, _ in holders}
        taken[HIDDEN].update((user_id, user_id) for _, user_id, deleted_at in holders if deleted_at is not None)
    return taken


def find_match(taken: Taken, column: str, value: str | None) -> str | None:
    """Give the account that is found by a value; nobody who is deleted is."""
    holder = None if value is None else taken[column].get(value)
    return None if holder is None or holder in taken[HIDDEN] else holder


_READ: Final = {
    "sqlite": "SELECT json_group_array(json_array({values})) "
    "FROM json_each(:ids) AS w CROSS JOIN denizen_users AS u ON u.id = w.value AND u.deleted_at IS NULL",
    "postgresql": "SELECT CAST(json_agg(json_build_array({values})) AS text) FROM (SELECT * FROM denizen_users "
    "WHERE id IN (SELECT CAST(jsonb_array_elements_text(CAST(:ids AS jsonb)) AS uuid)) AND deleted_at IS NULL "
    "ORDER BY id {lock}) AS u",
}
_VALUES: Final = {
    "sqlite": ", ".join(f"u.{name}" for name in STORED),
    "postgresql": ", ".join("CAST(u.profile AS text)" if name == "profile" else f"u.{name}" for name in STORED),
}


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
    query = _READ[dialect].format(values=_VALUES[dialect], lock="FOR UPDATE" if lock else "")
    found = (await db.execute(text(query), {"ids": encode_rows(ids)})).scalar_one() or "[]"
    return {row[0]: Account._make([*row, "", 0, None, frozenset(), (), None]) for row in json.loads(found)}


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
    await db.execute(_CHANGE[dialect], {"rows": encode_rows([account[:_WIDTH] for account in accounts])})
    await search.update_entries(db, [(account.id, account.found_by) for account in accounts if account.found_by])
    await profiles.store_values(db, [(each.id, each.own) for each in accounts if each.own is not None], replace=True)


async def refresh_statistics(db: AsyncSession) -> None:
    """Let PostgreSQL look at how the table is now. Until it does so by itself, it plans as for an empty one.

    A role that does not own the table is told so by the server, and nothing happens.
    """
    if (await db.connection()).dialect.name == "postgresql":
        await db.execute(text("ANALYZE denizen_users"))
    await search.refresh_statistics(db)


# --- Out ---------------------------------------------------------------------------------------------

Key = tuple[Any, ...]
"""Where a row stands in the order of a list: its id alone, or the field of a range and the id."""

_AHEAD: Final = {"sqlite": 2, "postgresql": 4}
"""Parts that are read at the same time: while one is on its way here, the database writes others, on several cores
where it has some. At most half of the connections, so that requests find some too."""

_TRIES: Final = 3
_TRY_AFTER: Final = 1.0

_MOST: Final = 50_000
"""Rows of one part, lest a part that others fill while it is being read does not fit into memory."""


class Part(NamedTuple):
    """Some lines of a file, and of how many rows."""

    data: bytes
    rows: int


@dataclass(frozen=True, slots=True)
class Extract:
    """What is taken out, and how it is written.

    Attributes:
        listing: which accounts, in which order.
        form: of the file.
        columns: in order.
        texts: those of own fields that are text.
    """

    listing: Listing
    form: Format
    columns: tuple[str, ...]
    texts: frozenset[str] = frozenset()


def _keys(order: str) -> tuple[InstrumentedAttribute[Any], ...]:
    return (User.id,) if order == "id" else (getattr(User, order), User.id)


def bound_query(listing: Listing, kind: Kind, *, after: bool) -> Select[*tuple[Any, ...]]:
    """Build the statement of the key of a part's last row; none where fewer rows are left.

    Parameters: `size`, those of the conditions, and `after_0`, `after_1` where it begins behind a row.
    """
    # Over those that are hidden too, which takes the index alone: a part then has a few rows less.
    page = page_query(Shape(listing.order, after=after, conditions=listing.conditions), kind, deleted=True)
    behind = bindparam("size", type_=Integer()) - 1
    return page.with_only_columns(*_keys(listing.order)).limit(1).offset(behind)


def part_query(extract: Extract, kind: Kind, *, after: bool, upto: bool) -> Select[*tuple[Any, ...]]:
    """Build the statement of a part: one row with all of its lines, as bytes, and how many they are.

    Parameters: as `bound_query`, but `limit` in place of `size`, and `upto_0`, `upto_1` where it ends with a row.
    """
    listing, keys = extract.listing, _keys(extract.listing.order)
    rows = page_query(Shape(listing.order, after=after, conditions=listing.conditions), kind)
    if upto:
        bounds = [bindparam(f"upto_{place}", type_=key.type) for place, key in enumerate(keys)]
        rows = rows.where(tuple_(*keys) <= tuple_(*bounds) if len(keys) > 1 else keys[0] <= bounds[0])
    # The limit keeps the order too: without one, either database may aggregate rows as it finds them.
    inner = rows.with_only_columns(*(_column(name, kind, extract.texts) for name in extract.columns)).subquery("u")
    line: ColumnElement[str] = literal_column(sql.line(extract.form, extract.columns, kind, extract.texts))
    lines = select(line.label("line")).select_from(inner)
    if kind == "sqlite" and any(name.startswith(OWN) for name in extract.columns):
        lines = lines.limit(-1)  # or it would take each own field out of the JSON wherever the line names it
    return select(literal_column(sql.all_lines(kind), LargeBinary()), func.count()).select_from(lines.subquery("lines"))


def _column(name: str, kind: Kind, texts: frozenset[str]) -> ColumnElement[Any]:
    own = name.startswith(OWN)
    return literal_column(sql.own_value(name, kind, texts)).label(name) if own else User.__table__.c[name]


@lru_cache(maxsize=256)
def _bound_statement(order: str, conditions: tuple[str, ...], kind: Kind, after: bool) -> Statement:
    return Statement(bound_query(Listing(order, False, dict.fromkeys(conditions)), kind, after=after))


_Written = tuple[Format, tuple[str, ...], frozenset[str], Kind]


@lru_cache(maxsize=256)
def _part_statement(order: str, conditions: tuple[str, ...], written: _Written, after: bool, upto: bool) -> Statement:
    form, columns, texts, kind = written
    extract = Extract(Listing(order, False, dict.fromkeys(conditions)), form, columns, texts)
    return Statement(part_query(extract, kind, after=after, upto=upto))


async def read_parts(database: Database, extract: Extract, *, size: int) -> AsyncGenerator[Part]:
    """Read the lines of all accounts in parts, each a short read of its own.

    First the key that a part ends with is read from the index, then all of its lines as one text. So the next part is
    known before this one is there.

    Args:
        database: to read.
        extract: what.
        size: how many rows a part has, but for the last.

    Raises:
        Unavailable: the database is away, or others have put so many into one part that they do not fit into memory.
    """
    reads, after, more = deque[asyncio.Task[Part]](), None, True
    few = "id__in" in extract.listing.conditions
    ahead = min(_AHEAD[database.kind], max(1, database.options.pool_size // 2))
    try:
        while more or reads:
            while more and len(reads) < ahead:
                find = partial(_find_bound, database.read, extract, after=after, size=size)
                upto = None if few else await _patiently(find, begun=after is not None)
                more = upto is not None
                if reads and not more:  # whom a change moves to the end, out of a part before it was read, is there
                    await asyncio.wait(reads)
                read = partial(_read_part, database, extract, after=after, upto=upto)
                reads.append(asyncio.create_task(_patiently(read, begun=after is not None)))
                after = upto
            part = await reads[0]
            if part.rows == _MOST:
                raise Unavailable("Others bring in accounts faster than they can be taken out. Try again.")
            yield part
            reads.popleft()
    finally:
        for task in reads:
            task.cancel()
        await asyncio.gather(*reads, return_exceptions=True)


async def _patiently(read: Callable[[], Awaitable[T]], *, begun: bool) -> T:
    """Read again what could not be read, since the keys it lies between stay: a server that is started anew, or busy,
    breaks off no file that is half written. Before there is one, whoever asks is told at once.
    """
    for _ in range(_TRIES if begun else 0):
        with suppress(Unavailable):
            return await read()
        await asyncio.sleep(_TRY_AFTER)
    return await read()


async def _find_bound(reads: Reader, extract: Extract, *, after: Key | None, size: int) -> Key | None:
    """Return the key of the last of the next `size` rows; `None` where fewer are left."""
    listing = extract.listing
    statement = _bound_statement(listing.order, listing.conditions, reads.kind, after is not None)
    rows = await reads.slow_rows(statement, **listing.values, **_numbered("after", after), size=size)
    return rows[0] if rows else None


async def _read_part(database: Database, extract: Extract, *, after: Key | None, upto: Key | None) -> Part:
    """Return the lines of the rows behind `after`, up to and with `upto`; `_MOST` of them at most."""
    listing = extract.listing
    values = {**listing.values, **_numbered("after", after), **_numbered("upto", upto), "limit": _MOST}
    reads, kind = database.read, database.kind
    if "id__in" in listing.conditions:  # so few that they are one part; how many there are is in the statement's text
        async with reads.slow() as db:
            found = tuple((await db.execute(part_query(extract, kind, after=False, upto=False), values)).one())
    else:
        written = (extract.form, extract.columns, extract.texts, kind)
        statement = _part_statement(listing.order, listing.conditions, written, after is not None, upto is not None)
        (found,) = await reads.slow_rows(statement, **values)
    return Part(found[0] or b"", found[1])


def _numbered(name: str, key: Key | None) -> dict[str, Any]:
    return {f"{name}_{place}": value for place, value in enumerate(key or ())}
