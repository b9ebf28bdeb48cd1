"""Rates kept in the database, alike for all processes."""

from __future__ import annotations

import asyncio

import pytest

from denizen.core.accounts import Accounts
from denizen.core.errors import TooMany
from denizen.limits.service import enforce_rate
from tests.conftest import Clock


async def take(accounts: Accounts, key: str = "a", *, most: int = 4, per: float = 60) -> int:
    """Take one; give the seconds to wait, 0 for none."""
    try:
        await enforce_rate(accounts, "test", key, most=most, per=per)
    except TooMany as error:
        return error.retry_after or 0
    return 0


async def test_so_many_at_once_then_one_each_interval(accounts: Accounts, clock: Clock) -> None:
    assert [await take(accounts) for _ in range(6)] == [0, 0, 0, 0, 15, 15]
    assert await take(accounts, "b") == 0

    clock.turn(seconds=14.9)
    assert await take(accounts) == 1
    clock.turn(seconds=0.1)
    assert [await take(accounts) for _ in range(2)] == [0, 15]
    clock.turn(hours=1)
    assert [await take(accounts) for _ in range(5)] == [0, 0, 0, 0, 15]


async def test_zero_is_no_limit(accounts: Accounts) -> None:
    assert {await take(accounts, most=0) for _ in range(9)} == {0}


async def test_odd_numbers_allow_all_there_are(accounts: Accounts) -> None:
    assert [await take(accounts, most=7, per=0.001) for _ in range(8)] == [0] * 7 + [1]


async def test_clock_that_goes_back_keeps_nobody_out(accounts: Accounts, clock: Clock) -> None:
    """R14: limits expire, whatever the clock does."""
    for _ in range(5):
        await take(accounts)

    clock.turn(days=-3)

    assert [await take(accounts) for _ in range(5)] == [0, 0, 0, 0, 15]


async def test_of_twenty_at_once_as_many_pass_as_may(accounts: Accounts) -> None:
    waits = await asyncio.gather(*(take(accounts) for _ in range(20)))

    assert waits.count(0) == 4


async def test_refusal_names_the_limit(accounts: Accounts) -> None:
    await enforce_rate(accounts, "test", "a", most=1, per=60)

    with pytest.raises(TooMany, match="too many letters") as caught:
        await enforce_rate(accounts, "test", "a", most=1, per=60, detail="too many letters")

    assert caught.value.quota is not None
    assert (caught.value.quota.name, caught.value.quota.most, caught.value.quota.per) == ("test", 1, 60)
