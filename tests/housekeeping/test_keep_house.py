"""What has expired is deleted, by one process of all, without keeping anybody waiting."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.accounts import Accounts, utc_now
from denizen.core.assembly import assemble
from denizen.core.errors import Unavailable
from denizen.core.feature import Cleaner
from denizen.core.hashers import NullHasher
from denizen.core.ids import new_id
from denizen.features import FEATURES
from denizen.housekeeping import service
from denizen.housekeeping.crud import find_lease, take_lease
from denizen.housekeeping.models import Lease
from denizen.housekeeping.service import LEASE, LEASE_NAME, clean_all, keep_house
from denizen.mail.models import Mail
from denizen.settings import Settings
from tests.conftest import Clock


@pytest.fixture
async def accounts(settings: Settings, clock: Clock) -> AsyncIterator[Accounts]:
    """A process's install, whose jobs do not run by themselves."""
    accounts = assemble(settings, FEATURES, hasher=NullHasher(), clock=clock)
    yield accounts
    await accounts.close()


@pytest.fixture
async def other(settings: Settings, clock: Clock) -> AsyncIterator[Accounts]:
    """Another process's."""
    accounts = assemble(settings, FEATURES, hasher=NullHasher(), clock=clock)
    yield accounts
    await accounts.close()


async def fill(accounts: Accounts, count: int) -> None:
    """Store mails that were sent long ago."""
    at = accounts.clock() - timedelta(days=31)
    values = {"template": "test", "address": "ada@example.org", "state": "sent", "attempts": 1}
    times = dict.fromkeys(("created_at", "next_attempt_at", "give_up_at", "sent_at"), at)
    async with accounts.writing() as db:
        await db.execute(insert(Mail), [{"id": new_id(), **values, **times} for _ in range(count)])


async def left(accounts: Accounts) -> int:
    async with accounts.database.read.session() as db:
        return (await db.execute(select(func.count()).select_from(Mail))).scalar_one()


def cleaner_of(accounts: Accounts, cleaner: Any, name: str = "toys") -> None:
    accounts.cleaners = (*accounts.cleaners, Cleaner(name, cleaner))


async def test_everything_old_is_deleted_in_batches(accounts: Accounts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "BATCH", 20)
    await fill(accounts, 50)
    batches: list[str] = []
    accounts.meters.append(lambda what, kind, number: batches.append(f"{what} {kind} {number:g}"))

    await keep_house(accounts)

    assert await left(accounts) == 0
    assert batches == ["cleaned old mails 20", "cleaned old mails 20", "cleaned old mails 10"]


async def test_of_two_processes_one_keeps_house(accounts: Accounts, other: Accounts) -> None:
    """R18: two processes on one database agree on who does it."""
    await keep_house(accounts)
    await fill(accounts, 1)
    await keep_house(other)
    assert await left(accounts) == 1

    await keep_house(accounts)
    assert await left(accounts) == 0
    held = await find_lease(other.database.read, LEASE_NAME)
    assert held == (accounts.process, accounts.clock() + LEASE)


async def test_of_many_that_begin_at_once_one_gets_the_lease(accounts: Accounts, other: Accounts) -> None:
    at = accounts.clock()

    async def take(of: Accounts) -> bool:
        async with of.writing() as db:
            return await take_lease(db, "x", new_id(), at=at, until=at + LEASE, beyond=at + 2 * LEASE)

    assert sum(await asyncio.gather(*(take(each) for each in (accounts, other) * 5))) == 1


async def test_when_the_lease_runs_out_another_goes_on(accounts: Accounts, other: Accounts, clock: Clock) -> None:
    """As after kill -9: nobody gives it back."""
    await keep_house(accounts)
    await fill(accounts, 1)
    clock.turn(seconds=LEASE.total_seconds() - 1)
    await keep_house(other)
    assert await left(accounts) == 1

    clock.turn(seconds=1)
    await keep_house(other)
    assert await left(accounts) == 0
    await fill(accounts, 1)
    await keep_house(accounts)
    assert await left(accounts) == 1  # whoever comes back has lost it


async def test_a_lease_of_a_clock_that_was_ahead_is_over(accounts: Accounts, other: Accounts, clock: Clock) -> None:
    """R14: the clock jumps, and the house is kept all the same."""
    clock.turn(days=400)
    await keep_house(accounts)
    clock.turn(days=-400)
    await fill(other, 1)

    await keep_house(other)

    assert await left(other) == 0


