"""`denizen migrate`, as an operator types it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from denizen.cli import build
from denizen.migrations import runner
from denizen.migrations.history import SHIPPED
from denizen.migrations.schema import SchemaKind
from tests.migrations.ground import REBUILD, catalogue, connected, fill, planted, rows

Migrate = Callable[..., Result]
HEAD = SHIPPED.heads[0]


@pytest.fixture
def migrate(monkeypatch: pytest.MonkeyPatch) -> Migrate:
    """Run `denizen migrate ...` on the database at a URL."""

    def run(url: str, *arguments: str, code: int = 0) -> Result:
        monkeypatch.setenv("DENIZEN_DATABASE_URL", url)
        result = CliRunner().invoke(build(), ["migrate", *arguments])
        assert result.exit_code == code, result.output
        return result

    return run


def test_up_twice(empty_url: str, migrate: Migrate) -> None:
    first, second = migrate(empty_url, "up"), migrate(empty_url, "up")

    assert f"Applying {HEAD}" in first.stderr or len(SHIPPED.revisions) > 1
    assert "The database is up to date." in first.stderr
    assert second.stderr == "There was nothing to do.\nThe database is up to date.\n"
    assert second.stdout == ""


@pytest.mark.slow
def test_up_and_down_keep_what_was_there(database_url: str, migrate: Migrate) -> None:
    fill(database_url)
    before, tables = rows(database_url), catalogue(database_url)

    migrate(database_url, "up")
    assert (rows(database_url), catalogue(database_url)) == (before, tables)

    migrate(database_url, "down", "base", "--yes")
    assert catalogue(database_url) == set()

    migrate(database_url, "up")
    assert catalogue(database_url) == tables


def test_down_is_asked_for(sqlite_url: str, migrate: Migrate) -> None:
    assert "say --yes" in migrate(sqlite_url, "down", "base", code=1).stderr
    assert runner.status(sqlite_url).ready


def test_down_one_step(sqlite_url: str, migrate: Migrate, tmp_path: Path) -> None:
    answer = migrate(sqlite_url, "down", "-1", "--yes", "--json")

    told = json.loads(answer.stdout)
    assert told["steps"] == [HEAD]
    assert Path(told["copy"]).parent == tmp_path
    assert runner.status(f"sqlite:///{told['copy']}").ready


def test_status_of_every_kind(database_url: str, migrate: Migrate, tmp_path: Path) -> None:
    assert HEAD in migrate(database_url, "status").stdout
    known = json.loads(migrate(database_url, "status", "--json").stdout)
    assert (known["state"], known["ready"]) == ("current", True)
    assert known["revisions"][-1]["revision"] == HEAD
    assert "secret" not in json.dumps(known)

    runner.upgrade(
        database_url, history=planted(tmp_path / "versions", REBUILD.replace("breaking = False", "breaking = True"))
    )
    newer = json.loads(migrate(database_url, "status", "--json", code=1).stdout)
    assert newer["state"] == "newer_breaking"
    assert newer["revisions"][-1] == {
        "revision": "denizen_9001",
        "applied": True,
        "breaking": True,
        "summary": "(of another release)",
    }


def test_status_without_a_database(tmp_path: Path, migrate: Migrate) -> None:
    answer = migrate("sqlite:///none.db", "status", code=1)

    assert "There is no database." in answer.stderr
    assert list(tmp_path.iterdir()) == []


def test_up_in_the_wrong_folder_makes_nothing(tmp_path: Path, migrate: Migrate) -> None:
    answer = migrate("sqlite:///none.db", "up", "--json", code=1)

    problem = json.loads(answer.stderr)
    assert problem["code"] == "no_database"
    assert str(tmp_path / "none.db") in problem["detail"]
    assert list(tmp_path.iterdir()) == []


def test_check(sqlite_url: str, migrate: Migrate) -> None:
    assert migrate(sqlite_url, "check").stderr == "Nothing differs.\n"
    with connected(sqlite_url) as connection:
        connection.exec_driver_sql("DROP INDEX ix_denizen_keys_user_id_id")

    assert "lacks the index denizen_keys.ix_denizen_keys_user_id_id" in migrate(sqlite_url, "check", code=1).stdout
    told = json.loads(migrate(sqlite_url, "check", "--json", code=1).stdout)
    assert len(told["differences"]) == 1


def test_check_of_an_empty_database_names_the_command(empty_url: str, migrate: Migrate) -> None:
    assert "`denizen migrate up`" in migrate(empty_url, "check", code=1).stderr


def test_sql_of_both_dialects_needs_no_database(tmp_path: Path, migrate: Migrate) -> None:
    url = "sqlite:///none.db"

    assert "VARCHAR(27)" in migrate(url, "sql").stdout
    assert 'COLLATE "C"' in migrate(url, "sql", "--dialect", "postgresql").stdout
    assert "DROP TABLE denizen_users" in migrate(url, "sql", "--from", "head", "--to", "base").stdout
    assert list(tmp_path.iterdir()) == []


def test_sql_of_a_rebuilt_table_keeps_its_rows(sqlite_url: str, tmp_path: Path) -> None:
    fill(sqlite_url)
    before = rows(sqlite_url)
    history = planted(tmp_path / "versions", REBUILD)

    script = runner.sql(HEAD, "head", "sqlite", history)
    connection = sqlite3.connect(tmp_path / "denizen.db", isolation_level=None)
    connection.execute("PRAGMA foreign_keys=ON")
    connection.executescript(script)
    connection.close()

    assert rows(sqlite_url) == before
    assert runner.status(sqlite_url, history).kind is SchemaKind.CURRENT


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["up", "nowhere"], "Can't locate revision identified by 'nowhere'"),
        (["up", "+17"], "Relative revision +17 didn't produce 17 migrations"),
        (["down", "-17", "--yes"], "Relative revision -17 didn't produce 17 migrations"),
        (["sql", "--to", "nowhere"], "Can't locate revision identified by 'nowhere'"),
    ],
)
def test_a_revision_that_is_not_there_is_refused(
    database_url: str, migrate: Migrate, arguments: list[str], told: str
) -> None:
    answer = migrate(database_url, *arguments, code=1)

    assert told in answer.stderr
    assert runner.status(database_url).ready


def test_a_server_that_is_away_is_told_without_its_password(migrate: Migrate) -> None:
    for arguments in (["up"], ["status"], ["check"], ["down", "base", "--yes"]):
        answer = migrate("postgresql://me:hunter22@127.0.0.1:1/x", *arguments, code=1)

        assert "postgresql://me:********@127.0.0.1:1/x does not answer" in answer.stderr
        assert "hunter22" not in answer.output


def test_a_file_that_is_no_database_is_told(tmp_path: Path, migrate: Migrate) -> None:
    (tmp_path / "letter.db").write_text("Dear Ada, " * 1000)

    answer = migrate("sqlite:///letter.db", "up", code=1)

    assert "file is not a database" in answer.stderr
