"""Wrong guesses are counted for an account as a whole, slow whoever goes on, and are forgotten."""

from __future__ import annotations

import asyncio

import pytest

from denizen.core.accounts import Accounts
from denizen.core.errors import TooMany
from denizen.limits.service import may_guess, right_guess, wrong_guess
from tests.conftest import Clock

HERE, THERE = "192.0.2.1", "198.51.100.7"
FREE = 10


async def guess_wrong(accounts: Accounts, address: str | None = HERE, *, who: str = "user 1") -> int:
    """Guess wrong; give the seconds to wait, 0 for none."""
    try:
        await may_guess(accounts, who, address)
        await wrong_guess(accounts, who, address)
    except TooMany as error:
        return error.retry_after or 0
    return 0


async def guess_right(accounts: Accounts, address: str | None = HERE, *, who: str = "user 1") -> int:
    try:
        await may_guess(accounts, who, address)
        async with accounts.writing() as db:
            await right_guess(accounts, db, who, address)
    except TooMany as error:
        return error.retry_after or 0
    return 0


async def use_up(accounts: Accounts, address: str | None = THERE) -> None:
    for _ in range(FREE):
        assert await guess_wrong(accounts, address) == 0
    assert await guess_wrong(accounts, address) == 1


async def test_free_guesses_then_each_waits_twice_as_long(accounts: Accounts, clock: Clock) -> None:
    await use_up(accounts)

    waits = []
    for _ in range(14):
        wait = await guess_wrong(accounts)
        clock.turn(seconds=wait)
        waits.append(wait)
        assert await guess_wrong(accounts) == 0

    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900, 900]


async def test_one_count_for_all_addresses_and_one_account(accounts: Accounts) -> None:
    for number in range(FREE):
        assert await guess_wrong(accounts, f"192.0.2.{number}") == 0

    assert await guess_wrong(accounts, THERE) == 1
    assert await guess_right(accounts, THERE) == 1
    assert await guess_wrong(accounts, THERE, who="user 2") == 0


async def test_right_guess_forgets_the_wrong_ones(accounts: Accounts, clock: Clock) -> None:
    await use_up(accounts)
    clock.turn(seconds=1)

    assert await guess_right(accounts, THERE) == 0

    await use_up(accounts)


@pytest.mark.slow
async def test_owner_gets_in_from_where_he_is_known_while_a_stranger_hammers(accounts: Accounts, clock: Clock) -> None:
    """The owner is not locked out by a stranger for ever."""
    await guess_right(accounts, HERE)
    for _ in range(40):
        clock.turn(seconds=await guess_wrong(accounts, THERE))

    assert await guess_wrong(accounts, THERE) > 500
    assert await guess_right(accounts, THERE) > 500
    for _ in range(FREE - 1):
        assert await guess_wrong(accounts, HERE) == 0
    assert await guess_right(accounts, HERE) == 0
    assert await guess_wrong(accounts, THERE) > 500  # which tells the stranger nothing, and does not help him

    clock.turn(days=91)
    await use_up(accounts, THERE)
    assert await guess_right(accounts, HERE) == 1


async def test_known_address_does_not_guess_for_ever(accounts: Accounts) -> None:
    await guess_right(accounts, HERE)

    await use_up(accounts, HERE)

    assert await guess_right(accounts, HERE) == 1
    assert await guess_right(accounts, THERE) == 0


async def test_forgotten_a_day_after_the_last_wait(accounts: Accounts, clock: Clock) -> None:
    await use_up(accounts)

    clock.turn(days=1, seconds=1)

    await use_up(accounts)


async def test_clock_that_goes_back_keeps_nobody_out(accounts: Accounts, clock: Clock) -> None:
    """R14: limits expire, whatever the clock does."""
    await use_up(accounts)

    clock.turn(days=-700)

    await use_up(accounts)


@pytest.mark.parametrize("known", [False, True])
async def test_parallel_wrong_guesses_get_no_more_answers_than_are_free(accounts: Accounts, known: bool) -> None:
    if known:
        await guess_right(accounts)

    async def complete() -> bool:
        try:
            await wrong_guess(accounts, "user 1", HERE)
        except TooMany:
            return False
        return True

    # All were let through to be looked at before the first was found to be wrong.
    answered = await asyncio.gather(*(complete() for _ in range(30)))

    assert sum(answered) == FREE
    with pytest.raises(TooMany):
        async with accounts.writing() as db:
            await right_guess(accounts, db, "user 1", HERE)


async def test_parallel_right_guesses_all_pass(accounts: Accounts) -> None:
    assert set(await asyncio.gather(*(guess_right(accounts) for _ in range(20)))) == {0}


class TestRates:
    @pytest.fixture
    def overrides(self) -> dict[str, object]:
        return {"sign_in_rate_per_address": 5, "sign_in_rate_total": 8}

    async def test_failures_of_one_address_and_of_all_are_limited(self, accounts: Accounts, clock: Clock) -> None:
        await guess_right(accounts, HERE)
        for number in range(5):
            assert await guess_wrong(accounts, "2001:db8::1", who=f"user {number}") == 0

        assert await guess_wrong(accounts, "2001:db8::ffff:1", who="user 9") == 12  # the same /64
        for number in range(3):
            assert await guess_wrong(accounts, THERE, who=f"user {number}") == 0
        assert await guess_wrong(accounts, "203.0.113.9", who="user 9") == 8
        assert await guess_right(accounts, HERE) == 0  # from where he is known

        clock.turn(minutes=1)
        assert await guess_wrong(accounts, "2001:db8::1", who="user 9") == 0
