"""What goes wrong around an import: nothing of the batch in hand is left, and another run brings in the rest."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import func, select, text

from denizen.core.accounts import Accounts
from denizen.core.assembly import assemble
from denizen.core.errors import StorageFull, Unavailable
from denizen.core.hashing import NullHasher
from denizen.migrations import runner
from denizen.settings import Settings
from denizen.transfer.adapters.formats import make_reader
from denizen.transfer.schemas import RowResult
from denizen.transfer.service import import_users
from denizen.users.models import User
from tests.conftest import SECRET
from tests.postgres import Postgres
from tests.transfer.conftest import BringIn, Stored, in_pieces


def people(count: int) -> bytes:
    return b"username,email\n" + b"".join(b"user%d,user%d@example.org\n" % (n, n) for n in range(count))


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_a_full_disk_leaves_whole_batches(accounts: Accounts, bring_in: BringIn, stored: Stored) -> None:
    async def limit(pages: int) -> None:
        async with accounts.writing() as db:
            await db.execute(text(f"PRAGMA max_page_count={pages}"))

    await limit(300)
    told: list[RowResult] = []

    async def import_until_full() -> None:
        async for part in import_users(accounts, in_pieces(people(5000)), make_reader("csv"), max_batch=200):
            told.extend(part)

    with pytest.raises(StorageFull):
        await import_until_full()
    names = [user["username"] for user in await stored()]
    assert 0 < len(names) < 5000
    assert names == [f"user{n}" for n in range(len(told))]

    await limit(1_000_000)
    results = await bring_in(people(5000))

    assert sum(result.outcome == "created" for result in results) == 5000 - len(names)
    assert len(await stored()) == 5000


@pytest.mark.slow
async def test_a_database_that_dies_leaves_whole_batches() -> None:
    with Postgres(durable=True) as server:
        url = server.create_database("people")
        await asyncio.to_thread(runner.upgrade, url)
        accounts = assemble(Settings(_env_file=None, database_url=url, secret_key=SECRET), (), hasher=NullHasher())
        told: list[RowResult] = []

        async def import_until_it_dies() -> None:
            async for part in import_users(accounts, in_pieces(people(5000)), make_reader("csv"), max_batch=200):
                told.extend(part)
                if len(told) == 1000:
                    server.kill9()

        with pytest.raises(Unavailable):
            await import_until_it_dies()
        server.start()

        # The commit that was cut off may have been made or not; nothing else is unsure.
        assert await _count(accounts) in {len(told), len(told) + 200}
        results = [
            each async for part in import_users(accounts, in_pieces(people(5000)), make_reader("csv")) for each in part
        ]
        assert await _count(accounts) == 5000
        assert {result.code for result in results} == {None, "email_taken"}
        await accounts.close()


async def _count(accounts: Accounts) -> int:
    async with accounts.database.read.session() as db:
        return (await db.execute(select(func.count()).select_from(User))).scalar_one()


@pytest.mark.slow
@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_other_processes_write_meanwhile(accounts: Accounts, tmp_path: Path) -> None:
    """They poll for the lock, in SQLite's own way; each gets it within the time that a request has."""
    done = asyncio.Event()

    def write() -> float:
        began = time.monotonic()
        connection = sqlite3.connect(tmp_path / "denizen.db", timeout=2.5, isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE denizen_users SET full_name = 'seen' WHERE username = 'user1'")
        connection.execute("COMMIT")
        connection.close()
        return time.monotonic() - began

    async def write_on() -> list[float]:
        waits = []
        while not done.is_set():
            waits.append(await asyncio.to_thread(write))
            await asyncio.sleep(0.05)
        return waits

    async def slowly() -> AsyncIterator[bytes]:
        async for piece in in_pieces(people(40_000), 65_536):
            yield piece

    writing = asyncio.create_task(write_on())
    parts = import_users(accounts, slowly(), make_reader("csv"))
    created = [result async for part in parts for result in part if result.outcome == "created"]
    done.set()

    assert len(created) == 40_000
    waits = await writing
    assert waits
    assert max(waits) < 2.5
