"""Greenlets that run one function after the other: as SQLAlchemy's do, and nothing of one function reaches the next."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from contextvars import ContextVar, copy_context
from functools import partial

import pytest
from greenlet import getcurrent
from sqlalchemy.exc import MissingGreenlet
from sqlalchemy.util.concurrency import await_

from denizen.core.postgresql import greenlets
from denizen.core.postgresql.greenlets import spawn

name: ContextVar[str] = ContextVar("name", default="nobody")


class Thing:
    """Something that can be seen to be gone."""


async def double(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


async def fail() -> None:
    await asyncio.sleep(0)
    raise LookupError("no such thing")


async def test_function_awaits_and_gives_its_value() -> None:
    assert await spawn(lambda: await_(double(20)) + await_(double(1))) == 42
    assert await spawn(name.get) == "nobody"


async def test_error_reaches_who_awaits_the_function_and_the_next_one_runs() -> None:
    def go_on() -> int:
        try:
            await_(fail())
        except LookupError:
            return await_(double(2))
        return 0

    with pytest.raises(LookupError, match="no such thing"):
        await spawn(lambda: await_(fail()))
    with pytest.raises(ZeroDivisionError):
        await spawn(lambda: 1 // 0)
    assert await spawn(go_on) == 4


async def test_one_after_the_other_runs_in_the_same_greenlet_and_many_at_once_in_many() -> None:
    async def which() -> int:
        return await spawn(lambda: (await_(double(1)), id(getcurrent()))[1])

    assert len({await which() for _ in range(20)}) == 1
    assert len(set(await asyncio.gather(*(which() for _ in range(100))))) == 100
    assert len({await which() for _ in range(20)}) == 1


async def test_whoever_is_cancelled_leaves_the_greenlet_to_others() -> None:
    begun = asyncio.Event()
    undone: list[str] = []

    async def wait() -> None:
        begun.set()
        await asyncio.sleep(60)

    def work() -> None:
        try:
            await_(wait())
        finally:
            await_(double(1))
            undone.append("all")

    task = asyncio.create_task(spawn(work))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert undone == ["all"]
    assert await spawn(lambda: await_(double(3))) == 6


async def test_function_sees_the_context_of_who_calls_it_and_no_other() -> None:
    async def ask(who: str) -> tuple[str, str]:
        name.set(who)
        first = await spawn(lambda: (await_(double(1)), name.get())[1])
        await spawn(lambda: name.set(f"{who} again"))
        return first, name.get()

    asked = [asyncio.create_task(ask(who), context=copy_context()) for who in ("ada", "grace")]

    assert await asyncio.gather(*asked) == [("ada", "ada again"), ("grace", "grace again")]
    assert await spawn(name.get) == "nobody"


async def test_idle_greenlet_holds_on_to_nothing() -> None:
    greenlets._idle.workers.clear()  # so that it is new to the first
    given, raised = Thing(), Thing()
    gone = [weakref.ref(given), weakref.ref(raised)]

    def refuse(what: Thing) -> None:
        raise RuntimeError(what)

    await spawn(partial(asyncio.isfuture, given))
    with pytest.raises(RuntimeError):
        await spawn(partial(refuse, raised))
    del given, raised
    gc.collect()

    assert [each() for each in gone] == [None, None]
    assert {each.gr_context for each in greenlets._idle.workers} == {None}


async def test_no_more_are_kept_than_is_said_and_the_others_end() -> None:
    def alive() -> int:
        gc.collect()
        return sum(isinstance(each, greenlets._Worker) for each in gc.get_objects())

    for _ in range(3):
        await asyncio.gather(*(spawn(lambda: await_(double(1))) for _ in range(100)))

    assert alive() <= greenlets._MOST_KEPT
    before = alive()
    threads = [threading.Thread(target=asyncio.run, args=(spawn(lambda: await_(double(1))),)) for _ in range(5)]
    for thread in threads:
        thread.start()
        thread.join()
    assert alive() <= before + 1  # greenlets of threads that have ended end with the next switch


async def test_error_keeps_what_it_came_of_whatever_its_caller_is_handling() -> None:
    def convert() -> None:
        try:
            await_(fail())
        except LookupError:
            raise ValueError("converted")  # noqa: B904  (the context is what is looked at)

    async def handle() -> None:
        try:
            await fail()
        except LookupError as first:
            first.add_note("the caller's")
            await spawn(convert)

    with pytest.raises(ValueError, match="converted") as raised:
        await handle()

    came_of = raised.value.__context__
    assert isinstance(came_of, LookupError)
    assert not getattr(came_of, "__notes__", [])


def test_each_thread_has_its_own() -> None:
    found: list[list[int]] = []

    async def work() -> list[int]:
        return list(await asyncio.gather(*(spawn(lambda: await_(double(4))) for _ in range(10))))

    threads = [threading.Thread(target=lambda: found.append(asyncio.run(work()))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [[8] * 10] * 4
    assert [asyncio.run(work()) for _ in range(2)] == [[8] * 10] * 2  # one loop after the other


async def test_outside_of_it_nothing_awaits() -> None:
    with pytest.raises(MissingGreenlet):
        await_(double(1))