async def test_who_does_not_have_the_lease_takes_no_write_lock(accounts: Accounts, other: Accounts) -> None:
    await keep_house(accounts)
    ran: list[str] = []
    other.database.observers.append(ran.append)

    await keep_house(other)

    assert len(ran) == 1
    assert ran[0].startswith("SELECT")


async def test_switched_off_it_does_nothing(accounts: Accounts, settings: Settings) -> None:
    accounts.settings = settings.model_copy(update={"housekeeping": False})
    await fill(accounts, 1)
    ran: list[str] = []
    accounts.database.observers.append(ran.append)

    await keep_house(accounts)

    assert ran == []
    assert (await clean_all(accounts))["old mails"] == 1  # by hand it does


async def test_a_run_ends_after_a_while_and_the_next_goes_on(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    async def endless(accounts: Accounts, db: AsyncSession, at: datetime, limit: int) -> int:
        nonlocal calls
        calls += 1
        return limit

    monkeypatch.setattr(service, "RUN_SECONDS", 0.2)
    cleaner_of(accounts, endless)
    await fill(accounts, 3)

    await keep_house(accounts)

    assert 1 < calls < 100
    assert await left(accounts) == 0  # the largest table keeps none of the others waiting
    await keep_house(accounts)


async def test_who_loses_the_lease_stops(
    accounts: Accounts, other: Accounts, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lose(accounts: Accounts, db: AsyncSession, at: datetime, limit: int) -> int:
        return 1

    monkeypatch.setattr(service, "LEASE", timedelta(milliseconds=30))  # prolonged every 10
    cleaner_of(accounts, lose)
    running = asyncio.create_task(keep_house(accounts))
    await asyncio.sleep(0.1)
    async with other.writing() as db:  # as if it had run out
        stolen = {"holder": other.process, "until": clock() + timedelta(milliseconds=50)}
        await db.execute(update(Lease).where(Lease.name == LEASE_NAME).values(**stolen))

    await asyncio.wait_for(running, service.RUN_SECONDS / 2)


async def test_a_cleaner_that_fails_leaves_the_others_alone(
    accounts: Accounts, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(accounts: Accounts, db: AsyncSession, at: datetime, limit: int) -> int:
        raise RuntimeError("broken")

    accounts.cleaners = (Cleaner("toys", fail), *accounts.cleaners)
    await fill(accounts, 3)

    deleted = await clean_all(accounts)

    assert (deleted["toys"], deleted["old mails"]) == (0, 3)
    assert "cleaning_failed" in caplog.text


async def test_a_batch_that_takes_too_long_is_made_smaller(accounts: Accounts) -> None:
    rows = 100

    async def slow(accounts: Accounts, db: AsyncSession, at: datetime, limit: int) -> int:
        nonlocal rows
        if limit > 50:
            raise Unavailable("This took too long.")
        number = min(rows, limit)
        rows -= number
        return number

    cleaner_of(accounts, slow)

    assert (await clean_all(accounts))["toys"] == 100


@pytest.mark.slow
async def test_after_a_kill_another_process_goes_on(accounts: Accounts, settings: Settings, tmp_path: Path) -> None:
    """kill -9 of whoever keeps house, in the middle of it."""
    script = (
        "import asyncio, sys\n"
        "from denizen.core.assembly import assemble\n"
        "from denizen.features import FEATURES\n"
        "from denizen.housekeeping import service\n"
        "from denizen.settings import Settings\n"
        "service.PAUSE_SECONDS = 60\n"
        "service.BATCH = 10\n"
        "asyncio.run(service.keep_house(assemble(Settings(), FEATURES)))\n"
    )
    environment = {f"DENIZEN_{name}": value for name, value in (
        ("DATABASE_URL", settings.database_url), ("SECRET_KEY", "kX7v2Qm9Lp4Zr8Tn3Wc6Yb1Hd5Gf0SaJe")
    )}  # fmt: skip
    accounts.clock = utc_now
    await fill(accounts, 100)
    with subprocess.Popen(  # noqa: ASYNC220  (killed, and waited for after that)
        [sys.executable, "-c", script], env=environment, cwd=tmp_path
    ) as process:
        while await left(accounts) == 100:  # noqa: ASYNC110  (it is another process that deletes)
            await asyncio.sleep(0.05)
        process.kill()
    remaining = await left(accounts)
    assert 0 < remaining < 100

    await keep_house(accounts)
    assert await left(accounts) == remaining  # not yet

    now = accounts.clock()
    accounts.clock = lambda: now + LEASE
    await keep_house(accounts)
    assert await left(accounts) == 0
