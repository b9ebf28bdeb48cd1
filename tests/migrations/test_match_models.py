"""What the revisions build is what the models describe, on both databases."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

from denizen.core.base import Base
from denizen.migrations import environment, runner
from denizen.migrations.errors import SchemaNotReady
from denizen.migrations.history import SHIPPED, VERSIONS, History
from tests.migrations.ground import REBUILD, catalogue, connected, planted


def test_migrated_and_created_databases_are_alike(database_url: str, empty_url: str) -> None:
    with connected(empty_url) as connection:
        Base.metadata.create_all(connection)

    assert catalogue(database_url) == catalogue(empty_url)


def test_alembic_finds_nothing_to_add(database_url: str) -> None:
    assert runner.check(database_url) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            "DROP INDEX ix_denizen_keys_user_id_id",
            "The database lacks the index denizen_keys.ix_denizen_keys_user_id_id.",
        ),
        ("ALTER TABLE denizen_users DROP COLUMN full_name", "The database lacks the column denizen_users.full_name."),
        (
            "ALTER TABLE denizen_keys ADD COLUMN x INTEGER",
            "The database has, and should not have, the column denizen_keys.x.",
        ),
        (
            "ALTER TABLE denizen_users DROP CONSTRAINT ck_denizen_users_email_length",
            "The database lacks the rule denizen_users.ck_denizen_users_email_length.",
        ),
        ("DROP TABLE denizen_limits", "The database lacks the table denizen_limits."),
        ("CREATE TABLE denizen_other (id INTEGER)", "The database has, and should not have, the table denizen_other."),
    ],
)
def test_check_tells_what_differs(postgres_url: str, change: str, told: str) -> None:
    with connected(postgres_url) as connection:
        connection.exec_driver_sql(change)

    assert told in runner.check(postgres_url)


def test_check_tells_a_column_of_another_type(postgres_url: str) -> None:
    with connected(postgres_url) as connection:
        connection.exec_driver_sql(
            "ALTER TABLE denizen_keys ALTER COLUMN name TYPE varchar(50), ALTER hint DROP NOT NULL"
        )

    assert runner.check(postgres_url) == [
        "The type of denizen_keys.name is VARCHAR(length=50) and should be String(length=100).",
        "The nullable of denizen_keys.hint is True and should be False.",
    ]


def test_check_tells_references_to_nothing(sqlite_url: str) -> None:
    with connected(sqlite_url) as connection:
        connection.exec_driver_sql(
            "INSERT INTO denizen_keys (id, name, hint, token_digest, scopes, created_at) "
            "VALUES ('a', 'b', 'c', zeroblob(32), '[]', '')"
        )
    with connected(sqlite_url) as connection:
        connection.connection.driver_connection.execute("PRAGMA foreign_keys=OFF")  # type: ignore[union-attr]  # open
        connection.exec_driver_sql("UPDATE denizen_keys SET user_id = 'nobody'")

    assert runner.check(sqlite_url) == ["Row 1 of denizen_keys points to nothing in denizen_users."]


def test_check_leaves_a_hosts_tables_alone(database_url: str) -> None:
    with connected(database_url) as connection:
        connection.exec_driver_sql("CREATE TABLE orders (id INTEGER PRIMARY KEY)")

    assert runner.check(database_url) == []


def test_check_compares_nothing_with_an_older_schema(database_url: str, tmp_path: Path) -> None:
    with pytest.raises(SchemaNotReady, match="It lacks denizen_9001"):
        runner.check(database_url, planted(tmp_path / "versions", REBUILD))


def test_every_rooms_models_are_known_to_migrations() -> None:
    package = VERSIONS.parents[1]
    rooms = {path.parent.name for path in package.glob("*/models.py")} - {"migrations"}

    assert {module.__name__ for module in environment.ROOMS} == {f"denizen.{room}.models" for room in rooms}
    assert all(import_module(f"denizen.{room}.models") in environment.ROOMS for room in rooms)


def test_there_is_one_head_and_it_is_alembics_too() -> None:
    scripts: ScriptDirectory = runner.scripts_of()

    assert len(SHIPPED.heads) == 1
    assert tuple(scripts.get_heads()) == SHIPPED.heads
    assert [script.revision for script in reversed(list(scripts.walk_revisions()))] == [
        one.id for one in SHIPPED.revisions
    ]
    assert {script.module.breaking for script in scripts.walk_revisions()} <= {True, False}


def test_hosts_can_depend_on_the_branch_by_its_name() -> None:
    assert runner.scripts_of().get_revision("denizen@head").revision == SHIPPED.heads[0]


def test_revisions_do_not_change_with_the_code() -> None:
    for path in VERSIONS.glob("*.py"):
        assert "denizen." not in path.read_text(encoding="utf-8").replace("denizen.db", ""), (
            f"{path.name} imports from denizen"
        )


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("revision = 'x'\ndown_revision = None\n", "x.py must say"),
        ("breaking = True\n", "x.py must say"),
        ("revision = 'x'\ndown_revision = 'lost'\nbreaking = False\n", "build on ones that are not there: x"),
    ],
)
def test_a_revision_that_does_not_say_what_it_must_is_refused(tmp_path: Path, body: str, fault: str) -> None:
    (tmp_path / "x.py").write_text(body)

    with pytest.raises(ValueError, match=fault):
        assert History(tmp_path).revisions
