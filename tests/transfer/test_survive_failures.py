"""What goes wrong around an import: nothing of the batch in hand is left, and another run brings in the rest."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import func, select, text, update

from denizen.core.accounts import Accounts
from denizen.core.assembly import assemble
from denizen.core.errors import StorageFull, Unavailable
from denizen.core.hashers import NullHasher
from denizen.jobs import service as jobs
from denizen.jobs.models import Job
from denizen.migrations import runner
from denizen.settings import Settings
from denizen.transfer.adapters.formats import make_reader
from denizen.transfer.adapters.sources import Source
from denizen.transfer.errors import FileChanged
from denizen.transfer.schemas import ImportOptions, RowResult
from denizen.transfer.service import Import, import_users
from denizen.users.models import User
from tests.conftest import SECRET
from tests.postgres import Postgres
from tests.transfer.conftest import BringIn, Stored, in_pieces


def people(count: int) -> bytes:
    return b"username,email\n" + b"".join(b"user%d,user%d@example.org\n" % (n, n) for n in range(count))


@pytest.mark.slow
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
@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_what_a_full_disk_stopped_goes_on_once_there_is_room(accounts: Accounts, stored: Stored) -> None:
    async def limit(pages: int) -> None:
        async with accounts.writing() as db:
            await db.execute(text(f"PRAGMA max_page_count={pages}"))

    def importing() -> Import:
        return Import(accounts, in_pieces(people(5000)), make_reader("csv"), ImportOptions(), max_batch=200)

    await limit(300)
    running = importing()
    await running.begin()
    with pytest.raises(StorageFull):
        _ = [part async for part in running.results()]
    assert running.held is not None
    job = await jobs.find_job(accounts, running.held.job_id)
    assert job.position == len(await stored()) + 1  # the header's line
    await limit(1_000_000)
    if jobs.state_of(job, accounts.clock()) == "running":  # there was no room to say so
        async with accounts.writing() as db:
            await db.execute(update(Job).values(claimed_until=accounts.clock()))
        job = await jobs.find_job(accounts, running.held.job_id)

    again = importing()
    await again.begin(job)
    results = [result async for part in again.results() for result in part]

    assert [result.outcome for result in results] == ["created"] * 5000
    assert [user["username"] for user in await stored()] == [f"user{n}" for n in range(5000)]


@pytest.mark.slow
async def test_no_room_for_temporary_files_is_told_and_the_import_goes_on_once_there_is(
    accounts: Accounts, stored: Stored
) -> None:
    def importing() -> Import:
        return Import(accounts, in_pieces(people(5000)), make_reader("csv"), ImportOptions(), max_batch=200)

    running = importing()
    running._seen._scratch.execute("PRAGMA max_page_count=5")  # as a full disk would have it
    await running.begin()
    with pytest.raises(StorageFull, match="TMPDIR"):
        _ = [part async for part in running.results()]
    assert running.held is not None
    job = await jobs.find_job(accounts, running.held.job_id)
    assert job.state == "failed"
    assert job.position == len(await stored()) + 1 > 200  # the header's line

    again = importing()
    await again.begin(job)
    results = [result async for part in again.results() for result in part]

    assert [result.outcome for result in results] == ["created"] * 5000
    assert [user["username"] for user in await stored()] == [f"user{n}" for n in range(5000)]


@pytest.mark.slow
@pytest.mark.parametrize("change", ["longer", "shorter", "other"])
async def test_a_file_that_changes_while_it_is_read_ends_its_import(
    accounts: Accounts, stored: Stored, tmp_path: Path, change: str
) -> None:
    path, data = tmp_path / "people.csv", people(40_000)
    path.write_bytes(data)
    opened = Source.open(str(path))
    source = Source(str(path), opened)
    assert await source.guess() == "csv"
    assert await source.digest(accounts)
    running = Import(accounts, source.chunks(), make_reader("csv"), ImportOptions(), max_batch=200)

    await running.begin()
    results = running.results()
    told = list(await anext(results))
    await asyncio.sleep(0.02)  # the clock of files goes in steps
    with path.open("r+b") as file:
        if change == "shorter":
            file.truncate(len(data) // 2)
        else:
            file.seek(0, 2 if change == "longer" else 0)
            file.write(b"username,email\n")

    async def go_on() -> None:
        async for part in results:
            told.extend(part)

    with pytest.raises(FileChanged):
        await go_on()
    await opened.aclose()

    assert 0 < len(told) < 40_000
    assert len(await stored()) == len(told)
    assert running.held is not None
    job = await jobs.find_job(accounts, running.held.job_id)
    assert (job.state, job.position) == ("failed", len(told) + 1)
    assert "file_changed" in (job.error or "")
    with pytest.raises(FileChanged):
        await source.digest(accounts)


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
