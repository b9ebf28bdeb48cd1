"""Acts on the search index: understanding a question, and looking whether the index is what it should be."""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy.exc import ProgrammingError

from denizen.core.accounts import Accounts
from denizen.core.database import Database
from denizen.core.errors import Unavailable
from denizen.core.identifiers import email_key
from denizen.core.words import part_of_text, trigrams_of, words_of
from denizen.search import crud
from denizen.search.errors import SearchInvalid

MAX_WORDS: Final = 8
"""Of more the longest are looked for: they say most, and a distinguished name or an address may have a dozen."""
_LAST: Final = "\U0010ffff"
"""Behind every name that begins alike."""


class Question(NamedTuple):
    """What is looked for.

    Attributes:
        words: how many; the shape of the statement.
        values: its parameters.
    """

    words: int
    values: dict[str, Any]


def understand(asked: str, kind: str) -> Question:
    """Read what somebody typed.

    Args:
        asked: any text.
        kind: of the database.

    Raises:
        SearchInvalid: no letter and no digit in it.
    """
    words = words_of(asked)
    if not words:
        raise SearchInvalid("There is nothing to search for: type a letter or a digit.", field="q")
    words = sorted(words, key=len, reverse=True)[:MAX_WORDS]
    exactly = asked.strip()
    name = unicodedata.normalize("NFC", exactly).lower()
    email = email_key(exactly)
    values = {"exactly": exactly, "exactly_end": exactly + _LAST}
    values |= {"name": name, "name_end": name + _LAST, "email": email, "email_end": email + _LAST}
    for number, word in enumerate(words):
        part = part_of_text(word)
        values |= {
            f"part_{number}": f"%{part}%" if kind == "postgresql" else part,
            f"whole_{number}": f"  {word} ",
            f"begins_{number}": f"  {word}",
        }
    if kind == "sqlite":
        trigrams = dict.fromkeys(each for word in words for each in trigrams_of(word))
        values["match"] = " AND ".join(f'"{each}"' for each in trigrams)
    return Question(len(words), values)


# --- Looking after it ---------------------------------------------------------------------------------

BATCH: Final = 2_000
_WRITE_SECONDS: Final = 600.0
"""For one transaction; all but one that waits for others take a fraction of a second."""

_BUILD_SECONDS: Final = 3_600.0
"""For an index that is built beside those who write: it waits for everybody who began before, twice."""

_MAY_NOT: Final = frozenset({"42501", "42704"})
"""SQLSTATE of what a role is told that may not build it, or not use the schema of the extension."""

_TRIES: Final = 10


@dataclass(slots=True)
class Health:
    """How the index stands to the accounts.

    Attributes:
        trigrams: whether there is an index of them; without it names are found by their beginnings alone.
        missing: accounts without an entry.
        stale: accounts whose entry is of names they do not have any more.
        unknown: entries that FTS5 does not know.
        orphans: what FTS5 knows of accounts that are gone.
        looked_at: at how many accounts was looked.
    """

    trigrams: bool = True
    missing: int = 0
    stale: int = 0
    unknown: int = 0
    orphans: int = 0
    looked_at: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether everybody is found by the names they have, and nobody else is known."""
        return not (self.missing or self.stale or self.unknown or self.orphans)

    def add(self, walked: Sequence[crud.Walked]) -> None:
        """Count a batch."""
        for each in walked:
            if each.number is None:
                self.missing += 1
            elif each.text != each.expected:
                self.stale += 1
            elif each.known != each.expected:
                self.unknown += 1
        self.looked_at += len(walked)


async def glance_at_index(database: Database, *, most: int) -> Health:
    """Count the accounts without an entry, and compare those that were changed last: others have no reason to differ.

    Args:
        database: to look at.
        most: how many to compare.
    """
    health = Health(trigrams=await crud.has_trigrams(database.read))
    async with database.read.slow() as db:
        health.add(await crud.walk_changed(db, limit=most))
        health.missing = await crud.count_missing(db)
    return health


async def check_index(database: Database, told: Callable[[int], object] = int) -> Health:
    """Compare every account with its entry, in short reads.

    Args:
        database: to look at.
        told: is told, after each batch, how many it had.
    """
    health = Health(trigrams=await crud.has_trigrams(database.read))
    async with database.read.slow() as db:
        health.orphans = await crud.count_orphans(db)
    after: UUID | None = None
    while True:
        async with database.read.slow() as db:
            walked = await crud.walk_entries(db, after=after, limit=BATCH)
        health.add(walked)
        told(len(walked))
        if len(walked) < BATCH:
            break
        after = walked[-1].user_id
    return health


async def rebuild_index(accounts: Accounts, told: Callable[[int], object] = int) -> Health:
    """Give every account the entry it should have; what is right already is left.

    Each batch is a transaction of its own, so that others write in between, and a second run goes on where a first one
    was killed.

    Args:
        accounts: where.
        told: is told, after each batch, how many accounts it had.

    Returns:
        What was found, and is mended now but for an extension that may not be created.
    """
    if not await crud.has_trigrams(accounts.database.read):
        await _build_trigrams(accounts)
    health = Health(trigrams=await crud.has_trigrams(accounts.database.read))
    after: UUID | None = None
    while True:
        walked = await _mend_batch(accounts, after, health)
        told(len(walked))
        if len(walked) < BATCH:
            break
        after = walked[-1].user_id
    async with accounts.writing(timeout=_WRITE_SECONDS) as db:
        health.orphans = await crud.count_orphans(db)
        await crud.delete_orphans(db)
        await crud.refresh_statistics(db)
    return health


async def _build_trigrams(accounts: Accounts) -> None:
    """Make PostgreSQL's index of trigrams while others write; nothing where the role may not."""
    async with accounts.writing(timeout=_WRITE_SECONDS) as db:
        await crud.create_extension(db)
    if await crud.has_trigrams(accounts.database.read):
        return  # somebody else was building it
    try:
        async with accounts.database.write.alone(timeout=_BUILD_SECONDS) as connection:
            await crud.create_trigrams(connection)
    except ProgrammingError as error:
        if getattr(error.orig, "sqlstate", None) not in _MAY_NOT:
            raise


async def _mend_batch(accounts: Accounts, after: UUID | None, health: Health) -> list[crud.Walked]:
    async with accounts.database.read.slow() as db:
        walked = await crud.walk_entries(db, after=after, limit=BATCH)
    health.add(walked)
    if all(each.is_right for each in walked):
        return walked
    for tries_left in reversed(range(_TRIES)):
        try:
            async with accounts.writing(timeout=_WRITE_SECONDS) as db:
                # Once more, now that nobody else changes them.
                walked = await crud.walk_entries(db, after=after, limit=BATCH, lock=True)
                wrong = [(str(each.user_id), each.expected) for each in walked if not each.is_right]
                await crud.update_entries(db, wrong)
        except Unavailable:  # somebody holds one of them for longer than a statement waits
            if not tries_left:
                raise
            await asyncio.sleep(1.0)
        else:
            break
    return walked
