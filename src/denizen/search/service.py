"""Acts on the search index: understanding a question, and looking whether the index is what it should be."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from uuid import UUID

from denizen.core.accounts import Accounts
from denizen.core.database import Database
from denizen.core.identifiers import email_key
from denizen.core.words import part_of_text, trigrams_of, words_of
from denizen.search import crud
from denizen.search.errors import SearchInvalid

MAX_SEARCH_LENGTH: Final = 200
"""Characters of a question; no name that is looked for has more."""

MAX_WORDS: Final = 8
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
        SearchInvalid: no letter and no digit in it, or too many words.
    """
    words = words_of(asked)
    if not words:
        raise SearchInvalid("There is nothing to search for: type a letter or a digit.", field="q")
    if len(words) > MAX_WORDS:
        raise SearchInvalid(f"A search has at most {MAX_WORDS} words.", field="q")
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
"""For one transaction; all but the last one take a fraction of a second."""


@dataclass(slots=True)
class Health:
    """How the index stands to the accounts.

    Attributes:
        trigrams: whether there is an index of them; without it names are found by their beginnings alone.
        missing: accounts without an entry.
        stale: accounts whose entry is of names they do not have any more.
        unknown: entries that FTS5 does not know.
        looked_at: at how many accounts was looked.
    """

    trigrams: bool = True
    missing: int = 0
    stale: int = 0
    unknown: int = 0
    looked_at: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether everybody is found by the names they have."""
        return not (self.missing or self.stale or self.unknown)

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


async def count_accounts(database: Database) -> tuple[bool, int]:
    """Tell whether there is an index of trigrams, and how many accounts have no entry: without looking at each."""
    async with database.read.slow() as db:
        return await crud.has_trigrams(database.read), await crud.count_missing(db)


async def check_index(database: Database, told: Callable[[int], object] = int, *, most: int | None = None) -> Health:
    """Compare accounts with their entries, in short reads, in the order of their creation.

    Args:
        database: to look at.
        told: is told, after each batch, how many it had.
        most: look at no more than about so many; all by default.
    """
    health = Health(trigrams=await crud.has_trigrams(database.read))
    after: UUID | None = None
    while most is None or health.looked_at < most:
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
    if accounts.database.kind == "postgresql":
        async with accounts.writing(timeout=_WRITE_SECONDS) as db:
            await crud.create_trigrams(db)
    health = Health(trigrams=await crud.has_trigrams(accounts.database.read))
    after: UUID | None = None
    while True:
        walked = await _mend_batch(accounts, after, health)
        told(len(walked))
        if len(walked) < BATCH:
            break
        after = walked[-1].user_id
    async with accounts.writing(timeout=_WRITE_SECONDS) as db:
        await crud.refresh_statistics(db)
    return health


async def _mend_batch(accounts: Accounts, after: UUID | None, health: Health) -> list[crud.Walked]:
    async with accounts.database.read.slow() as db:
        walked = await crud.walk_entries(db, after=after, limit=BATCH)
    health.add(walked)
    if all(each.is_right for each in walked):
        return walked
    async with accounts.writing(timeout=_WRITE_SECONDS) as db:
        # Once more, now that nobody else changes them.
        walked = await crud.walk_entries(db, after=after, limit=BATCH, lock=True)
        await crud.create_entries(db, [(str(each.user_id), each.expected) for each in walked if each.number is None])
        stale = [each for each in walked if each.number is not None and not each.is_right]
        await crud.update_entries(db, [(str(each.user_id), each.expected) for each in stale])
    return walked
