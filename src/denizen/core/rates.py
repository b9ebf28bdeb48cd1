"""How often something may be done: limits kept in the memory of one process."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Final, Protocol

from denizen.core.errors import TooMany

_UNKNOWN: Final = "unknown"
_NETWORK_MASK: Final = (1 << 128) - (1 << 64)
_SWEEP: Final = 4


class RateLimiter(Protocol):
    """Says whether one more is allowed now."""

    def take(self, key: str, *, at: float) -> float | None:
        """Count one more under `key`.

        Args:
            key: whom the limit holds for, such as an `address_key`.
            at: the instant in seconds, of any clock, as long as it is always the same one.

        Returns:
            None when it is allowed, else the seconds (above 0) to wait; a refusal is not counted.
        """
        ...


class NullRateLimiter:
    """No limit."""

    def take(self, key: str, *, at: float) -> float | None:
        """Allow it."""
        return None


class LeakyRateLimiter:
    """`limit` at once, then one every `per / limit` seconds, for each key (GCRA: one number a key, no windows).

    Args:
        limit: how many in `per` seconds, at least 1.
        per: seconds.
        capacity: keys remembered at most (about 200 bytes each). Beyond it the key that was quiet for longest is
            forgotten and starts afresh: whoever commands that many addresses needs a limit over all of them.

    Safe to use from several threads. When the clock goes back, nobody waits longer than `per`.
    """

    def __init__(self, limit: int, per: float, *, capacity: int = 50_000) -> None:
        if limit < 1 or capacity < 1 or not 0 < per < math.inf:
            raise ValueError("limit and capacity must be at least 1, per a positive number of seconds")
        self._interval = per / limit
        self._per = per
        self._slack = self._interval / 16  # far more than rounding adds up to, far less than one more
        self._capacity = capacity
        self._lock = threading.Lock()
        self._free_at: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._free_at)

    def take(self, key: str, *, at: float) -> float | None:
        """Count one more under `key`; see `RateLimiter`."""
        with self._lock:
            # When all that was taken is paid off; never further away than a used-up limit puts it.
            free_at = min(max(self._free_at.get(key, at), at), at + self._per)
            wait = free_at + self._interval - at - self._per
            allowed = wait <= self._slack
            self._free_at[key] = free_at + self._interval if allowed else free_at
            self._free_at.move_to_end(key)
            self._forget(at)
        return None if allowed else wait

    def _forget(self, at: float) -> None:
        """Drop a few keys that wait for nothing any more, oldest first, so that the cost stays flat; and any excess."""
        keys = self._free_at
        for _ in range(_SWEEP):
            oldest = next(iter(keys))
            if keys[oldest] > at:
                break
            del keys[oldest]
        while len(keys) > self._capacity:
            keys.popitem(last=False)


def enforce(limiter: RateLimiter, key: str, *, at: float, detail: str = "Too many requests; try again later.") -> None:
    """Count one more under `key`.

    Raises:
        TooMany: the limit is reached; `retry_after` is whole seconds, rounded up, at least 1.
    """
    wait = limiter.take(key, at=at)
    if wait is not None:
        raise TooMany(detail, retry_after=max(1, math.ceil(wait)))


@lru_cache(maxsize=1024)
def address_key(ip: str | None) -> str:
    """Return what stands for the owner of an address: an IPv4 address itself, an IPv6 address by its /64.

    One customer of a provider usually holds a /64 whole. IPv4 in IPv6 clothes (`::ffff:192.0.2.1`) counts as IPv4,
    zone ids are dropped, and whatever is no address (a socket path, nothing) shares one key.
    """
    try:
        address = ip_address((ip or "").partition("%")[0])
    except ValueError:
        return _UNKNOWN
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return f"{IPv6Address(int(address) & _NETWORK_MASK)}/64"
