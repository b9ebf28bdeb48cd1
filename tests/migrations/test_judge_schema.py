"""Which databases a release works on, and what it says of the others."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from sqlalchemy import text

from denizen.core.database import Database, NoDatabase
from denizen.migrations import runner
from denizen.migrations.errors import MigrationRefused, SchemaNotReady
from denizen.migrations.history import SHIPPED, History
from denizen.migrations.schema import SchemaKind, SchemaState, judge, require_ready, schema_state
from tests.migrations.ground import REBUILD, catalogue, connected, planted

HEAD = SHIPPED.heads[0]
ALL = {revision.id: revision.breaking for revision in SHIPPED.revisions}
BREAKING = REBUILD.replace("breaking = False", "breaking = True")


@pytest.mark.parametrize(
    ("applied", "kind", "ready"),
    [
        (ALL, "current", True),
        (ALL | {"denizen_9001": False}, "newer", True),
        (ALL | {"denizen_9001": False, "denizen_9002": True}, "newer_breaking", False),
        ({"other_1": False}, "unknown", False),
        ({}, "unknown", False),
    ],
)
def test_judge_revisions(applied: dict[str, bool], kind: str, ready: bool) -> None:
    state = judge(applied)

    assert (state.kind, state.ready) == (kind, ready)


def test_judge_older(tmp_path: Path) -> None:
    state = judge(ALL, planted(tmp_path, REBUILD))

    assert state == SchemaState(SchemaKind.OLDER, tuple(ALL), missing=("denizen_9001",))
    assert state.sentence.endswith("Bring it up to date with `denizen migrate up`. It lacks denizen_9001.")


async def state_of(url: str, history: History = SHIPPED) -> SchemaState:
    database = Database(url)
    try:
        return await schema_state(database, history)
    finally:
        await database.close()


async def test_a_current_schema_is_ready(database_url: str) -> None:
    state = await state_of(database_url)

    require_ready(state)
    assert state == runner.status(database_url) == SchemaState(SchemaKind.CURRENT, tuple(ALL))


async def test_an_older_schema_is_refused_with_the_command(database_url: str, tmp_path: Path) -> None:
    with pytest.raises(SchemaNotReady, match=r"older than this release.*`denizen migrate up`"):
        require_ready(await state_of(database_url, planted(tmp_path / "versions", REBUILD)))


async def test_a_newer_schema_is_accepted_unless_it_is_breaking(database_url: str, tmp_path: Path) -> None:
    history = planted(tmp_path / "versions", REBUILD, BREAKING.replace("nickname", "nick").replace("120", "130"))

    runner.upgrade(database_url, "denizen_9001", history=history)
    require_ready(await state_of(database_url))

    runner.upgrade(database_url, history=history)
    with pytest.raises(SchemaNotReady, match=r"Install that release, or .* It has denizen_9002"):
        require_ready(await state_of(database_url))

    runner.downgrade(database_url, "-1", history=history)
    require_ready(await state_of(database_url))


async def test_an_empty_database_is_refused_with_the_command(empty_url: str) -> None:
    with pytest.raises(SchemaNotReady, match=r"none of Denizen's tables. Make them with `denizen migrate up`"):
        require_ready(await state_of(empty_url))


async def test_a_database_taken_back_to_nothing_is_empty(database_url: str) -> None:
    runner.downgrade(database_url, "base")

    assert (await state_of(database_url)).kind is SchemaKind.EMPTY
    assert catalogue(database_url) == set()
    assert runner.upgrade(database_url).steps == tuple(ALL)


async def test_tables_of_unknown_making_are_refused(empty_url: str) -> None:
    with connected(empty_url) as connection:
        connection.execute(text("CREATE TABLE denizen_users (id INTEGER)"))

    with pytest.raises(SchemaNotReady, match="not a schema that this release knows"):
        require_ready(await state_of(empty_url))
    with pytest.raises(MigrationRefused, match="not a schema that this release knows"):
        runner.upgrade(empty_url)


async def test_a_hosts_tables_do_not_matter(empty_url: str) -> None:
    with connected(empty_url) as connection:
        connection.execute(text("CREATE TABLE users (id INTEGER)"))
        connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32))"))

    assert (await state_of(empty_url)).kind is SchemaKind.EMPTY
    runner.upgrade(empty_url)
    assert (await state_of(empty_url)).ready


async def test_without_a_file_there_is_no_database(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'none.db'}"

    with pytest.raises(NoDatabase):
        await state_of(url)
    assert runner.status(url).kind is SchemaKind.MISSING
    with pytest.raises(NoDatabase, match="`denizen serve` makes one"):
        runner.upgrade(url)
    assert os.listdir(tmp_path) == []  # noqa: PTH208  (iterdir is refused in a coroutine)


async def test_looking_takes_two_statements(database_url: str) -> None:
    database = Database(database_url)
    await database.ping()
    statements: list[str] = []
    database.observers.append(statements.append)

    await schema_state(database)

    assert len(statements) == 2
    await database.close()


def test_an_old_release_refuses_to_move_what_it_does_not_know(database_url: str, tmp_path: Path) -> None:
    runner.upgrade(database_url, history=planted(tmp_path / "versions", REBUILD))
    before = catalogue(database_url)

    assert (
        runner.upgrade(database_url) == runner.Outcome()
    )  # as an old release does that starts once more in a rolling upgrade
    for move, target in ((runner.upgrade, HEAD), (runner.downgrade, "base")):
        with pytest.raises(MigrationRefused, match="has denizen_9001, which this release does not know"):
            move(database_url, target)
    assert catalogue(database_url) == before


def test_an_old_release_does_not_go_near_a_breaking_schema(database_url: str, tmp_path: Path) -> None:
    runner.upgrade(database_url, history=planted(tmp_path / "versions", BREAKING))

    with pytest.raises(MigrationRefused, match="denizen_9001"):
        runner.upgrade(database_url)


def test_the_record_says_who_and_when(database_url: str) -> None:
    with connected(database_url) as connection:
        query = "SELECT revision, breaking, release, applied_at FROM denizen_schema ORDER BY revision"
        *_, row = connection.execute(text(query)).all()

    assert (row.revision, bool(row.breaking)) == (HEAD, False)
    assert row.release
    if isinstance(row.applied_at, str):
        assert len(row.applied_at) == 27
    else:
        assert row.applied_at.tzinfo is not None
