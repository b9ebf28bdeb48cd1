"""Looking whether accounts are found by the own fields they have, and mending it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from denizen.core.accounts import Accounts
from denizen.core.database import Database
from denizen.profiles import crud

BATCH: Final = 2_000
_WRITE_SECONDS: Final = 600.0
"""For one transaction, which takes a fraction of a second once it has its turn."""


@dataclass(slots=True)
class Health:
    """How the side table stands to the accounts.

    Attributes:
        by_itself: whether the database keeps its index by itself, so that there is nothing to look at: PostgreSQL.
        stale: accounts that are found by other values than they have.
        looked_at: at how many accounts was looked.
    """

    by_itself: bool = False
    stale: int = 0
    looked_at: int = 0

    def add(self, walked: Sequence[crud.Walked]) -> None:
        """Count a batch."""
        self.stale += sum(not each.is_right for each in walked)
        self.looked_at += len(walked)


async def glance_at_values(database: Database, *, most: int) -> Health:
    """Count the values of all accounts, and compare those that were changed last: others have no reason to differ.

    Args:
        database: to look at.
        most: how many to compare.
    """
    if database.kind != "sqlite":
        return Health(by_itself=True)
    health = Health()
    async with database.read.slow() as db:
        health.add(await crud.walk_changed(db, limit=most))
        health.stale = health.stale or abs(await crud.count_missing(db))
    return health


async def check_values(database: Database, told: Callable[[int], object] = int) -> Health:
    """Compare every account with what it is found by, in short reads.

    Args:
        database: to look at.
        told: is told, after each batch, how many it had.
    """
    health, after = Health(by_itself=database.kind != "sqlite"), None
    while not health.by_itself:
        async with database.read.slow() as db:
            walked = await crud.walk_values(db, after=after, limit=BATCH)
        after = _next(health, walked, told)
        if after is None:
            break
    return health


async def rebuild_values(accounts: Accounts, told: Callable[[int], object] = int) -> Health:
    """Let every account be found by the values it has; what is right already is left.

    Each batch is a transaction of its own, so that others write in between.

    Args:
        accounts: where.
        told: is told, after each batch, how many accounts it had.

    Returns:
        What was found, and is mended now.
    """
    health, after = Health(by_itself=accounts.database.kind != "sqlite"), None
    while not health.by_itself:
        async with accounts.writing(timeout=_WRITE_SECONDS) as db:
            walked = await crud.walk_values(db, after=after, limit=BATCH)
            wrong = [(each.user_id, each.profile) for each in walked if not each.is_right]
            await crud.store_values(db, wrong, replace=True)
        after = _next(health, walked, told)
        if after is None:
            break
    return health


def _next(health: Health, walked: Sequence[crud.Walked], told: Callable[[int], object]) -> UUID | None:
    health.add(walked)
    told(len(walked))
    return walked[-1].user_id if len(walked) == BATCH else None
