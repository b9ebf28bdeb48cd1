"""Migrators that meet: one runs and the others wait; one that is killed leaves nothing half done."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from denizen.migrations import runner
from denizen.migrations.connections import MigrationOptions, migrating
from denizen.migrations.errors import MigrationBlocked
from denizen.migrations.schema import SchemaKind, is_fresh
from tests.migrations.ground import REBUILD, catalogue, connected, fill, planted, python, rows

UPGRADE = """
import json, sys
from pathlib import Path
from denizen.migrations import runner
from denizen.migrations.connections import MigrationOptions
from denizen.migrations.history import History
print("ready", flush=True)
sys.stdin.readline()
options = MigrationOptions(say=lambda sentence: print(sentence, file=sys.stderr))
print(json.dumps(runner.upgrade(sys.argv[1], options=options, history=History(Path(sys.argv[2]))).steps))
"""
CREATE = """
import sys
from denizen.migrations import runner
print("ready", flush=True)
sys.stdin.readline()
print("".join("x" if runner.create(url) else "-" for url in sys.argv[1:]))
"""
SLOW = """
import time
breaking = False
def upgrade():
    op.execute("CREATE TABLE denizen_once (id INTEGER)")
    time.sleep(3)
def downgrade(): op.execute("DROP TABLE denizen_once")
"""


def at_once(script: str, *arguments: str, processes: int = 2) -> list[tuple[str, str]]:
    """Run `script` in several processes that begin at the same moment; give what each printed, and said."""
    started = [python(script, *arguments) for _ in range(processes)]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    told = [process.communicate(timeout=100) for process in started]
    assert [process.returncode for process in started] == [0] * processes, told
    return [(printed.strip(), said) for printed, said in told]


@pytest.mark.slow
def test_of_two_migrators_one_runs_and_one_waits(database_url: str, tmp_path: Path) -> None:
    history = planted(tmp_path / "versions", SLOW)
    fill(database_url)

    told = at_once(UPGRADE, database_url, str(history.folders[0]))

    assert sorted(json.loads(printed) for printed, _ in told) == [[], ["denizen_9001"]]
    (waited,) = [said for printed, said in told if printed == "[]"]
    assert "waiting" in waited
    assert runner.status(database_url, history).kind is SchemaKind.CURRENT


@pytest.mark.slow
def test_a_fresh_file_made_by_four_processes_is_made_once(tmp_path: Path) -> None:
    paths = [tmp_path / f"fresh{number}.db" for number in range(10)]

    told = at_once(CREATE, *(f"sqlite:///{path}" for path in paths), processes=4)

    for number, path in enumerate(paths):
        assert sorted(printed[number] for printed, _ in told) == ["-", "-", "-", "x"]
        assert runner.status(f"sqlite:///{path}").kind is SchemaKind.CURRENT
    assert sorted(tmp_path.iterdir()) == sorted(paths)


def test_a_fresh_file_is_in_wal_mode_and_private(tmp_path: Path) -> None:
    path = tmp_path / "fresh.db"

    assert runner.create(f"sqlite:///{path}")

    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_in_use_is_never_made_anew(sqlite_url: str) -> None:
    fill(sqlite_url)
    before = rows(sqlite_url)

    assert not runner.create(sqlite_url)
    assert rows(sqlite_url) == before


def test_a_file_is_fresh_until_it_has_tables(tmp_path: Path) -> None:
    path = tmp_path / "fresh.db"
    assert is_fresh(path)
    path.touch()
    assert is_fresh(path)

    runner.create(f"sqlite:///{path}")

    assert not is_fresh(path)
    (tmp_path / "letter.db").write_text("Dear Ada, " * 1000)
    assert not is_fresh(tmp_path / "letter.db")


def test_a_server_is_never_asked_for_a_database(postgres_url: str) -> None:
    with pytest.raises(ValueError, match="only a SQLite database"):
        runner.create(postgres_url)


def stuck(how: str, flag: Path) -> str:
    """A revision that has done half its work, says so in `flag`, and hangs; when it finds `flag` it goes through."""
    return REBUILD.replace(
        '    with op.batch_alter_table("denizen_keys", recreate=',
        f"    import pathlib, time\n    flag = pathlib.Path({str(flag)!r})\n"
        f"    if not flag.exists():\n        flag.touch()\n        {how}\n"
        '    with op.batch_alter_table("denizen_keys", recreate=',
        1,
    )


def killed(url: str, folder: Path, flag: Path) -> subprocess.Popen[str]:
    """Start a migration, and kill it where it hangs."""
    process = python(UPGRADE, url, str(folder))
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
    until = time.monotonic() + 60
    while not flag.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.01)
    time.sleep(0.2)
    process.kill()
    process.communicate()
    return process


@pytest.mark.slow
def test_a_killed_migrator_leaves_the_old_schema_and_can_be_run_again(database_url: str, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    history = planted(tmp_path / "versions", stuck("time.sleep(60)", flag))
    fill(database_url, 200)
    before, tables = rows(database_url), catalogue(database_url)

    killed(database_url, history.folders[0], flag)

    assert (rows(database_url), catalogue(database_url)) == (before, tables)
    assert runner.status(database_url, history).missing == ("denizen_9001",)
    assert runner.upgrade(database_url, history=history).steps == ("denizen_9001",)
    assert rows(database_url) == before


@pytest.mark.slow
def test_a_killed_migrators_statement_does_not_go_on(postgres_url: str, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    history = planted(tmp_path / "versions", stuck("op.execute('SELECT pg_sleep(60)')", flag))
    killed(postgres_url, history.folders[0], flag)
    began = time.monotonic()

    assert runner.upgrade(postgres_url, history=history).steps == ("denizen_9001",)

    assert time.monotonic() - began < 30


@pytest.mark.slow
def test_a_creator_that_was_killed_is_no_hindrance(tmp_path: Path) -> None:
    path = tmp_path / "fresh.db"
    path.touch()  # what one leaves that was killed between making the file and filling it

    assert runner.create(f"sqlite:///{path}")
    assert runner.status(f"sqlite:///{path}").kind is SchemaKind.CURRENT


def test_a_table_in_use_is_not_waited_for_long(postgres_url: str, tmp_path: Path) -> None:
    history = planted(tmp_path / "versions", REBUILD)
    fill(postgres_url)
    with connected(postgres_url) as reader:
        reader.execute(text("SELECT count(*) FROM denizen_users")).all()
        began = time.monotonic()

        with pytest.raises(MigrationBlocked, match="Try again when less is going on"):
            runner.upgrade(postgres_url, options=MigrationOptions(lock_timeout=0.3), history=history)

        assert 0.3 <= time.monotonic() - began < 5
    assert runner.upgrade(postgres_url, history=history).steps == ("denizen_9001",)


def test_a_file_being_written_is_waited_for_as_long_as_asked(sqlite_url: str, tmp_path: Path) -> None:
    history = planted(tmp_path / "versions", REBUILD)
    said: list[str] = []
    with connected(sqlite_url) as writer:
        writer.exec_driver_sql("DELETE FROM denizen_keys")  # takes the write lock

        with pytest.raises(MigrationBlocked, match="Look for another migration, an import or a backup"):
            runner.upgrade(sqlite_url, options=MigrationOptions(wait=0.3, say=said.append), history=history)

    assert said == ["Somebody else is writing to the database; waiting."]
    assert runner.upgrade(sqlite_url, history=history).steps == ("denizen_9001",)


def test_another_migration_is_waited_for_as_long_as_asked(postgres_url: str, tmp_path: Path) -> None:
    said: list[str] = []
    with migrating(postgres_url), pytest.raises(MigrationBlocked, match="Another migration was still running"):
        runner.upgrade(postgres_url, options=MigrationOptions(wait=0.3, say=said.append))

    assert said == ["Another migration is running; waiting for it to end."]


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX")
def test_readers_go_on_while_a_file_is_migrated(sqlite_url: str, tmp_path: Path) -> None:
    fill(sqlite_url)
    seen: list[int] = []

    def read(sentence: str) -> None:
        with connected(sqlite_url) as reader:
            seen.append(len(reader.exec_driver_sql("SELECT id FROM denizen_users").all()))

    say: Callable[[str], None] = read
    runner.upgrade(sqlite_url, options=MigrationOptions(say=say), history=planted(tmp_path / "versions", REBUILD))

    assert seen == [3, 3]  # when the copy was made, and when the revision began
