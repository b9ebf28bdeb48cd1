"""Every SQL statement of the search index.

The index is written by whoever writes accounts, in the same transaction, and not by triggers: a table that Alembic
rebuilds on SQLite loses its triggers and gives its rows new numbers, and FTS5 would go silently empty.

FTS5 keeps the text once more. Reading ours instead, it would have to be told what it knew in order to forget it, and
would call the file damaged where it knew something else: nobody could be renamed any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import (
    Integer,
    Select,
    String,
    TextualSelect,
    bindparam,
    column,
    delete,
    func,
    insert,
    select,
    table,
    text,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from denizen.core.database import Reader
from denizen.core.statements import ManyRows, Statement, encode_rows
from denizen.core.types import UtcDateTime, Uuid
from denizen.core.words import search_text
from denizen.search.models import FOUND_BY, INDEX, ON_POSTGRESQL, TO_BUILD, TRIGRAMS, WHAT_IS_BUILT, SearchEntry

Found = tuple[str, str]
"""An account's id, as text, and the text that it is to be found by."""


_LEARN: Final = text("INSERT OR REPLACE INTO denizen_search_index (rowid, text) VALUES (:number, :text)")
_FORGET: Final = text("DELETE FROM denizen_search_index WHERE rowid = :number")
_BY_USER: Final = select(SearchEntry.number, SearchEntry.text).where(SearchEntry.user_id == bindparam("user_id"))


async def _on_sqlite(db: AsyncSession) -> bool:
    return (await db.connection()).dialect.name == "sqlite"


# --- One account --------------------------------------------------------------------------------------


async def create_entry(db: AsyncSession, user_id: UUID, *names: str | None) -> None:
    """Index a new account by its names."""
    found_by = search_text(*names)
    new = insert(SearchEntry).values(user_id=user_id, text=found_by).returning(SearchEntry.number)
    number = (await db.execute(new)).scalar_one()
    if await _on_sqlite(db):
        await db.execute(_LEARN, {"number": number, "text": found_by})


async def update_entry(db: AsyncSession, user_id: UUID, *names: str | None) -> None:
    """Index an account by new names. One that had no entry gets one."""
    entry = (await db.execute(_BY_USER, {"user_id": user_id})).one_or_none()
    if entry is None:
        await create_entry(db, user_id, *names)
        return
    found_by = search_text(*names)
    if found_by == entry.text:
        return
    change = update(SearchEntry).where(SearchEntry.number == entry.number).values(text=found_by)
    if await _on_sqlite(db):
        await db.execute(_LEARN, {"number": entry.number, "text": found_by})
    await db.execute(change.execution_options(synchronize_session=False))


async def delete_entry(db: AsyncSession, user_id: UUID) -> None:
    """Let nobody find an account any more that stays."""
    gone = delete(SearchEntry).where(SearchEntry.user_id == user_id).returning(SearchEntry.number)
    number = (await db.execute(gone.execution_options(synchronize_session=False))).scalar_one_or_none()
    if await _on_sqlite(db):
        await forget_number(db, number)


async def get_number(db: AsyncSession, user_id: UUID) -> int | None:
    """Return what FTS5 has to be told to forget an account: its entry goes with the account. `None` on PostgreSQL."""
    if not await _on_sqlite(db):
        return None
    entry = (await db.execute(_BY_USER, {"user_id": user_id})).one_or_none()
    return None if entry is None else int(entry.number)


async def forget_number(db: AsyncSession, number: int | None) -> None:
    """Let FTS5 forget the entry of an account that was erased."""
    if number is not None:
        await db.execute(_FORGET, {"number": number})


# --- A batch of them ----------------------------------------------------------------------------------

_LAST: Final = text("SELECT coalesce(max(number), 0) FROM denizen_search")
_FILL: Final = text(
    "INSERT INTO denizen_search (user_id, text) SELECT CAST(entry ->> 0 AS uuid), entry ->> 1 "
    "FROM jsonb_array_elements(CAST(:entries AS jsonb)) AS entry"
)
_ENTRIES: Final = ManyRows("denizen_search (user_id, text)", 2)
_FORGET_BEHIND: Final = text("DELETE FROM denizen_search_index WHERE rowid > :last")
_LEARN_BEHIND: Final = text(
    "INSERT INTO denizen_search_index (rowid, text) SELECT number, text FROM denizen_search WHERE number > :last"
)


