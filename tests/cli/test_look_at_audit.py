"""`denizen audit list`."""

from __future__ import annotations

from tests.cli.conftest import Command


def test_people_are_found_in_any_state(command: Command) -> None:
    """By all they are known by while they are hidden, and by their id once they are erased."""
    made = command("users", "create", "--username", "ada", "--email", "ada@example.org", "--no-password", "--json").row

    def actions(who: str) -> list[str]:
        return [row["action"] for row in command("audit", "list", "--user", who, "--json").rows]

    command("users", "delete", "ada", "--yes")
    for who in ("ada", "Ada@example.org", made["id"]):
        assert actions(who) == ["user.deleted", "user.created"]
    command("users", "delete", "ada", "--erase", "--yes")
    assert actions(made["id"])[:1] == ["user.erased"]
    assert command("audit", "list", "--user", "ada").code != 0
