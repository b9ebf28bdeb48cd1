"""Every SQL statement of the search index.

The index is written by whoever writes accounts, in the same transaction, and not by triggers: a table that Alembic
rebuilds on SQLite loses its triggers and gives its rows new numbers, and FTS5 would go silently empty.

FTS5 keeps no text of its own here: it reads `denizen_search` by number, and to forget an entry it has to be told the
text it knew.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import bindparam, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.words import search_text
from denizen.search.models import SearchEntry


class Entry(NamedTuple):
    """One entry of the index.

    Attributes:
        number: its own.
        text: the words that the account is found by; see `core.words.search_text`.
    """

    number: int
    text: str


Found = tuple[str, str]
"""An account's id, as text, and the text that it is to be found by."""


_LEARN: Final = text("INSERT INTO denizen_search_index (rowid, text) VALUES (:number, :text)")
_FORGET: Final = text(
    "INSERT INTO denizen_search_index (denizen_search_index, rowid, text) VALUES ('delete', :number, :text)"
)
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
        await db.execute(_FORGET, {"number": entry.number, "text": entry.text})
        await db.execute(_LEARN, {"number": entry.number, "text": found_by})
    await db.execute(change.execution_options(synchronize_session=False))


async def get_entry(db: AsyncSession, user_id: UUID) -> Entry | None:
    """Return what FTS5 has to be told to forget an account: its entry goes with the account. `None` on PostgreSQL."""
    if not await _on_sqlite(db):
        return None
    found = (await db.execute(_BY_USER, {"user_id": user_id})).one_or_none()
    return None if found is None else Entry(*found)


async def forget_entry(db: AsyncSession, entry: Entry | None) -> None:
    """Let FTS5 forget the entry of an account that was erased."""
    if entry is not None:
        await db.execute(_FORGET, entry._asdict())


# --- A batch of them ----------------------------------------------------------------------------------

_encode: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

_LAST: Final = text("SELECT coalesce(max(number), 0) FROM denizen_search")
_FILL: Final = {
    "sqlite": text(
        "INSERT INTO denizen_search (user_id, text) SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') "
        "FROM json_each(:entries)"
    ),
    "postgresql": text(
        "INSERT INTO denizen_search (user_id, text) SELECT CAST(entry ->> 0 AS uuid), entry ->> 1 "
        "FROM jsonb_array_elements(CAST(:entries AS jsonb)) AS entry"
    ),
}
_LEARN_BEHIND: Final = text(
    "INSERT INTO denizen_search_index (rowid, text) SELECT number, text FROM denizen_search WHERE number > :last"
)


async def create_entries(db: AsyncSession, entries: Sequence[Found]) -> None:
    """Index new accounts, all in two statements.

    Args:
        db: a writing session; it is not committed.
        entries: of accounts that have none yet.
    """
    if not entries:
        return
    dialect = (await db.connection()).dialect.name
    last = (await db.execute(_LAST)).scalar_one() if dialect == "sqlite" else 0
    await db.execute(_FILL[dialect], {"entries": _encode(entries)})
    if dialect == "sqlite":
        # What this transaction stored has the highest numbers, since nobody else writes meanwhile.
        await db.execute(_LEARN_BEHIND, {"last": last})


_FORGET_OLD: Final = text(
    "INSERT INTO denizen_search_index (denizen_search_index, rowid, text) SELECT 'delete', s.number, s.text "
    "FROM json_each(:entries) AS e JOIN denizen_search AS s ON s.user_id = json_extract(e.value, '$[0]')"
)
_LEARN_NEW: Final = text(
    "INSERT INTO denizen_search_index (rowid, text) SELECT s.number, s.text "
    "FROM json_each(:entries) AS e JOIN denizen_search AS s ON s.user_id = json_extract(e.value, '$[0]')"
)
_RENEW: Final = {
    "sqlite": text(
        "UPDATE denizen_search SET text = json_extract(e.value, '$[1]') FROM json_each(:entries) AS e "
        "WHERE user_id = json_extract(e.value, '$[0]')"
    ),
    "postgresql": text(
        "UPDATE denizen_search SET text = entry ->> 1 FROM jsonb_array_elements(CAST(:entries AS jsonb)) AS entry "
        "WHERE user_id = CAST(entry ->> 0 AS uuid) AND text <> entry ->> 1"
    ),
}


async def update_entries(db: AsyncSession, entries: Sequence[Found]) -> None:
    """Index accounts by new names, each account once.

    Args:
        db: a writing session; it is not committed.
        entries: of accounts that have one; what has none is left to `denizen search rebuild`.
    """
    if not entries:
        return
    dialect = (await db.connection()).dialect.name
    told = {"entries": _encode(entries)}
    if dialect == "sqlite":
        await db.execute(_FORGET_OLD, told)
    await db.execute(_RENEW[dialect], told)
    if dialect == "sqlite":
        await db.execute(_LEARN_NEW, told)
