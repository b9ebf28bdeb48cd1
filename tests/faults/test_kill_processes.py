"""What was acknowledged is there after a crash, of the server (R1) or of PostgreSQL (R2); and the file is whole."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import make_url

from denizen.migrations import runner
from tests.faults.ledger import Ledger, writers
from tests.faults.serving import make_people, person, serving, until
from tests.postgres import Postgres

WRITERS = 8


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
