"""R4: the primary is gone, a standby is promoted, and the server goes on with it, without a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from denizen.migrations import runner
from tests.faults.ledger import Ledger, writers
from tests.faults.serving import make_people, person, serving, timed, until
from tests.postgres import Postgres, Standby

WRITERS = 4


@pytest.fixture
def primary() -> Iterator[Postgres]:
    # What is acknowledged is on the standby's disk too: without that a failover loses the last moments, by its nature.
    with Postgres(durable=True, settings={"wal_level": "replica", "max_wal_senders": "4"}) as server:
        yield server


def both(database: str, *servers: Postgres) -> str:
    """Give one URL for several servers, as docs/operations.md says to write it."""
    hosts = "&".join(f"host=127.0.0.1:{server.port}" for server in servers)
    password = quote(servers[0].password, safe="")
    return f"postgresql://postgres:{password}@/{database}?{hosts}&target_session_attrs=read-write"


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_a_promoted_standby_is_found_without_a_restart(primary: Postgres, tmp_path: Path) -> None:
    url = await asyncio.to_thread(primary.create_database, "accounts")
    await asyncio.to_thread(runner.upgrade, url)
    people, ledger = await make_people(url, WRITERS), Ledger()
    with await asyncio.to_thread(Standby, primary) as standby:
        primary.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        primary.execute("SELECT pg_reload_conf()")
        async with serving(tmp_path, both("accounts", primary, standby)) as server:
            async with writers(server, ledger, people):
                await until(partial(ledger.goes_on_from, dict.fromkeys(people, 3)), within=20)
                await asyncio.to_thread(primary.kill9)
                await until(lambda: _is_refused(server.client()), within=5)
                acknowledged = dict(ledger.named)
                await asyncio.to_thread(standby.promote)
                await until(partial(ledger.goes_on_from, acknowledged), within=10)
            await ledger.check(standby.url("accounts"))
            assert server.process is not None
            assert server.process.poll() is None
            assert "unexpected_error" not in server.log

    assert ledger.refused


async def _is_refused(client: httpx.AsyncClient) -> bool:
    answered = await timed(client.post("/users/", json=person("nowhere")))
    assert answered.seconds < 3
    return answered.status == 503
