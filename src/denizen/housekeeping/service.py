"""Deleting what has expired, in small batches.

One process of all does it: whoever has the lease. It is prolonged while he is at it, and another takes it over once it
has run out. Should two be at it all the same, after a clock was set say, no harm is done: each batch skips what others
hold.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from denizen.core import logs
from denizen.core.accounts import Accounts
from denizen.core.errors import Unavailable
from denizen.core.feature import Cleaner
from denizen.housekeeping import crud

log = logs.logger(__name__)

LEASE_NAME: Final = "housekeeping"
LEASE: Final = timedelta(minutes=3)
"""Three times the pause between two runs: one that comes late does not lose it."""

BATCH: Final = 1000
RUN_SECONDS: Final = 20.0
"""For one run of the job; what is left then is the next one's."""

PAUSE_SECONDS: Final = 0.01
"""Between two batches, in which others write."""

Ask = Callable[[], Awaitable[bool]]


async def keep_house(accounts: Accounts) -> None:
    """Clean for a while, if this process has the lease or can have it."""
    if not accounts.settings.housekeeping or not accounts.cleaners:
        return
    held = await crud.find_lease(accounts.database.read, LEASE_NAME)
    if held is not None and not _is_free(held, accounts):
        return  # without the write lock, which the others would take once a minute for nothing
    if not await _take(accounts):
        return
    loop = asyncio.get_running_loop()
    ends = loop.time() + RUN_SECONDS
    prolonged = loop.time()

    async def may_go_on() -> bool:
        nonlocal prolonged
        if loop.time() - prolonged > LEASE.total_seconds() / 3:
            prolonged = loop.time()
            return await _take(accounts)
        return loop.time() < ends

    deleted = await clean_all(accounts, may_go_on=may_go_on)
    if any(deleted.values()):
        log.info("housekeeping", **{name.replace(" ", "_"): number for name, number in deleted.items() if number})


def _is_free(held: tuple[UUID, datetime], accounts: Accounts) -> bool:
    (holder, until), at = held, accounts.clock()
    return holder == accounts.process or until <= at or until > at + 2 * LEASE


async def _take(accounts: Accounts) -> bool:
    at = accounts.clock()
    async with accounts.writing() as db:
        return await crud.take_lease(db, LEASE_NAME, accounts.process, at=at, until=at + LEASE, beyond=at + 2 * LEASE)


async def clean_all(accounts: Accounts, *, may_go_on: Ask | None = None) -> dict[str, int]:
    """Let every cleaner delete a batch in turn, until none finds anything: no table waits for the largest.

    Args:
        accounts: whose.
        may_go_on: asked before each batch.

    Returns:
        How much each deleted. One that failed is logged, and left alone for this time.
    """
    deleted: dict[str, int] = {cleaner.name: 0 for cleaner in accounts.cleaners}
    working: list[Cleaner] = list(accounts.cleaners)
    while working:
        for cleaner in tuple(working):
            if may_go_on is not None and not await may_go_on():
                return deleted
            number = await _clean(accounts, cleaner)
            if not number:
                working.remove(cleaner)
                continue
            deleted[cleaner.name] += number
            accounts.count("cleaned", cleaner.name, number)
            await asyncio.sleep(PAUSE_SECONDS)
    return deleted


async def _clean(accounts: Accounts, cleaner: Cleaner) -> int:
    """Delete a batch; a smaller one where that takes longer than a transaction may."""
    for limit in (BATCH, max(1, BATCH // 20)):
        try:
            async with accounts.writing() as db:
                return await cleaner.run(accounts, db, accounts.clock(), limit)
        except Unavailable as error:
            log.warning("cleaning_put_off", cleaner=cleaner.name, rows=limit, reason=error.code)
        except Exception as error:  # noqa: BLE001  (one room's fault must not leave the others' tables growing)
            logs.report(log, "cleaning_failed", error, cleaner=cleaner.name)
            break
    return 0
