"""Ids of rows: UUIDs of version 7, made here so that both databases and every import give them alike."""

from __future__ import annotations

import os
import re
import threading
import time
from datetime import datetime
from typing import Final
from uuid import UUID, SafeUUID

_VERSION: Final = 7 << 76
_VARIANT: Final = 0b10 << 62
_TAIL_BITS: Final = 74
"""What RFC 9562 leaves to us: `rand_a` (12 bits) and `rand_b` (62 bits), counted through as one number."""
_LOW_MASK: Final = (1 << 62) - 1
_SEED_MASK: Final = (1 << (_TAIL_BITS - 1)) - 1
_MAX_MS: Final = (1 << 48) - 1
_BLOCK: Final = 4096
_SEED_BYTES: Final = 10
_STEP_BYTES: Final = 4

_CANONICAL: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.IGNORECASE)

_new_object = object.__new__
_set_int = UUID.int.__set__  # type: ignore[attr-defined, misc]  # a slot, though typeshed declares a property
_UNKNOWN: Final = SafeUUID.unknown  # to look a member up in its class takes as long as the rest of an id
_set_safety = UUID.is_safe.__set__  # type: ignore[attr-defined, misc]  # a slot, though typeshed declares a property


def _uuid(number: int) -> UUID:
    """Build a UUID from 128 bits known to be good. `UUID(int=...)` checks them again, at four times the cost."""
    made = _new_object(UUID)
    _set_int(made, number)
    _set_safety(made, _UNKNOWN)
    return made


class _Clock:
    """The state behind `new_id`: the last instant and tail handed out, and a block of random bytes.

    Source: RFC 9562 section 6.2, method 2 (monotonic random): within a millisecond, and while the clock stands
    or goes back, the tail grows by a random step of 1 to 2^32, so that a neighbour's id cannot be guessed. The
    top bit of a fresh tail is 0, which leaves room for 2^41 steps.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ms = 0
        self._tail = 0
        self._block = b""
        self._read = _BLOCK

    def after_fork(self) -> None:
        """Go on one millisecond later with new random bytes, so that parent and child never make the same id."""
        self._lock = threading.Lock()
        self._read = _BLOCK
        if self._ms:
            self._advance(self._ms + 1)

    def _random(self, count: int) -> int:
        end = self._read + count
        if end > _BLOCK:
            self._block = os.urandom(_BLOCK)
            self._read, end = 0, count
        drawn = int.from_bytes(self._block[self._read : end], "big")
        self._read = end
        return drawn

    def _advance(self, ms: int) -> None:
        self._ms = ms
        self._tail = self._random(_SEED_BYTES) & _SEED_MASK

    def next(self, ms: int) -> UUID:
        with self._lock:
            number = self._step(ms)
        return _uuid(number)

    def several(self, ms: int, count: int) -> list[int]:
        with self._lock:
            return [self._step(ms) for _ in range(count)]

    def _step(self, ms: int) -> int:
        if ms > self._ms:
            self._advance(ms)
        else:
            self._tail += 1 + self._random(_STEP_BYTES)
            if self._tail >> _TAIL_BITS:
                self._advance(self._ms + 1)
        tail = self._tail
        return self._ms << 80 | _VERSION | (tail >> 62) << 64 | _VARIANT | tail & _LOW_MASK


_clock = _Clock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_clock.after_fork)


def new_id(*, at: datetime | None = None) -> UUID:
    """Make an id that is greater than every id this process made before; about 1 µs, from any thread.

    Args:
        at: what the clock shows, with its time zone; read here when absent. An instant before one already used
            gives an id of that later instant: order wins over time. Not for back-dating.

    Raises:
        ValueError: `at` has no time zone.
    """
    if at is None:
        return _clock.next(time.time_ns() // 1_000_000)
    if at.tzinfo is None:
        raise ValueError("an instant needs a time zone")
    return _clock.next(min(max(int(at.timestamp() * 1000), 0), _MAX_MS))


def new_ids(count: int) -> list[str]:
    """Make ids for many rows, as text: in less than half of the time that so many `str(new_id())` take."""
    made = []
    for number in _clock.several(time.time_ns() // 1_000_000, count):
        digits = f"{number:032x}"
        made.append(f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}")
    return made


def parse_id(text: str) -> UUID | None:
    """Read an id as it stands in a path: 8-4-4-4-12 hex digits in any case, version 7. None for everything else."""
    if _CANONICAL.fullmatch(text) is None:
        return None
    return _uuid(int(text.replace("-", ""), 16))
