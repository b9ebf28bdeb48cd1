"""`denizen keys create | list | revoke`, on both databases."""

from __future__ import annotations

from tests.cli.conftest import Command


def test_key_is_shown_once_listed_and_revoked(command: Command) -> None:
    made = command("keys", "create", "--name", "nightly", "--scopes", "users:read,users:import", "--json").row

    token = made.pop("token")
    assert token.startswith("dzk_")
    assert sorted(made["scopes"]) == ["users:import", "users:read"]
    listed = command("keys", "list", "--json")
    assert listed.row["id"] == made["id"]
    assert token not in listed.out

    assert command("keys", "revoke", made["id"], "--json").row["revoked"] == 1
    assert command("keys", "list", "--json").rows == []
    assert command("keys", "list", "--ended", "--json").row["revoked_at"] is not None


def test_person_sees_the_whole_key(command: Command) -> None:
    shown = command("keys", "create", "--name", "mine", "--scopes", "all", "--expires", "never")

    (token,) = [word for word in shown.out.split() if word.startswith("dzk_") and len(word) > 20]
    assert len(token) == 47


REFUSED = (
    ("create", "--name", "x", "--scopes", "users:everything"),
    ("create", "--name", "x", "--scopes", "all", "--expires", "soon"),
    ("create", "--name", "", "--scopes", "all"),
    ("revoke", "not-an-id"),
    ("revoke", "019a5c1e-7f00-7a11-8b22-3c33d44e55f6"),
)


def test_refused_key_is_a_problem_and_none_is_made(command: Command) -> None:
    for arguments in REFUSED:
        assert command("keys", *arguments, "--json").problem["detail"], arguments

    assert command("keys", "list", "--json").rows == []
