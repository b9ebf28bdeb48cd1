"""Hashing passwords without holding anybody up.

A hash takes some 20 ms of one core and 19 MiB, on purpose. It runs on a few threads of its own, at low priority,
behind a bounded queue; the event loop only waits.
"""

from __future__ import annotations

import asyncio
import ctypes
import enum
import math
import os
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar, cast

from denizen.core.hashers import Hasher, HashingBusy

_R = TypeVar("_R")

_NICENESS: Final = 15
_MAX_RETRY_AFTER: Final = 30
_FIRST_GUESS_SECONDS: Final = 0.05
_IDLE_SECONDS: Final = 1.0
_PATIENCE: Final = 5


class Lane(enum.Enum):
    """Who waits for a hash: anybody at all (sign-up, sign-in), or a caller who has shown who he is."""

    PUBLIC = "public"
    TRUSTED = "trusted"


class _Job:
    """One call that waits for a thread, and the future on some event loop that waits for it."""

    __slots__ = ("act", "answer", "is_public", "loop")

    def __init__(self, act: Callable[[], object], lane: Lane) -> None:
        self.act = act
        self.is_public = lane is Lane.PUBLIC
        self.loop = asyncio.get_running_loop()
        self.answer: asyncio.Future[object] = self.loop.create_future()

    def run(self) -> tuple[object, BaseException | None]:
        try:
            return self.act(), None
        except BaseException as error:  # noqa: BLE001  it is raised where the answer is awaited
            return None, error

    def deliver(self, value: object, error: BaseException | None) -> None:
        with suppress(RuntimeError):  # that loop is closed: nobody waits any more
            self.loop.call_soon_threadsafe(self._settle, value, error)

    def _settle(self, value: object, error: BaseException | None) -> None:
        if self.answer.done():
            return
        if error is None:
            self.answer.set_result(value)
        else:
            self.answer.set_exception(error)


