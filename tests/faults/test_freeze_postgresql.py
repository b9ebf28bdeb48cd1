"""A database that is away, frozen, lost or full: told in time, and back without a restart (R5, R6)."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path

import httpx
import pytest
from sqlalchemy import make_url

from tests.faults.serving import (
    Served,
    check_unavailable,
    make_people,
    person,
    serving,
    timed,
    until,
)
from tests.postgres import Postgres

SIGN_UPS = 4
_numbers = itertools.count()


@pytest.fixture
def database_kind() -> str:
    return "postgresql"


@pytest.fixture
async def people(database_url: str) -> list[str]:
    return await make_people(database_url, 4)


@pytest.fixture
async def server(database_url: str, tmp_path: Path, people: list[str]) -> AsyncIterator[Served]:
    async with serving(tmp_path, database_url, database_pool_size=2) as server:
        yield server


def everything(client: httpx.AsyncClient, people: list[str]) -> list[Awaitable[httpx.Response]]:
    """One request of each kind."""
    return [
        client.get("/users/"),
        client.get("/users/", params={"count": "exact", "skip": 1}),
        client.get(f"/users/{people[0]}"),
        client.patch(f"/users/{people[1]}", json={"full_name": "Changed"}),
        client.delete(f"/users/{people[0]}", headers={"If-Match": '"999"'}),
        client.get("/keys/current"),
    ]


async def all_are_told(server: Served, people: list[str], *, hashing: float) -> None:
    """Every kind of request, several at once, is a 503 in time; those that need no database are answered.

    Args:
        hashing: seconds that sign-ups take for their passwords on this machine, as it is busy now.
    """
    client, anonymous = server.client(), server.client(key=False)
    waiting = [timed(request) for _ in range(4) for request in everything(client, people)]
    keys: list[dict[str, str]] = [
        {"Idempotency-Key": f"lost{number}"} if number % 2 else {} for number in range(SIGN_UPS)
    ]
    sign_ups = [
        timed(anonymous.post("/users/", json=person(f"lost{number}"), headers=headers))
        for number, headers in enumerate(keys)
    ]
    alive = [timed(anonymous.get("/healthz")) for _ in range(5)]
    ready = timed(anonymous.get("/readyz"))

    told, lost, healthy, readiness = await asyncio.gather(
        asyncio.gather(*waiting), asyncio.gather(*sign_ups), asyncio.gather(*alive), ready
    )

    for answered in told:
        check_unavailable(answered)
    for answered in lost:
        check_unavailable(answered, within=max(3.0, 2.2 + hashing))
    assert [answered.status for answered in healthy] == [200] * 5
    assert max(answered.seconds for answered in healthy) < 2
    assert (readiness.status, readiness.seconds < 3) == (503, True)


async def works_again(server: Served, people: list[str], *, within: float = 5.0) -> float:
    """Within that time every kind of request is served, and `/readyz` says so. Gives the seconds that sign-ups take."""
    client = server.client()

    async def check() -> bool:
        answers = await asyncio.gather(*everything(client, people), client.get("/readyz"))
        return {answer.status_code for answer in answers} <= {200, 201, 409, 412}

    await until(check, within=within)
    number = next(_numbers)
    sign_ups = [timed(client.post("/users/", json=person(f"{number}x{n}"))) for n in range(SIGN_UPS)]
    answers = await asyncio.gather(*sign_ups)
    assert [answered.status for answered in answers] == [201] * SIGN_UPS
    return max(answered.seconds for answered in answers)


@pytest.mark.slow
async def test_frozen_everybody_is_told_in_time(server: Served, people: list[str], postgres: Postgres) -> None:
    hashing = await works_again(server, people)
    with postgres.frozen():
        await all_are_told(server, people, hashing=hashing)
        await all_are_told(server, people, hashing=hashing)  # the second time nobody has a connection left
    await works_again(server, people)


@pytest.mark.slow
async def test_killed_everybody_is_told_and_it_works_after_the_restart(
    server: Served, people: list[str], postgres: Postgres
) -> None:
    assert server.process is not None
    pid = server.process.pid
    for end in (postgres.kill9, postgres.stop):
        hashing = await works_again(server, people)
        postgres.execute("CHECKPOINT")  # this PostgreSQL keeps nothing else through a crash
        end()
        try:
            await all_are_told(server, people, hashing=hashing)
        finally:
            postgres.start()
        await works_again(server, people)
    assert (server.process.pid, server.process.poll()) == (pid, None)


@pytest.mark.slow
async def test_connections_that_ended_while_idle_fail_nobody(
    server: Served, people: list[str], postgres: Postgres, database_url: str
) -> None:
    await works_again(server, people)
    name = make_url(database_url).database
    end_all = f"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '{name}'"
    await asyncio.to_thread(postgres.execute, end_all)
    await asyncio.sleep(0.2)

    answers = await asyncio.gather(*everything(server.client(), people))

    assert {answer.status_code for answer in answers} <= {200, 201, 409, 412}


@pytest.mark.slow
async def test_pool_in_use_is_told_in_time(
    server: Served, people: list[str], postgres: Postgres, database_url: str
) -> None:
    """Both writing connections wait for a row that somebody else holds; reads go on."""
    import psycopg

    client = server.client()
    with psycopg.connect(postgres.socket_url(str(make_url(database_url).database))) as other:
        other.execute("SELECT 1 FROM denizen_users FOR UPDATE")
        writes = [
            timed(client.patch(f"/users/{people[number % 4]}", json={"full_name": "Later"})) for number in range(20)
        ]
        reads = [timed(client.get(f"/users/{people[0]}")) for _ in range(20)]
        told, served = await asyncio.gather(asyncio.gather(*writes), asyncio.gather(*reads))

    for answered in told:
        check_unavailable(answered)
    assert [answered.status for answered in served] == [200] * 20
    await works_again(server, people)
    assert "unexpected_error" not in server.log


@pytest.mark.slow
async def test_tables_that_somebody_locks_are_told_in_time(
    server: Served, people: list[str], postgres: Postgres, database_url: str
) -> None:
    """As a migration by hand does, or a dump: neither reads nor writes get at the tables."""
    import psycopg

    await works_again(server, people)
    with psycopg.connect(postgres.socket_url(str(make_url(database_url).database))) as other:
        other.execute("LOCK TABLE denizen_users IN ACCESS EXCLUSIVE MODE")
        *told, own_key = await asyncio.gather(*(timed(request) for request in everything(server.client(), people)))

    for answered in told:
        check_unavailable(answered)
    assert own_key.status in {200, 503}  # a table of its own, and the same few connections
    await works_again(server, people)
