"""Greenlets that are used again: what SQLAlchemy's `greenlet_spawn` does, without a new one each time.

Python gives every new greenlet a stack of frames, 16 KiB that it maps from the system and unmaps at the end. While a
password is hashed, the kernel fills in the hash's memory under the lock of the process's map, and whoever maps
something waits for milliseconds, with the GIL: under fifty sign-ins the event loop stood still for a third of the time
(ADR 0043). So the two greenlets that every short transaction takes are kept.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any, Final, Generic, NoReturn, TypeVar, cast

from greenlet import GreenletExit, getcurrent, greenlet

T = TypeVar("T")

_MOST_KEPT: Final = 32
"""Of one thread. More are made where they are needed, and let go."""


class _Outcome(Generic[T]):
    """How a function ended."""

    __slots__ = ("error", "value")

    def __init__(self, value: T | None, error: BaseException | None) -> None:
        self.value = value
        self.error = error


class _Worker(greenlet):
    """Runs one function after the other, each for whoever is its parent by then.

    What goes in and out are attributes and no arguments of the switch: those stay alive until the next one.

    Attributes:
        function: to run.
        outcome: of the function that has ended.
    """

    __sqlalchemy_greenlet_provider__ = True  # by this `sqlalchemy.util.concurrency.await_` knows that it may switch

    function: Callable[[], Any] | None = None
    outcome: _Outcome[Any] | None = None

    @staticmethod
    def run() -> NoReturn:
        """Run a function, leave how it ended, and wait for the next.

        While it waits it holds nothing, itself neither: or no worker that is let go would ever end.
        """
        while True:
            worker = cast("_Worker", getcurrent())
            function, worker.function = worker.function, None
            assert function is not None  # noqa: S101  (whoever switches here has put one)
            try:
                worker.outcome = _Outcome(function(), None)
            except GreenletExit:
                raise  # it is let go, in the middle of its function, or its thread has ended
            except BaseException as error:  # noqa: BLE001  (it is raised where the function is awaited)
                worker.outcome = _Outcome(None, error)
            del function, worker
            cast("greenlet", getcurrent().parent).switch()


class _Idle(threading.local):
    """The workers of a thread that have nothing to do; no other thread can switch to them."""

    def __init__(self) -> None:
        self.workers: list[_Worker] = []


_idle: Final = _Idle()


async def spawn(function: Callable[[], T]) -> T:
    """Run a function that calls `sqlalchemy.util.concurrency.await_`.

    Raises:
        BaseException: what it raises.
    """
    current = getcurrent()
    worker = _idle.workers.pop() if _idle.workers else _Worker()
    worker.parent, worker.gr_context, worker.function = current, current.gr_context, function
    found: Any = worker.switch()
    while (outcome := worker.outcome) is None:
        try:
            value = await found
        except BaseException:  # noqa: BLE001  (the function may go on from it, or not)
            worker.parent = getcurrent()  # who is closed late is so by anybody
            found = worker.throw(*sys.exc_info())
        else:
            found = worker.switch(value)
    worker.outcome = worker.gr_context = None
    if len(_idle.workers) < _MOST_KEPT:
        _idle.workers.append(worker)
    if outcome.error is None:
        return cast("T", outcome.value)
    context = outcome.error.__context__
    try:
        raise outcome.error
    finally:
        outcome.error.__context__ = context  # whatever the caller is handling has nothing to do with it
        del outcome  # which would be in a circle with itself: error, traceback, this frame