_MANY: Final = 500
_LET_WAIT: Final = text("SELECT set_config('gin_pending_list_limit', '4MB', true)")
_LET_WAIT_NO_MORE: Final = text("SET LOCAL gin_pending_list_limit TO DEFAULT")


async def _create_on_postgresql(db: AsyncSession, entries: Sequence[Found]) -> None:
    """Index new accounts; of many the trigrams wait for each other, and are sorted into the index many at once.

    In pieces of half a megabyte, as they are else (`core.postgresql.guarded`), that takes nearly twice as long. The
    last entry, for which little may wait again, brings the others in, so that searches find a short list.
    """
    if len(entries) >= _MANY:
        await db.execute(_LET_WAIT)
        await db.execute(_FILL, {"entries": encode_rows(entries[:-1])})
        await db.execute(_LET_WAIT_NO_MORE)
        entries = entries[-1:]
    await db.execute(_FILL, {"entries": encode_rows(entries)})


async def create_entries(db: AsyncSession, entries: Sequence[Found]) -> None:
    """Index new accounts, all in a few statements.

    Args:
        db: a writing session; it is not committed.
        entries: of accounts that have none yet.
    """
    if not entries:
        return
    if not await _on_sqlite(db):
        await _create_on_postgresql(db, entries)
        return
    last = (await db.execute(_LAST)).scalar_one()
    await _ENTRIES.store(db, entries)
    # What this transaction stored has the highest numbers, since nobody else writes meanwhile. FTS5 may know some of
    # these still, of accounts that somebody erased in the table alone.
    await db.execute(_FORGET_BEHIND, {"last": last})
    await db.execute(_LEARN_BEHIND, {"last": last})


_LEARN_NEW: Final = text(
    "INSERT OR REPLACE INTO denizen_search_index (rowid, text) SELECT s.number, s.text "
    "FROM json_each(:entries) AS e JOIN denizen_search AS s ON s.user_id = json_extract(e.value, '$[0]')"
)
_OVER: Final = " ON CONFLICT (user_id) DO UPDATE SET text = excluded.text WHERE denizen_search.text <> excluded.text"
_RENEW: Final = {  # over the accounts that are there: of a batch, one that was renamed may have been erased since
    "sqlite": text(
        "INSERT INTO denizen_search (user_id, text) SELECT u.id, json_extract(e.value, '$[1]') "
        "FROM json_each(:entries) AS e JOIN denizen_users AS u ON u.id = json_extract(e.value, '$[0]') "
        "WHERE u.deleted_at IS NULL" + _OVER
    ),
    "postgresql": text(
        "INSERT INTO denizen_search (user_id, text) SELECT u.id, entry ->> 1 "
        "FROM jsonb_array_elements(CAST(:entries AS jsonb)) AS entry "
        "JOIN denizen_users AS u ON u.id = CAST(entry ->> 0 AS uuid) WHERE u.deleted_at IS NULL" + _OVER
    ),
}


async def update_entries(db: AsyncSession, entries: Sequence[Found]) -> None:
    """Index accounts by new names, each account once; those that have no entry get one, those that are gone none.

    Args:
        db: a writing session; it is not committed.
        entries: what they are to be.
    """
    if not entries:
        return
    dialect = (await db.connection()).dialect.name
    told = {"entries": encode_rows(entries)}
    await db.execute(_RENEW[dialect], told)
    if dialect == "sqlite":
        await db.execute(_LEARN_NEW, told)


# --- Finding ------------------------------------------------------------------------------------------

POOL: Final = 1_000
"""Of all that match so many are ranked, the accounts first created first; and so many are found at most."""

_BEGINNINGS: Final = 100
"""So many names that begin with what is asked for are ranked beside these, in the order of the alphabet."""

_MATCHES: Final = {
    "sqlite": """
        SELECT s.user_id AS user_id, s.text AS text, 2 AS place
        FROM denizen_search_index AS i JOIN denizen_search AS s ON s.number = i.rowid
        WHERE i.denizen_search_index MATCH :match{conditions} LIMIT {pool}
    """,
    "postgresql": """
        SELECT s.user_id AS user_id, s.text AS text, 2 AS place FROM denizen_search AS s
        WHERE true{conditions} LIMIT {pool}
    """,
}
"""Those with every word, wherever in them. FTS5 finds texts with all trigrams of the words, and the conditions those
with the words; under pg_trgm the conditions do both."""

