"""`denizen roles ...`, and what `denizen users` says of roles, on both databases."""

from __future__ import annotations

from tests.cli.conftest import Command

ADA = ("users", "create", "--username", "ada", "--no-password", "--json")


def test_role_lives_from_create_to_delete(command: Command) -> None:
    made = command(
        "roles", "create", "support", "--may", "users:read,users:write", "--may", "notes:write", "--json"
    ).row
    assert made["permissions"] == ["notes:write", "users:read", "users:write"]
    command(*ADA)

    granted = command("roles", "grant", "ada", "support", "--json").row
    assert granted["roles"] == ["support"]
    assert command("users", "show", "ada", "--json").row["roles"] == ["support"]
    assert [role["name"] for role in command("roles", "list", "--json").rows] == ["admin", "support"]

    changed = command("roles", "edit", "support", "--may", "users:read", "--name", "readers", "--json").row
    assert (changed["name"], changed["permissions"]) == ("readers", ["users:read"])
    assert command("roles", "edit", "readers", "--may-nothing", "--json").row["permissions"] == []
    assert command("roles", "revoke", "ada", "readers", "--json").row["roles"] == []
    assert command("roles", "delete", "readers", "--yes", "--json").row["deleted"] is True
    assert command("roles", "delete", "readers", "--yes", "--json").problem["code"] == "role_not_found"


def test_accounts_are_made_with_roles(command: Command) -> None:
    command("roles", "create", "support", "--may", "users:read")

    made = command(*ADA, "--admin", "--role", "support").row
    refused = command("users", "create", "--username", "eve", "--no-password", "--role", "nobody", "--json")

    assert made["roles"] == ["admin", "support"]
    assert refused.problem["code"] == "role_not_found"
    assert command("users", "show", "eve", "--json").problem["code"] == "user_not_found"


def test_operator_may_not_remove_the_last_administrator_either(command: Command) -> None:
    command(*ADA, "--admin")

    for arguments in (
        ("roles", "revoke", "ada", "admin"),
        ("users", "edit", "ada", "--deactivate"),
        ("users", "delete", "ada", "--yes"),
        ("users", "delete", "ada", "--erase", "--yes"),
        ("users", "suspend", "ada"),
    ):
        assert command(*arguments, "--json").problem["code"] == "last_administrator", arguments
    many = command("users", "edit", "--all-matching", "--everybody", "--deactivate", "--yes", "--json")
    assert many.code == 1
    assert command("users", "show", "ada", "--json").row["is_active"] is True


def test_wrong_roles_are_refused_with_a_sentence(command: Command) -> None:
    for arguments, code in (
        (("roles", "create", "Support"), "invalid"),
        (("roles", "create", "support", "--may", "users:fly"), "invalid"),
        (("roles", "create", "admin"), "role_name_taken"),
        (("roles", "edit", "admin", "--may-nothing"), "role_built_in"),
        (("roles", "edit", "admin"), "invalid"),
        (("roles", "delete", "admin", "--yes"), "role_built_in"),
    ):
        assert command(*arguments, "--json").problem["code"] == code, arguments
