"""SQLite behind `Database`: the guard around reads in place, and the queue of writers."""

# ruff: noqa: PT012  (what is refused is a whole transaction, its end included)

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from denizen.core.database import Database, DatabaseOptions, NoDatabase
from denizen.core.errors import StorageFull, Unavailable
from tests.core.ground import METADATA, loop_lag, note, noted

SLOW = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {}) SELECT max(i) FROM n"
"""A statement that takes about 0.2 s for a million."""

LOCKER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=5)
connection.execute("PRAGMA locking_mode=" + sys.argv[2])
connection.execute("BEGIN EXCLUSIVE")
connection.execute("CREATE TABLE of_another_process (a)")
print("locked", flush=True)
sys.stdin.read()
"""


@contextmanager
def locked_by_another_process(path: Path, mode: str = "NORMAL") -> Iterator[None]:
    """Hold the write lock; with `EXCLUSIVE` nobody can even read."""
    with subprocess.Popen(
        [sys.executable, "-c", LOCKER, str(path), mode], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"locked\n"
        yield
        process.kill()


@pytest.fixture
def database_kind() -> str:
    return "sqlite"


@pytest.fixture
def path(database: Database) -> Path:
    """The file."""
    return Path(str(database.url.database))


@pytest.fixture
async def hurried(database: Database) -> AsyncIterator[Database]:
    """The same file, where nobody waits long but for what is known to be slow, and one thread reads."""
    hurried = Database(database.url, DatabaseOptions(timeout=0.3, slow_timeout=60, reading_threads=1))
    yield hurried
    await hurried.close()


# --- what is set -----------------------------------------------------------------------------------------------------


async def test_commits_are_on_the_disk_before_they_are_acknowledged(database: Database) -> None:
    """R3: with the log ahead of the file, FULL means one fsync a commit. `tests/faults` counts them."""
    async with database.write.begin() as db:
        found = [(await db.execute(text(f"PRAGMA {name}"))).scalar_one() for name in ("journal_mode", "synchronous")]

    assert found == ["wal", 2]


async def test_foreign_keys_are_enforced(database: Database) -> None:
    insert = text(
        "INSERT INTO denizen_keys (id, name, hint, token_digest, scopes, created_at, user_id) "
        "VALUES ('k', 'n', 'h', zeroblob(32), '[]', 'now', 'nobody')"
    )
    with pytest.raises(IntegrityError, match="FOREIGN KEY"):
        async with database.write.begin() as db:
            await db.execute(insert)


async def test_a_file_of_another_journal_is_brought_into_wal_mode(tmp_path: Path) -> None:
    """By two processes at once, as two workers do; SQLite itself lets neither wait for the other."""
    path = tmp_path / "old.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE notes (number INTEGER)")
    connection.close()
    workers = [Database(f"sqlite:///{path}") for _ in range(4)]

    assert await asyncio.gather(*(noted(worker) for worker in workers)) == [[]] * 4

    for worker in workers:
        await worker.close()
    assert path.read_bytes()[18:20] == b"\2\2"  # the file format's read and write versions: 2 is WAL


async def test_no_file_is_made_where_there_is_none(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/typo.db")

    with pytest.raises(NoDatabase, match=r"typo\.db"):
        await database.ping()
    with pytest.raises(NoDatabase):
        async with database.write.begin() as db:
            await note(db, 1)

    assert not list(tmp_path.iterdir())  # noqa: ASYNC240  (nobody waits for this loop)


# --- writers ---------------------------------------------------------------------------------------------------------


async def test_writers_have_their_turns_in_the_order_they_came(database: Database) -> None:
    order: list[int] = []

    async def write(number: int) -> None:
        async with database.write.begin(timeout=60) as db:
            await note(db, number)
            order.append(number)
            await asyncio.sleep(0)

    async with anyio.create_task_group() as group:
        for number in range(100):
            group.start_soon(write, number)
            await asyncio.sleep(0)

    assert order == list(range(100))


async def test_who_waits_too_long_for_a_turn_is_told_and_undoes_nothing_of_others(hurried: Database) -> None:
    waited: list[float] = []

    async def come_too_late(number: int) -> None:
        began = time.monotonic()
        with pytest.raises(Unavailable) as refused:
            async with hurried.write.begin() as db:
                await note(db, number)
        assert (refused.value.retry_after or 0) >= 1
        waited.append(time.monotonic() - began)

    async with hurried.write.begin(timeout=60) as db:
        await note(db, 1)
        async with anyio.create_task_group() as group:
            for number in range(10, 40):
                group.start_soon(come_too_late, number)
        await note(db, 2)

    assert await noted(hurried) == [1, 2]
    assert min(waited) > 0.2
    assert max(waited) < 5  # one after the other they would wait for 9 s


async def test_who_gives_up_waiting_undoes_nothing_of_others(database: Database) -> None:
    async def give_up(number: int) -> None:
        with anyio.move_on_after(0.05):
            async with database.write.begin() as db:
                await note(db, number)

    async with database.write.begin() as db:
        await note(db, 1)
        async with anyio.create_task_group() as group:
            for number in range(10, 15):
                group.start_soon(give_up, number)
        await note(db, 2)

    assert await noted(database) == [1, 2]


async def test_what_sqlite_undid_by_itself_is_not_gone_on_with(database: Database) -> None:
    """A full disk may make SQLite roll back the whole transaction; a program that goes on would store a torn rest."""
    with pytest.raises(StorageFull):
        async with database.write.begin() as db:
            pages = (await db.execute(text("PRAGMA page_count"))).scalar_one()
            await db.execute(text(f"PRAGMA max_page_count={pages}"))
            await note(db, 1)
            await db.execute(text("INSERT INTO notes (number, text) VALUES (2, zeroblob(1000000))"))

    assert await noted(database) == []
    with pytest.raises(Unavailable):
        async with database.write.begin() as db:
            await note(db, 3)
            await db.execute(text("ROLLBACK"))
            await note(db, 4)
    assert await noted(database) == []
    async with database.write.begin() as db:
        await db.execute(text("PRAGMA max_page_count=1000000"))
        await note(db, 5)
    assert await noted(database) == [5]


@pytest.mark.slow
async def test_while_another_process_writes_writers_are_told_and_reads_go_on(database: Database, path: Path) -> None:
    async with database.write.begin() as db:
        await note(db, 1)
    waited: list[float] = []

    async def write() -> None:
        began = time.monotonic()
        with pytest.raises(Unavailable):
            async with database.write.begin() as db:
                await note(db, 2)
        waited.append(time.monotonic() - began)

    reads = 0
    with locked_by_another_process(path):
        async with loop_lag() as lag, anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(write)
            while len(waited) < 3:
                assert await noted(database) == [1]
                reads += 1
                await asyncio.sleep(0.01)

    assert max(waited) < 3
    assert reads > 10
    assert lag.longest < 1
    async with database.write.begin() as db:
        await note(db, 2)
    assert await noted(database) == [1, 2]


@pytest.mark.slow
async def test_while_another_process_lets_nobody_read_all_are_told_and_the_loop_turns(
    database: Database, path: Path
) -> None:
    await database.close()
    waiting = Database(database.url, DatabaseOptions(timeout=1.5, reading_threads=1))
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    connection.close()
    with locked_by_another_process(path, "EXCLUSIVE"):
        async with loop_lag() as lag:
            began = time.monotonic()
            told = await asyncio.gather(*(noted(waiting) for _ in range(20)), return_exceptions=True)
            waited = time.monotonic() - began
    await waiting.close()

    assert {type(each) for each in told} == {Unavailable}
    assert waited < 10  # one after the other they would wait for 30 s
    assert lag.longest < 1


# --- readers ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_a_long_read_leaves_the_loop_to_others(database: Database) -> None:
    patient = Database(database.url, DatabaseOptions(timeout=60))

    async def by_session() -> object:
        async with patient.read.session() as db:
            return (await db.execute(text(SLOW.format(1_000_000)))).scalar_one()

    async def by_statement() -> object:
        return (await (await patient.backend()).rows(SLOW.format(1_000_000), ()))[0][0]

    for read in (by_session, by_statement):
        shares = []
        for _ in range(3):  # the best of them, since other processes can hold us up as well
            began = time.monotonic()
            async with loop_lag() as lag:
                assert await read() == 1_000_000
            shares.append(lag.longest / (time.monotonic() - began))
        assert min(shares) < 0.5
    await patient.close()


async def test_a_read_that_takes_for_ever_is_stopped(database: Database) -> None:
    """Each by its own limit; the other one is so long that the test would end first."""
    for options in (DatabaseOptions(timeout=0.3, slow_timeout=600), DatabaseOptions(timeout=600, slow_timeout=0.3)):
        limited = Database(database.url, options)
        began = time.monotonic()
        with pytest.raises(Unavailable):
            async with limited.read.session() if options.timeout < 1 else limited.read.slow() as db:
                await db.execute(text(SLOW.format(10**12)))
        assert time.monotonic() - began > 0.25
        await limited.close()


async def test_nobody_waits_without_end_for_a_reading_thread(hurried: Database) -> None:
    async def occupy() -> None:
        async with hurried.read.slow() as db:
            await db.execute(text(SLOW.format(10**12)))

    await noted(hurried)
    async with anyio.create_task_group() as group:
        group.start_soon(occupy)
        await asyncio.sleep(0.2)
        began = time.monotonic()
        with pytest.raises(Unavailable, match="slow reads"):
            async with hurried.read.session() as db:
                await db.execute(text(SLOW.format(10**12)))
        assert 0.25 < time.monotonic() - began < 10  # who has the thread may keep it for 60 s
        group.cancel_scope.cancel()


async def test_a_read_that_nobody_waits_for_gives_its_thread_back(hurried: Database) -> None:
    for _ in range(3):
        with anyio.move_on_after(0.05):
            async with hurried.read.slow() as db:
                await db.execute(text(SLOW.format(10**12)))
    began = time.monotonic()
    async with hurried.read.slow() as db:
        await db.execute(text("SELECT 1"))

    assert time.monotonic() - began < 10  # each of the three could have kept it for 60 s


async def test_schema_changes_of_another_process_are_seen(database: Database, path: Path) -> None:
    """Compiled statements and kept connections survive a migration that runs beside them."""
    await noted(database)
    with sqlite3.connect(path) as connection:
        connection.execute("ALTER TABLE notes ADD COLUMN more TEXT")
        connection.execute("INSERT INTO notes (number, text, more) VALUES (1, 'a', 'b')")
    connection.close()

    assert await noted(database) == [1]
    async with database.read.session() as db:
        assert (await db.execute(text("SELECT more FROM notes"))).scalar_one() == "b"


async def test_closing_folds_the_log_into_the_file(database: Database, path: Path) -> None:
    async with database.write.begin() as db:
        await note(db, 1)
    await database.close()

    assert not path.with_name(path.name + "-wal").exists()
    assert METADATA.tables.keys() == {"notes"}
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