_CONTAINS: Final = {"sqlite": "instr({text}, {part}) > 0", "postgresql": "strpos({text}, {part}) > 0"}

_EXACTLY: Final = """
    SELECT id AS user_id, 0 AS place FROM denizen_users WHERE email_key = :email AND deleted_at IS NULL
    UNION ALL SELECT id, 0 FROM denizen_users WHERE username_key = :name AND deleted_at IS NULL
    UNION ALL SELECT id, 0 FROM denizen_users WHERE external_id = :exactly AND deleted_at IS NULL
"""

_BEGINNING: Final = """
    UNION ALL SELECT * FROM (
        SELECT id, 1 FROM denizen_users WHERE {column} >= :{name} AND {column} < :{name}_end AND deleted_at IS NULL
        ORDER BY {column} LIMIT {most}
    ) AS {column}
"""

_RANKED: Final = """
WITH matching AS MATERIALIZED ({matches}), named AS MATERIALIZED ({named}), found AS (
    SELECT user_id, min(place) AS place, max(text) AS text FROM (
        SELECT user_id, place, text FROM matching
        UNION ALL
        SELECT n.user_id, n.place, s.text FROM named AS n LEFT JOIN denizen_search AS s ON s.user_id = n.user_id
    ) AS candidates GROUP BY user_id
)
SELECT user_id, row_number() OVER ranked AS rank, count(*) OVER () AS total FROM found
WINDOW ranked AS (ORDER BY place, {score}, length(text), user_id) ORDER BY rank LIMIT :limit
"""
"""Whoever has exactly this name, then whose name begins with it, then the others: those with more of the words whole,
then at the beginning of one, and with fewer words besides.

Both parts are fenced: PostgreSQL would otherwise walk the accounts in the order wanted and compare each."""


@lru_cache(maxsize=64)
def ranked(dialect: str, words: int, *, trigrams: bool = True) -> TextualSelect:
    """Build the statement that finds accounts: `user_id`, `rank` from 1, and how many were found in all, `total`.

    Args:
        dialect: of the database.
        words: how many are asked for; the parameters are those of `Question.values`.
        trigrams: whether there is an index of them; without it names are found by their beginnings alone.
    """
    contains = _CONTAINS[dialect]
    has_part = "s.text LIKE {part}" if dialect == "postgresql" else contains  # pg_trgm serves LIKE
    conditions = "".join(f" AND {has_part.format(text='s.text', part=f':part_{n}')}" for n in range(words))
    score = " + ".join(
        f"CASE WHEN {contains.format(text='text', part=f':whole_{n}')} THEN 0 "
        f"WHEN {contains.format(text='text', part=f':begins_{n}')} THEN 1 ELSE 2 END"
        for n in range(words)
    )
    most = _BEGINNINGS if trigrams else POOL + 1
    beginnings = [("username_key", "name"), ("email_key", "email"), *([] if trigrams else [("external_id", "exactly")])]
    named = _EXACTLY + "".join(_BEGINNING.format(column=column, name=name, most=most) for column, name in beginnings)
    nothing = "SELECT user_id, text, 2 AS place FROM denizen_search WHERE false"
    matches = _MATCHES[dialect].format(conditions=conditions, pool=POOL + 1) if trigrams else nothing
    return text(_RANKED.format(matches=matches, named=named, score=score)).columns(
        user_id=Uuid, rank=Integer, total=Integer
    )


_HAS_TRIGRAMS: Final = Statement(
    text("SELECT count(*) FROM pg_catalog.pg_index WHERE indexrelid = to_regclass(:name) AND indisvalid").columns(
        n=Integer
    )
)


async def has_trigrams(reads: Reader) -> bool:
    """Tell whether there is an index of trigrams: always on SQLite; on PostgreSQL where its extension is."""
    if reads.kind == "sqlite":
        return True
    return bool((await reads.rows(_HAS_TRIGRAMS, name=TRIGRAMS))[0][0])


# --- Looking after it ---------------------------------------------------------------------------------

_USERS: Final = table(
    "denizen_users",
    column("id", Uuid),
    column("updated_at", UtcDateTime),
    column("deleted_at", UtcDateTime),
    *(column(name, String) for name in FOUND_BY),
)
"""As much of the accounts as the index is made of; the model is of a room above this one."""

_KNOWN: Final = table(INDEX, column("rowid", Integer), column("text", String))

