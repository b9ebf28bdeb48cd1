"""One `Database` belongs to one event loop at a time; whoever uses it from another is told what to do."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import uvloop
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient
from sqlalchemy import bindparam, select

from denizen.app import create_app
from denizen.core.database import Database
from denizen.core.deps import installs_of
from denizen.core.hashers import NullHasher
from denizen.core.statements import Statement
from denizen.settings import Settings
from tests.core.ground import METADATA, NOTES, note, noted

BY_NUMBER = Statement(select(NOTES.c.text).where(NOTES.c.number == bindparam("number")))
RUN = [asyncio.run, uvloop.run]


async def by_session(own: Database) -> object:
    return await noted(own)


async def by_statement(own: Database) -> object:
    return await own.read.rows(BY_NUMBER, number=1)


async def slowly(own: Database) -> object:
    async with own.read.slow() as db:
        return await db.scalar(select(NOTES.c.number))


async def by_writing(own: Database) -> None:
    async with own.write.begin() as db:
        await note(db, 1)


async def close(own: Database) -> None:
    await own.close()


USES: list[Callable[[Database], Awaitable[object]]] = [by_session, by_statement, slowly, by_writing, close]


@pytest.fixture
def own(database_url: str) -> Iterator[Database]:
    """A database with the table `notes`, closed."""
    own = Database(database_url)

    async def make() -> None:
        async with own.write.begin() as db:
            await (await db.connection()).run_sync(METADATA.create_all)
        await own.close()

    asyncio.run(make())
    yield own
    asyncio.run(own.close())


async def use_at_length(own: Database, number: int, *, closes: bool) -> None:
    """Use it in every way, several at once, so that some wait for others."""
    for use in (by_session, by_statement, slowly, by_statement):
        await asyncio.gather(*(use(own) for _ in range(20)))
    async with own.write.begin(timeout=60) as db:
        await note(db, number)
    assert number in await noted(own)
    if closes:
        await own.close()


@pytest.mark.parametrize("closes", [True, False])
@pytest.mark.parametrize("run", RUN)
def test_one_loop_after_the_other_may_use_it(own: Database, run: Callable[[Any], Any], closes: bool) -> None:
    """Closed in between or not: nobody can be using what a loop has left behind that is gone."""
    for number in range(3):
        run(use_at_length(own, number, closes=closes))

    assert run(noted(own)) == [0, 1, 2]


@pytest.mark.parametrize("closes", [True, False])
def test_one_loop_after_the_other_may_use_it_each_in_its_thread(own: Database, closes: bool) -> None:
    for number in range(3):
        with ThreadPoolExecutor(1) as pool:
            pool.submit(asyncio.run, use_at_length(own, number, closes=closes)).result()

    assert asyncio.run(noted(own)) == [0, 1, 2]


def test_a_loop_that_only_reads_rows_does_so_after_another(own: Database) -> None:
    for _ in range(3):
        assert asyncio.run(by_statement(own)) == []
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(asyncio.run, by_statement(own)).result() == []


def test_two_loops_at_once_are_told_and_the_first_goes_on(own: Database) -> None:
    """On SQLite two threads would stop each other for ever; on PostgreSQL they would wait for what never wakes them."""

    async def intrude() -> list[object]:
        told: list[object] = []
        for use in USES:
            told += await asyncio.gather(use(own), return_exceptions=True)
        return told

    async def run() -> None:
        await noted(own)
        for _ in range(3):
            told = await asyncio.to_thread(lambda: asyncio.run(intrude()))
            assert len(told) == len(USES)
            for error in told:
                assert isinstance(error, RuntimeError)
                assert "of its own" in str(error)
                assert "close()" in str(error)
        await use_at_length(own, 1, closes=True)

    asyncio.run(run())


def test_of_two_loops_that_open_it_at_once_one_does(own: Database) -> None:
    for _ in range(10):
        results: list[object] = []
        together = threading.Barrier(2)

        async def use(results: list[object] = results, together: threading.Barrier = together) -> None:
            together.wait(30)  # in both loops
            [found] = await asyncio.gather(noted(own), return_exceptions=True)
            results.append(found)
            together.wait(30)
            if found == []:
                await own.close()

        threads = [threading.Thread(target=asyncio.run, args=(use(),)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)

        assert sorted(type(each).__name__ for each in results) == ["RuntimeError", "list"]
        assert all("of its own" in str(each) for each in results if isinstance(each, RuntimeError))


def test_an_application_answers_in_one_loop_after_the_other(settings: Settings) -> None:
    """As with a test client that is not entered: it runs each request in a loop and a thread of its own."""
    app = create_app(settings, hasher=NullHasher())

    async def sign_up(app: FastAPI, name: str) -> int:
        body = {"username": name, "email": f"{name}@example.org", "password": "correct horse battery"}
        async with AsyncClient(transport=ASGITransport(app), base_url="http://testserver") as client:
            return (await client.post("/users/", json=body)).status_code

    for name in ("ada", "bob", "cyd"):
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(asyncio.run, sign_up(app, name)).result() == 201
    for accounts in installs_of(app):
        asyncio.run(accounts.close())
