"""What was acknowledged is there after a crash, of the server (R1) or of PostgreSQL (R2); and the file is whole."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from sqlalchemy import make_url, select

from denizen.core.database import Database
from denizen.migrations import runner
from denizen.users.models import User
from tests.faults.serving import Served, make_people, person, serving, until
from tests.postgres import Postgres

WRITERS = 8


@dataclass
class Ledger:
    """What the server has said is so.

    Attributes:
        created: ids of accounts it has said are created.
        named: for each account that is changed again and again, the number in the last acknowledged name.
        asked: for each of those, the number in the last name that was asked for.
        refused: answers of 503.
    """

    created: set[str] = field(default_factory=set)
    named: dict[str, int] = field(default_factory=dict)
    asked: dict[str, int] = field(default_factory=dict)
    refused: int = 0

    async def write(self, client: httpx.AsyncClient, user_id: str, writer: int) -> None:
        """Write until the server is gone; what it answers is noted, an answer that never comes is not."""
        number = self.asked.get(user_id, 0)
        while True:
            number += 1
            self.asked[user_id] = number
            try:
                changed = await client.patch(f"/users/{user_id}", json={"full_name": str(number)})
                name = f"{writer}x{number}x{random.randrange(10**9)}"
                created = await client.post("/users/", json=person(name)) if number % 4 == 0 else None
            except httpx.TransportError:
                return
            if changed.status_code == 200:
                self.named[user_id] = number
            if created is not None and created.status_code == 201:
                self.created.add(created.json()["id"])
            for answer in (changed, created):
                if answer is not None and answer.status_code == 503:
                    self.refused += 1
                    await asyncio.sleep(0.02)
                elif answer is not None:
                    assert answer.status_code in {200, 201}, answer.text

    async def goes_on_from(self, before: dict[str, int]) -> bool:
        """Tell whether every account has been named anew since `before`."""
        return all(self.named[user_id] > number for user_id, number in before.items())

    async def check(self, database_url: str) -> None:
        """Compare with what is stored."""
        database = Database(database_url)
        async with database.read.slow() as db:
            stored = {str(user_id): name for user_id, name in await db.execute(select(User.id, User.full_name))}
        await database.close()
        assert self.created <= stored.keys(), f"{len(self.created - stored.keys())} acknowledged accounts are lost"
        for user_id, number in self.named.items():
            assert number <= int(stored[user_id] or 0) <= self.asked[user_id]


@asynccontextmanager
async def writers(server: Served, ledger: Ledger, people: list[str]) -> AsyncIterator[None]:
    """Write from several clients at once while the block runs, or until the server is gone."""
    client = server.client()
    tasks = [asyncio.create_task(ledger.write(client, user_id, n)) for n, user_id in enumerate(people)]
    try:
        yield
    finally:
        await asyncio.wait(tasks, timeout=0.2 if server.process and server.process.poll() is None else 10)
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert [each for each in ended if isinstance(each, Exception)] == []


ON_BOTH = [
    pytest.param("sqlite", 1),
    *(pytest.param(kind, 4, marks=pytest.mark.slow) for kind in ("sqlite", "postgresql")),
]


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize(("database_kind", "rounds"), ON_BOTH, indirect=["database_kind"])
async def test_nothing_acknowledged_is_lost_with_the_server(database_url: str, tmp_path: Path, rounds: int) -> None:
    people, ledger = await make_people(database_url, WRITERS), Ledger()
    async with serving(tmp_path, database_url, workers=2) as server:
        for number in range(rounds):
            if number:
                await server.start()
            async with writers(server, ledger, people):
                await asyncio.sleep(random.uniform(0.3, 1.5))
                server.kill()
            await ledger.check(database_url)
        await server.start()
        client = server.client()
        for user_id in list(ledger.created)[:20] + people:
            assert (await client.get(f"/users/{user_id}")).status_code == 200
        assert (await client.post("/users/", json=person("after"))).status_code == 201

    assert len(ledger.named) == WRITERS
    if database_url.startswith("sqlite"):
        with closing(sqlite3.connect(str(make_url(database_url).database))) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_nothing_acknowledged_is_lost_with_postgresql(tmp_path: Path) -> None:
    ledger = Ledger()
    with Postgres(durable=True) as postgres:
        url = postgres.create_database("killed")
        await asyncio.to_thread(runner.upgrade, url)
        people = await make_people(url, WRITERS)
        async with serving(tmp_path, url, workers=2) as server:
            async with writers(server, ledger, people):
                for _ in range(3):
                    await asyncio.sleep(random.uniform(0.3, 1.5))
                    acknowledged = dict(ledger.named)
                    await asyncio.to_thread(postgres.kill9)
                    await asyncio.to_thread(postgres.start)
                    await until(partial(ledger.goes_on_from, acknowledged), within=10)
            await ledger.check(url)
            assert server.process is not None
            assert server.process.poll() is None
            assert "unexpected_error" not in server.log

    assert ledger.created
    assert ledger.refused  # it was away, and that was told


@pytest.mark.slow
async def test_an_id_is_never_given_twice_over_a_crash(database_url: str, tmp_path: Path) -> None:
    """Ids are made in the process, in order; one that starts anew does not begin where the last one stopped."""
    async with serving(tmp_path, database_url) as server:
        client = server.client()
        first = [UUID((await client.post("/users/", json=person(n))).json()["id"]) for n in range(3)]
        server.kill()
        await server.start()
        second = [UUID((await client.post("/users/", json=person(n + 10))).json()["id"]) for n in range(3)]

    assert first + second == sorted(set(first + second))
