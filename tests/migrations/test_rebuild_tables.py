"""Rebuilding a table, as SQLite must for most changes, loses no row, no reference and no rule."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from denizen.migrations import runner
from denizen.migrations.errors import MigrationFailed
from tests.migrations.ground import REBUILD, catalogue, connected, count, fill, id_of, planted, rows


def test_rebuilt_tables_keep_rows_and_children(database_url: str, tmp_path: Path) -> None:
    fill(database_url)
    before = rows(database_url)

    runner.upgrade(database_url, history=planted(tmp_path / "versions", REBUILD))

    assert rows(database_url) == before
    with connected(database_url) as connection:
        assert connection.scalars(text("SELECT nickname FROM denizen_users")).all() == [None] * 3


def test_rebuilt_tables_keep_constraints_and_indexes(database_url: str, tmp_path: Path) -> None:
    fill(database_url)
    before = catalogue(database_url)
    history = planted(tmp_path / "versions", REBUILD)

    runner.upgrade(database_url, history=history)
    changed = catalogue(database_url)
    runner.downgrade(database_url, "-1", history=history)

    assert catalogue(database_url) == before
    assert len(before - changed) == 2  # the two columns that became wider
    assert len(changed - before) == 3  # and the one that is new


def test_rebuilt_tables_cascade_as_before(database_url: str, tmp_path: Path) -> None:
    fill(database_url)
    runner.upgrade(database_url, history=planted(tmp_path / "versions", REBUILD))

    with connected(database_url) as connection:
        connection.execute(text("DELETE FROM denizen_users WHERE username_key = 'ada0'"))
        assert count(connection, "denizen_keys") == 4
        connection.execute(text("DELETE FROM denizen_keys WHERE maker_id IS NULL"))
        assert count(connection, "denizen_keys") == 0


def test_rebuilt_tables_refuse_as_before(database_url: str, tmp_path: Path) -> None:
    fill(database_url)
    runner.upgrade(database_url, history=planted(tmp_path / "versions", REBUILD))

    for change in ("email_key = 'ada1@example.org', email = 'x'", "username = NULL", "username_key = 'ada1'"):
        with pytest.raises(IntegrityError), connected(database_url) as connection:
            connection.execute(text(f"UPDATE denizen_users SET {change} WHERE username_key = 'ada0'"))


def test_a_migration_that_breaks_references_is_taken_back(sqlite_url: str, tmp_path: Path) -> None:
    fill(sqlite_url)
    before = rows(sqlite_url)
    careless = (
        "breaking = False\ndef upgrade(): op.execute(\"DELETE FROM denizen_users WHERE username_key = 'ada1'\")\n"
    )

    with pytest.raises(MigrationFailed, match="denizen_keys points to nothing in denizen_users"):
        runner.upgrade(sqlite_url, history=planted(tmp_path / "versions", careless + "downgrade = upgrade\n"))

    assert rows(sqlite_url) == before
    assert runner.status(sqlite_url).ready


def test_a_failing_migration_leaves_nothing_behind(database_url: str, tmp_path: Path) -> None:
    fill(database_url)
    before, tables = rows(database_url), catalogue(database_url)
    failing = "breaking = False\ndef upgrade(): op.execute('INSERT INTO nowhere VALUES (1)')\ndowngrade = upgrade\n"
    history = planted(tmp_path / "versions", REBUILD, failing)

    with pytest.raises(MigrationFailed, match="nowhere"):
        runner.upgrade(database_url, history=history)

    assert (rows(database_url), catalogue(database_url)) == (before, tables)
    assert runner.status(database_url, history).missing == ("denizen_9001", "denizen_9002")
    assert id_of(1) in {row[0] for row in before["denizen_users"]}
