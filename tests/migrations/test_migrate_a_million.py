"""Many people move up and down with their keys, a million at most; on SQLite through two rebuilds of their table."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from denizen.migrations import runner
from tests.migrations.ground import REBUILD, connected, count, planted

SERIES = {
    "sqlite": "(WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {0}) SELECT n FROM s) AS s",
    "postgresql": "generate_series(1, {0}) AS s(n)",
}
ID = {
    "sqlite": "printf('01900000-0000-7000-8000-%012x', n)",
    "postgresql": "('01900000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid",
}
NOW = {"sqlite": "'2026-01-31T09:30:00.123456Z'", "postgresql": "now()"}
DIGEST = {"sqlite": "CAST(printf('%032d', n) AS BLOB)", "postgresql": "decode(lpad(to_hex(n), 64, '0'), 'hex')"}


def fill(url: str, people: int, keys: int) -> None:
    """Store people, and keys of the first of them, made in the database itself."""
    with connected(url) as connection:
        kind = connection.dialect.name
        at = NOW[kind]
        connection.execute(
            text(
                "INSERT INTO denizen_users (id, username, email, is_active, created_at, updated_at, version, "
                f"email_key, username_key, username_skeleton) SELECT {ID[kind]}, 'user' || n, "
                f"'user' || n || '@example.org', n % 3 = 0, {at}, {at}, 1, "
                "'user' || n || '@example.org', 'user' || n, 'user' || n "
                f"FROM {SERIES[kind].format(people)}"
            )
        )
        connection.execute(
            text(
                "INSERT INTO denizen_keys (id, name, hint, token_digest, user_id, scopes, created_at) "
                f"SELECT {ID[kind]}, 'key', 'dzk_', {DIGEST[kind]}, {ID[kind]}, '[]', {at} "
                f"FROM {SERIES[kind].format(keys)}"
            )
        )


def counts(connection: Connection) -> tuple[int, int, int]:
    """Give how many people, keys, and keys of people there are."""
    owned = "denizen_keys JOIN denizen_users ON denizen_users.id = denizen_keys.user_id"
    return count(connection, "denizen_users"), count(connection, "denizen_keys"), count(connection, owned)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("people", [100_000, pytest.param(1_000_000, marks=pytest.mark.thorough)])
def test_many_people_move_up_and_down_with_their_keys(database_url: str, tmp_path: Path, people: int) -> None:
    keys = people // 10
    history = planted(tmp_path / "versions", REBUILD)
    fill(database_url, people, keys)

    up = runner.upgrade(database_url, history=history)
    with connected(database_url) as connection:
        assert counts(connection) == (people, keys, keys)
        connection.execute(text("UPDATE denizen_users SET nickname = 'Ada' WHERE username_key = 'user7'"))
    down = runner.downgrade(database_url, "-1", history=history)

    assert (up.steps, down.steps) == (("denizen_9001",), ("denizen_9001",))
    with connected(database_url) as connection:
        assert counts(connection) == (people, keys, keys)
        connection.execute(text("DELETE FROM denizen_users WHERE username_key = 'user7'"))
        assert counts(connection) == (people - 1, keys - 1, keys - 1)
    assert runner.check(database_url) == []
