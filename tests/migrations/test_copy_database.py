"""Before a SQLite file is migrated it is copied: whole, private, and only when something is about to happen."""

from __future__ import annotations

import re
import shutil
import stat
from pathlib import Path
from types import SimpleNamespace

import pytest

from denizen.core.errors import StorageFull
from denizen.migrations import runner
from denizen.migrations.connections import MigrationOptions
from tests.migrations.ground import REBUILD, catalogue, connected, fill, planted, python, rows


def test_the_copy_is_the_database_as_it_was(sqlite_url: str, tmp_path: Path) -> None:
    fill(sqlite_url)
    before, tables = rows(sqlite_url), catalogue(sqlite_url)
    said: list[str] = []

    outcome = runner.upgrade(
        sqlite_url, options=MigrationOptions(say=said.append), history=planted(tmp_path / "versions", REBUILD)
    )

    assert outcome.copy is not None
    assert re.fullmatch(r"denizen\.db\.before-denizen_9001-\d{8}T\d{6}Z", outcome.copy.name)
    assert said[0] == f"The database as it was: {outcome.copy}"
    copied = f"sqlite:///{outcome.copy}"
    assert (rows(copied), catalogue(copied)) == (before, tables)
    assert runner.status(copied).ready


def test_what_was_not_yet_checkpointed_is_in_the_copy(sqlite_url: str, tmp_path: Path) -> None:
    with connected(sqlite_url) as keeps_the_log_open:
        keeps_the_log_open.exec_driver_sql("SELECT count(*) FROM denizen_users").all()
        fill(sqlite_url)

        outcome = runner.upgrade(sqlite_url, history=planted(tmp_path / "versions", REBUILD))

    assert len(rows(f"sqlite:///{outcome.copy}")["denizen_users"]) == 3


def test_the_copy_is_as_private_as_the_file(sqlite_url: str, tmp_path: Path) -> None:
    (tmp_path / "denizen.db").chmod(0o640)

    copy = runner.upgrade(sqlite_url, history=planted(tmp_path / "versions", REBUILD)).copy

    assert copy is not None
    assert stat.S_IMODE(copy.stat().st_mode) == 0o640


def test_nothing_is_copied_without_need(sqlite_url: str, tmp_path: Path) -> None:
    empty = f"sqlite:///{tmp_path / 'empty.db'}"
    (tmp_path / "empty.db").touch()

    assert runner.upgrade(sqlite_url).copy is None
    assert runner.upgrade(empty).copy is None
    assert runner.upgrade(
        sqlite_url, options=MigrationOptions(copy=False), history=planted(tmp_path / "versions", REBUILD)
    ) == runner.Outcome(("denizen_9001",))
    assert list(tmp_path.glob("*.before-*")) == []


def test_two_copies_in_one_second_are_two_files(sqlite_url: str, tmp_path: Path) -> None:
    history = planted(tmp_path / "versions", REBUILD)

    for _ in range(2):
        runner.upgrade(sqlite_url, history=history)
        runner.downgrade(sqlite_url, "denizen_0001", history=history)

    assert len(list(tmp_path.glob("*.before-*"))) == 4


def test_without_room_for_the_copy_nothing_happens(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = SimpleNamespace(total=1 << 30, used=1 << 30, free=1 << 19)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: full)
    history = planted(tmp_path / "versions", REBUILD)

    with pytest.raises(StorageFull, match=r"There is no room beside .* Make room, or take a backup elsewhere"):
        runner.upgrade(sqlite_url, history=history)

    assert runner.status(sqlite_url, history).missing == ("denizen_9001",)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["denizen.db"]


FULL_DISK = """
import resource, sys
from pathlib import Path
from denizen.core.errors import DenizenError
from denizen.migrations import runner
from denizen.migrations.connections import MigrationOptions
from denizen.migrations.history import History
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    options = MigrationOptions(copy=sys.argv[3] == "copy")
    runner.upgrade(sys.argv[1], options=options, history=History(Path(sys.argv[2])))
except DenizenError as error:
    print(error.code, error)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("copy", "told"),
    [
        ("copy", "storage_full There is no room beside"),
        ("no-copy", "disk I/O error. Nothing was changed."),  # what SQLite makes of a file that may not grow
    ],
)
def test_a_disk_that_fills_up_meanwhile_spoils_nothing(sqlite_url: str, tmp_path: Path, copy: str, told: str) -> None:
    history = planted(tmp_path / "versions", REBUILD)
    fill(sqlite_url, 300)
    before = rows(sqlite_url)

    printed, _ = python(FULL_DISK, sqlite_url, str(history.folders[0]), copy).communicate(timeout=30)

    assert told in printed
    assert (rows(sqlite_url), list(tmp_path.glob("*.before-*"))) == (before, [])
    assert runner.upgrade(sqlite_url, history=history).steps == ("denizen_9001",)
