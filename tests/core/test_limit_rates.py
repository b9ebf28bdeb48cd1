"""Limits on how often: a burst, then a steady flow, for each key."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from denizen.core.errors import TooMany
from denizen.core.rates import LeakyRateLimiter, NullRateLimiter, RateLimiter, address_key, enforce

NOW = 1_800_000_000.25


def test_a_burst_passes_and_one_more_waits() -> None:
    limiter = LeakyRateLimiter(5, 60)

    assert [limiter.take("a", at=NOW) for _ in range(5)] == [None] * 5
    assert limiter.take("a", at=NOW) == pytest.approx(12)
    assert limiter.take("b", at=NOW) is None


def test_waiting_as_long_as_told_is_enough_for_one() -> None:
    limiter = LeakyRateLimiter(3, 10)
    for _ in range(3):
        limiter.take("a", at=NOW)
    wait = limiter.take("a", at=NOW)

    assert wait is not None
    assert limiter.take("a", at=NOW + wait - 0.5) is not None
    assert limiter.take("a", at=NOW + wait) is None
    assert limiter.take("a", at=NOW + wait) is not None


def test_refusals_do_not_prolong_the_wait() -> None:
    limiter = LeakyRateLimiter(1, 10)
    limiter.take("a", at=NOW)
    for second in range(9):
        assert limiter.take("a", at=NOW + second) is not None

    assert limiter.take("a", at=NOW + 10) is None


@given(
    limit=st.integers(1, 50),
    per=st.floats(0.01, 100_000),
    gaps=st.lists(st.floats(0, 0.5), min_size=1, max_size=300),
)
def test_no_window_ever_sees_more_than_twice_the_limit_nor_less_than_its_due(
    limit: int, per: float, gaps: list[float]
) -> None:
    limiter = LeakyRateLimiter(limit, per)
    passed: list[float] = []
    at = NOW
    for gap in gaps:
        at += gap * per
        wait = limiter.take("a", at=at)
        if wait is None:
            passed.append(at)
        else:
            assert 0 < wait <= per + 1e-6  # at these instants a float has seven digits left

    for start in passed:
        assert sum(start <= each < start + per for each in passed) <= 2 * limit
    assert len(passed) >= min(limit, len(gaps))


@pytest.mark.parametrize("limit", [1, 7, 1_000, 50_000])
def test_a_burst_is_as_large_as_said_whatever_rounding_does(limit: int) -> None:
    limiter = LeakyRateLimiter(limit, 3600 / 7)

    assert sum(limiter.take("a", at=NOW) is None for _ in range(limit + 10)) == limit


def test_a_clock_set_back_reopens_nothing_and_blocks_no_longer_than_the_period() -> None:
    limiter = LeakyRateLimiter(2, 10)
    for _ in range(2):
        limiter.take("a", at=NOW)

    yesterday = NOW - 86_400
    assert limiter.take("a", at=yesterday) == pytest.approx(5)
    assert limiter.take("a", at=yesterday + 5) is None


def test_a_clock_set_forward_lets_limits_expire() -> None:
    limiter = LeakyRateLimiter(1, 10)
    limiter.take("a", at=NOW)

    assert limiter.take("a", at=NOW + 86_400) is None


def test_memory_is_bounded_and_the_busiest_keys_are_kept() -> None:
    limiter = LeakyRateLimiter(1, 1_000, capacity=100)
    limiter.take("busy", at=NOW)
    for number in range(10_000):
        limiter.take(f"key {number}", at=NOW)
        assert limiter.take("busy", at=NOW) is not None

    assert len(limiter) == 100


def test_keys_that_wait_for_nothing_are_forgotten() -> None:
    limiter = LeakyRateLimiter(1, 1)
    for number in range(1_000):
        limiter.take(f"key {number}", at=NOW + number)

    assert len(limiter) <= 2


def test_threads_together_get_no_more_than_the_limit() -> None:
    limiter = LeakyRateLimiter(1_000, 60)
    allowed: list[bool] = []

    def take() -> None:
        allowed.extend([limiter.take("a", at=NOW) is None for _ in range(500)])

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(allowed) == 1_000


def test_the_null_limiter_allows_everything() -> None:
    limiter: RateLimiter = NullRateLimiter()

    assert [limiter.take("a", at=NOW) for _ in range(100)] == [None] * 100


@pytest.mark.parametrize(("limit", "per", "capacity"), [(0, 1.0, 1), (1, 0.0, 1), (1, float("inf"), 1), (1, 1.0, 0)])
def test_a_limit_that_makes_no_sense_is_refused(limit: int, per: float, capacity: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        LeakyRateLimiter(limit, per, capacity=capacity)


def test_enforcing_a_limit_says_for_how_many_whole_seconds_to_wait() -> None:
    limiter = LeakyRateLimiter(1, 1.5)
    enforce(limiter, "a", at=NOW)

    with pytest.raises(TooMany) as refused:
        enforce(limiter, "a", at=NOW)

    assert refused.value.retry_after == 2
    assert isinstance(refused.value.retry_after, int)


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::9", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::9", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("", "unknown"),
        (None, "unknown"),
        ("testclient", "unknown"),
        ("/run/denizen.sock", "unknown"),
        ("192.0.2.1, 192.0.2.2", "unknown"),
        ("\ud800", "unknown"),
    ],
)
def test_an_address_stands_for_its_owner(address: str | None, key: str) -> None:
    assert address_key(address) == key


@given(st.ip_addresses())
def test_every_address_has_a_key(address: object) -> None:
    assert address_key(str(address)) != "unknown"
