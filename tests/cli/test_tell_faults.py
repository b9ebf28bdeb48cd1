"""What goes wrong around a database is told in a sentence, and never with a secret in it."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from denizen.core.errors import Unavailable
from denizen.core.sqlite.writing import _write
from denizen.settings import Settings
from tests.cli.conftest import Run

PASSWORD = "hush-hush-1"
AWAY = f"postgresql:///x?host=/nowhere/at/all&password={PASSWORD}"


@pytest.mark.slow
@pytest.mark.parametrize("command", [("doctor",), ("migrate", "up"), ("users", "list"), ("serve", "--port", "0")])
def test_password_behind_the_question_mark_is_told_nobody(denizen: Run, command: tuple[str, ...]) -> None:
    said = denizen(*command, DATABASE_URL=AWAY, SECRET_KEY="7vLq2ZkW9tXbR4mNc8JfHs3PdGy6UaEo", LOG_LEVEL="debug")

    assert said.returncode != 0
    assert PASSWORD not in said.stdout + said.stderr


@pytest.mark.slow
def test_scheme_may_be_written_large(denizen: Run, sqlite_template: Path, tmp_path: Path) -> None:
    shutil.copy(sqlite_template, tmp_path / "large.db")

    assert denizen("users", "list", DATABASE_URL="SQLite:///large.db").returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("command", [("doctor",), ("users", "list"), ("keys", "list"), ("serve", "--port", "0")])
def test_file_that_is_no_database_is_told(denizen: Run, tmp_path: Path, command: tuple[str, ...]) -> None:
    (tmp_path / "denizen.db").write_bytes(os.urandom(8192))
    said = denizen(*command)

    assert said.returncode == 1
    assert "file is not a database" in " ".join((said.stdout + said.stderr).replace("│", " ").split())
    assert "Traceback" not in said.stdout + said.stderr


def test_setting_without_a_value_is_refused(denizen: Run, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("DENIZEN_PORT\n")
    said = denizen("settings")

    assert said.returncode != 0
    assert "line 1 is not of the form NAME=value" in said.stderr


def test_two_databases_in_one_folder_have_two_links_for_administrators(tmp_path: Path) -> None:
    paths = [
        Settings(database_url=f"sqlite:///{tmp_path}/{name}").admin_link_path
        for name in ("denizen.db", "team.db", "plain", "x.admin-link")
    ]
    assert [path.name for path in paths] == [
        "denizen.admin-link",
        "team.admin-link",
        "plain.admin-link",
        "x.admin-link.admin-link",
    ]


def test_file_that_may_not_be_written_is_told(sqlite_template: Path) -> None:
    connection = sqlite3.connect(f"file:{sqlite_template}?mode=ro", uri=True, isolation_level=None)
    with closing(connection), pytest.raises(Unavailable, match="cannot be written"):
        _write(sqlite3.Connection.execute, connection, "DELETE FROM denizen_users")
