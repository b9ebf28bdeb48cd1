"""An export while others write: whoever is there all the time comes once."""

from __future__ import annotations

import json
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import delete, func, select, update

from denizen.core.accounts import Accounts
from denizen.core.errors import Unavailable
from denizen.directory.schemas import UserFilter
from denizen.transfer import crud
from denizen.transfer.service import export_users, plan_export
from denizen.users.models import User
from tests.transfer.conftest import crowd

COUNT = 400
CROWNS, QUOTES = "\U0001f451" * 1024, '"' * 200
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)


def somebody(chance: random.Random) -> User:
    """An account whose id and times are not of now, but among those of the others."""
    name = f"n{chance.getrandbits(60)}"
    at = NEW_YEAR + timedelta(seconds=chance.randrange(COUNT), microseconds=chance.randrange(COUNT))
    user = User(username=name, username_key=name, username_skeleton=name, created_at=at, updated_at=at)
    user.id = UUID(f"019a5c1e-7f00-7a11-8b22-{chance.randrange(COUNT):012x}")
    user.id = UUID(int=user.id.int - chance.getrandbits(40) * 2**70)
    return user


async def disturb(accounts: Accounts, chance: random.Random, *, moved_to: datetime | None = None) -> set[str]:
    """Erase some, add some among the others, and change some; gives the ids of those that were there before and are
    still there.
    """
    async with accounts.writing() as db:
        there = [str(each) for each in (await db.scalars(select(User.id))).all()]
        gone = set(chance.sample(there, 5))
        await db.execute(delete(User).where(User.id.in_(gone)))
        for _ in range(5):
            db.add(somebody(chance))
        if moved_to is not None:
            moved = chance.sample(sorted(set(there) - gone), 20)
            await db.execute(update(User).where(User.id.in_(moved)).values(updated_at=moved_to))
    return set(there) - gone


@pytest.mark.parametrize("filters", [{}, {"is_active": True}, {"created_at__gte": NEW_YEAR}])
async def test_who_is_there_all_the_time_comes_once(accounts: Accounts, filters: dict[str, Any]) -> None:
    await crowd(accounts, COUNT)
    chance, lines = random.Random(7), list[bytes]()
    extract = plan_export(UserFilter.model_validate(filters), "ndjson", with_hashes=False)
    async with accounts.database.read.session() as db:
        wanted = [User.is_active] if "is_active" in filters else []
        staying = {str(each) for each in (await db.scalars(select(User.id).where(*wanted))).all()}

    async for part in export_users(accounts.database, extract, size=30):
        lines += part.data.splitlines()
        staying &= await disturb(accounts, chance)

    came = Counter(json.loads(line)["id"] for line in lines)
    assert len(staying) > 200
    assert {came[each] for each in staying} == {1}
    assert came.most_common(1)[0][1] == 1


async def test_who_changes_meanwhile_comes_at_least_once_by_time_of_change(accounts: Accounts) -> None:
    await crowd(accounts, COUNT)
    chance, came = random.Random(7), Counter[str]()
    extract = plan_export(UserFilter(updated_at__gte=NEW_YEAR), "ndjson", with_hashes=False)
    async with accounts.database.read.session() as db:
        staying = {str(each) for each in (await db.scalars(select(User.id))).all()}

    rounds = 0
    async for part in export_users(accounts.database, extract, size=30):
        came.update(json.loads(line)["id"] for line in part.data.splitlines())
        if rounds < 40:
            staying &= await disturb(accounts, chance, moved_to=NEW_YEAR + timedelta(days=1, seconds=rounds))
        rounds += 1

    assert len(staying) > 150
    assert min(came[each] for each in staying) >= 1


async def test_part_that_others_fill_beyond_memory_is_told(accounts: Accounts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crud, "_MOST", 20)  # a limit of ours, which fifty thousand rows would meet as well
    await crowd(accounts, 100)
    extract = plan_export(UserFilter(), "csv", with_hashes=False)

    with pytest.raises(Unavailable, match="faster than they can be taken out"):
        _ = [part async for part in export_users(accounts.database, extract, size=30)]


async def test_export_that_is_closed_ends_its_reads(accounts: Accounts) -> None:
    await crowd(accounts, 500)
    parts = export_users(accounts.database, plan_export(UserFilter(), "csv", with_hashes=False), size=10)

    assert (await anext(parts)).rows == 10
    await parts.aclose()

    async with accounts.database.read.slow() as db:
        assert (await db.execute(select(func.count()).select_from(User))).scalar_one() == 500
    with pytest.raises(StopAsyncIteration):
        await anext(parts)


async def test_a_million_bytes_in_few_rows_come_whole(accounts: Accounts) -> None:
    async with accounts.writing() as db:
        for number in range(300):
            name = f"u{number}"
            user = User(
                username=name, username_key=name, username_skeleton=name, created_at=NEW_YEAR, updated_at=NEW_YEAR
            )
            user.full_name, user.external_id, user.hashed_password = "\x01" * 200, QUOTES + str(number), CROWNS
            db.add(user)
    extract = plan_export(UserFilter(), "ndjson", with_hashes=True)

    exported = b"".join([part.data async for part in export_users(accounts.database, extract)])

    rows = [json.loads(line) for line in exported.splitlines()]
    assert len(exported) > 1_000_000
    assert {row["hashed_password"] for row in rows} == {CROWNS}
    assert len({row["external_id"] for row in rows}) == 300
