"""Taking back what accounts can be: nobody whom somebody kept out gets in by it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import text

from denizen.migrations import runner
from tests.migrations.ground import connected, fill, id_of

PAST, FUTURE = "2020-01-01T00:00:00.000000Z", "2999-01-01T00:00:00.000000Z"
STATES: dict[int, dict[str, Any]] = {
    1: {"deleted_at": PAST, "erase_at": FUTURE},
    2: {"suspended_at": PAST},
    4: {"suspended_at": PAST, "suspended_until": FUTURE},
    5: {"suspended_at": PAST, "suspended_until": PAST},  # it has ended
    7: {},
}
"""By number, of people who are active."""


def test_the_deleted_and_the_suspended_are_inactive_below(database_url: str) -> None:
    fill(database_url, people=8)
    with connected(database_url) as connection:
        for number, values in STATES.items():
            for name, value in values.items():
                sql = f"UPDATE denizen_users SET {name} = '{value}' WHERE id = '{id_of(number)}'"
                connection.execute(text(sql))

    runner.downgrade(database_url, "denizen_0004")

    with connected(database_url) as connection:
        found = dict(map(tuple, connection.execute(text("SELECT username, is_active FROM denizen_users"))))
    assert {number: bool(found[f"Ada{number}"]) for number in STATES} == {
        1: False,
        2: False,
        4: False,
        5: True,
        7: True,
    }