class HashPool:
    """A few threads that hash, and a bounded queue before them: first come, first served.

    Args:
        hasher: how.
        threads: hashes at once. Memory is at most this many times what one hash takes (19 MiB; 64 MiB for hashes
            from elsewhere).
        queue: how many may wait, at least 2. Lane.PUBLIC has half of it, so that a flood of strangers leaves room.

    Threads start on first use, at nice 15 on Linux, as daemons. The pool may be used from several event loops at
    once, again after `close`, and in a forked child.

    Attributes:
        observers: told the seconds that each hash took, by the thread that made it.
    """

    def __init__(self, hasher: Hasher, *, threads: int = 2, queue: int = 64) -> None:
        if threads < 1 or queue < 2:
            raise ValueError("a pool needs at least one thread and room for two in its queue")
        self.hasher = hasher
        self.observers: list[Callable[[float], None]] = []
        self._dummy = hasher.dummy()
        self._max_threads = threads
        self._max_queue = queue
        self._seconds = _FIRST_GUESS_SECONDS
        self._generation = 0
        self._start_empty()

    def _start_empty(self) -> None:
        self._process = os.getpid()
        self._changed = threading.Condition()
        self._waiting: OrderedDict[_Job, None] = OrderedDict()
        self._public = 0
        self._threads = 0
        self._running = 0

    @property
    def waiting(self) -> int:
        """How many calls no thread has taken up yet."""
        return len(self._waiting)

    async def hash(self, password: str, *, lane: Lane) -> str:
        """Hash `password`.

        Raises:
            HashingBusy: the queue, or this lane's half of it, is full; or the pool was closed meanwhile.
        """
        return await self._call(lambda: self.hasher.hash(password), lane)

    async def hash_patiently(self, password: str) -> str:
        """Hash one of many passwords; wait while sign-ins and sign-ups fill the queue.

        Raises:
            HashingBusy: they fill it for long.
        """
        for _ in range(_PATIENCE):
            with suppress(HashingBusy):
                return await self.hash(password, lane=Lane.TRUSTED)
            await asyncio.sleep(_IDLE_SECONDS)
        return await self.hash(password, lane=Lane.TRUSTED)

    async def verify(self, password: str, encoded: str | None, *, lane: Lane) -> bool:
        """Tell whether `encoded` was made of `password`; never where it is None, after the same effort.

        Raises:
            HashingBusy: as `hash`.
        """
        against = self._dummy if encoded is None else encoded
        fits = await self._call(lambda: self.hasher.verify(password, against), lane)
        return fits and encoded is not None

    def close(self) -> None:
        """Refuse all who wait, and let the threads end with what they have in hand. Does not block."""
        with self._changed:
            refused = list(self._waiting)
            self._waiting.clear()
            self._public = self._threads = self._running = 0
            self._generation += 1
            self._changed.notify_all()
        for job in refused:
            job.deliver(None, HashingBusy("The server is shutting down.", retry_after=1))

    async def _call(self, act: Callable[[], _R], lane: Lane) -> _R:
        job = _Job(act, lane)
        self._enqueue(job)
        try:
            return cast("_R", await job.answer)
        except BaseException:
            self._withdraw(job)
            raise

    def _enqueue(self, job: _Job) -> None:
        if self._process != os.getpid():
            self._start_empty()
        with self._changed:
            free = self._max_threads - self._running
            full = len(self._waiting) >= self._max_queue + free
            if full or (job.is_public and self._public >= self._max_queue // 2 + free):
                raise HashingBusy("Too many passwords wait to be hashed.", retry_after=self._retry_after())
            self._waiting[job] = None
            self._public += job.is_public
            if self._threads < min(self._max_threads, self._running + len(self._waiting)):
                self._threads += 1
                threading.Thread(target=self._work, args=(self._generation,), name="denizen-hash", daemon=True).start()
            self._changed.notify()

    def _retry_after(self) -> int:
        seconds = (len(self._waiting) + 1) * self._seconds / self._max_threads
        return min(max(1, math.ceil(seconds)), _MAX_RETRY_AFTER)

    def _withdraw(self, job: _Job) -> None:
        """Take a job whose caller gave up out of the queue, before it costs a hash."""
        with self._changed:
            if job in self._waiting:
                del self._waiting[job]
                self._public -= job.is_public

    def _work(self, generation: int) -> None:
        _be_nice()
        while (job := self._next(generation)) is not None:
            began = time.perf_counter()
            value, error = job.run()
            self._done(generation, took := time.perf_counter() - began)
            for observe in self.observers:
                observe(took)
            job.deliver(value, error)
            del job, error  # they hold a password, and the next one may be long in coming

    def _next(self, generation: int) -> _Job | None:
        def wanted() -> bool:
            return bool(self._waiting) or self._generation != generation

        with self._changed:
            busy = self._changed.wait_for(wanted, timeout=_IDLE_SECONDS)
        if not busy:
            _give_back_memory()
        with self._changed:
            self._changed.wait_for(wanted)
            if self._generation != generation:
                return None
            job, _ = self._waiting.popitem(last=False)
            self._public -= job.is_public
            self._running += 1
            return job

    def _done(self, generation: int, seconds: float) -> None:
        with self._changed:
            self._seconds += (seconds - self._seconds) / 8
            if self._generation == generation:
                self._running -= 1


def _be_nice() -> None:
    """Lower the priority of this thread, where priorities belong to threads; elsewhere the id would name a process."""
    if sys.platform == "linux":
        with suppress(OSError):  # a sandbox may forbid it; hashing works all the same
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)


def _give_back_memory() -> None:
    """Hand the memory of past hashes from elsewhere back to the system, as far as the C library can (see
    `share_one_heap`). libsodium, which computes all others, maps and unmaps what it needs.
    """
    if sys.platform == "linux":
        with suppress(AttributeError, OSError):
            ctypes.CDLL(None).malloc_trim(0)
