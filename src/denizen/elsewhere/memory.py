"""What was found out, kept for seconds, so many things at most; and asked for once, however many wait for it."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Iterable
from datetime import datetime
from threading import Lock
from typing import Any, Generic, NamedTuple, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class _Entry(NamedTuple, Generic[V]):
    value: V
    since: datetime
    until: datetime


class Memory(Generic[K, V]):
    """Entries that end by themselves. When it is full, what was not looked at for longest goes first.

    Args:
        most: how many entries.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._entries: OrderedDict[K, _Entry[V]] = OrderedDict()
        self._lock = Lock()  # somebody may be forgotten from a thread, as routes of a host run that are no coroutines

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: K, at: datetime) -> V | None:
        """Give what is known at an instant. A clock that went back knows nothing of what comes later."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            if not entry.since <= at < entry.until:
                del self._entries[key]
                return None
            self._entries.move_to_end(key)
            return entry.value

    def put(self, key: K, value: V, *, since: datetime, until: datetime) -> V | None:
        """Keep something; gives what had to go for it before its time."""
        with self._lock:
            self._entries[key] = _Entry(value, since, until)
            self._entries.move_to_end(key)
            if len(self._entries) <= self._most:
                return None
            _, gone = self._entries.popitem(last=False)
            return gone.value if gone.until > since else None

    def drop(self, which: Callable[[V], bool]) -> None:
        """Forget those entries."""
        with self._lock:
            for key in [key for key, entry in self._entries.items() if which(entry.value)]:
                del self._entries[key]


class Turns(Generic[K]):
    """Who was forgotten while a question was on its way, so that its answer may be of before.

    Counted, and not told by a clock: of two things within a microsecond one comes first.

    Args:
        most: of how many it is known; of more than that everybody counts as forgotten when the oldest of them was.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._now = self._of_all = 0
        self._of_each: OrderedDict[K, int] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._of_each)

    @property
    def now(self) -> int:
        """The turn in which a question begins."""
        return self._now

    def forget(self, key: K | None) -> None:
        """Begin the next turn with somebody forgotten, or everybody."""
        with self._lock:
            self._now += 1
            if key is None:
                self._of_all = self._now
                self._of_each.clear()
                return
            self._of_each[key] = self._now
            self._of_each.move_to_end(key)
            if len(self._of_each) > self._most:
                _, self._of_all = self._of_each.popitem(last=False)

    def forgotten(self, keys: Iterable[K], *, since: int) -> bool:
        """Whether one of these was forgotten after a turn, or everybody was."""
        with self._lock:
            return since < self._of_all or any(since < self._of_each.get(key, 0) for key in keys)


class Asking:
    """Questions that are on their way: whoever asks the same waits for the same answer."""

    def __init__(self) -> None:
        self._open: dict[Hashable, asyncio.Task[Any]] = {}

    def asks(self, key: Hashable) -> bool:
        """Whether somebody waits for that."""
        return key in self._open

    async def once(self, key: Hashable, ask: Callable[[], Coroutine[Any, Any, V]]) -> V:
        """Give what `ask` gives. Somebody who goes away takes the answer from nobody else."""
        loop = asyncio.get_running_loop()
        task = self._open.get(key)
        if task is None or task.done() or task.get_loop() is not loop:
            task = self._open[key] = loop.create_task(ask())
            task.add_done_callback(lambda done: self._close(key, done))
        return await _shielded(task)

    def _close(self, key: Hashable, done: asyncio.Task[Any]) -> None:
        if self._open.get(key) is done:
            del self._open[key]
        if not done.cancelled():
            done.exception()  # looked at, even where all who asked have gone


async def _shielded(task: Awaitable[V]) -> V:
    return await asyncio.shield(task)