_WALK: Final = (
    select(*(_USERS.c[name] for name in ("id", *FOUND_BY)), SearchEntry.number, SearchEntry.text)
    .select_from(_USERS.outerjoin(SearchEntry.__table__, SearchEntry.user_id == _USERS.c.id))
    .where(_USERS.c.deleted_at.is_(None))
    .limit(bindparam("limit", type_=Integer))
)
_WALK_ON: Final = {
    "postgresql": _WALK.add_columns(SearchEntry.text),
    "sqlite": _WALK.add_columns(_KNOWN.c.text).outerjoin(_KNOWN, _KNOWN.c.rowid == SearchEntry.number),
}


class Walked(NamedTuple):
    """One account, and what the index has of it.

    Attributes:
        user_id: whose.
        expected: the text that it should be found by.
        number, text: of its entry; `None` where there is none.
        known: the text that FTS5 has, which is the entry's on PostgreSQL.
    """

    user_id: UUID
    expected: str
    number: int | None
    text: str | None
    known: str | None

    @property
    def is_right(self) -> bool:
        """Whether the account is found by the names it has."""
        return self.number is not None and self.text == self.known == self.expected


async def walk_entries(db: AsyncSession, *, after: UUID | None, limit: int, lock: bool = False) -> list[Walked]:
    """Return the next accounts in the order of their ids, each with its entry.

    Args:
        db: any session; one that writes for `lock`.
        after: the account behind which to begin.
        limit: how many at most.
        lock: let nobody change these accounts before the transaction ends.
    """
    query = _WALK_ON[(await db.connection()).dialect.name].order_by(_USERS.c.id)
    if after is not None:
        query = query.where(_USERS.c.id > after)
    return await _walk(db, query.with_for_update(of=_USERS) if lock else query, limit)


async def walk_changed(db: AsyncSession, *, limit: int) -> list[Walked]:
    """Return the accounts that were changed last, each with its entry."""
    query = _WALK_ON[(await db.connection()).dialect.name]
    return await _walk(db, query.order_by(_USERS.c.updated_at.desc(), _USERS.c.id.desc()), limit)


async def _walk(db: AsyncSession, query: Select[*tuple[Any, ...]], limit: int) -> list[Walked]:
    return [Walked(row[0], search_text(*row[1:5]), *row[5:]) for row in await db.execute(query, {"limit": limit})]


async def count_missing(db: AsyncSession) -> int:
    """Count the accounts without an entry."""
    accounts = select(func.count()).select_from(_USERS).where(_USERS.c.deleted_at.is_(None)).scalar_subquery()
    entries = select(func.count()).select_from(SearchEntry).scalar_subquery()
    return int((await db.execute(select(accounts - entries))).scalar_one())


_ORPHANS: Final = "FROM denizen_search_index WHERE rowid NOT IN (SELECT number FROM denizen_search)"


async def count_orphans(db: AsyncSession) -> int:
    """Count what FTS5 has of accounts that are gone: somebody erased them in the table alone. 0 on PostgreSQL."""
    if not await _on_sqlite(db):
        return 0
    return int((await db.execute(text(f"SELECT count(*) {_ORPHANS}"))).scalar_one())


async def delete_orphans(db: AsyncSession) -> None:
    """Let FTS5 forget accounts that are gone: their names are to be nowhere."""
    if await _on_sqlite(db):
        await db.execute(text(f"DELETE {_ORPHANS}"))


async def create_extension(db: AsyncSession) -> None:
    """Make the extension on PostgreSQL, where the role may, and wait for whoever builds an index of the table now."""
    # For as long as the transaction may take: who builds one is waited for, not given up on.
    for statement in ("SET LOCAL lock_timeout = 0", ON_POSTGRESQL[0], WHAT_IS_BUILT):
        await db.execute(text(statement))


async def create_trigrams(connection: AsyncConnection) -> None:
    """Make the index of trigrams on PostgreSQL, outside of any transaction; nothing where its extension is not."""
    for statement in (await connection.scalars(text(TO_BUILD))).all():
        await connection.exec_driver_sql(statement)


async def refresh_statistics(db: AsyncSession) -> None:
    """Let PostgreSQL look at the table as it is now. Until it does so by itself, it plans as for an empty one."""
    if not await _on_sqlite(db):
        await db.execute(text("ANALYZE denizen_search"))
