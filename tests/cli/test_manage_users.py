"""`denizen users create | list | show | edit | delete`, on both databases."""

from __future__ import annotations

from uuid import UUID

from tests.cli.conftest import Command

PASSWORD = "correct horse battery"
ADA = ("users", "create", "--username", "ada", "--email", "Ada@Example.org", "--full-name", "Ada Lovelace")


def test_account_lives_from_create_to_delete(command: Command) -> None:
    made = command(*ADA, "--password-stdin", "--json", stdin=f"{PASSWORD}\n").row

    assert made["username"] == "ada"
    assert made["email"] == "Ada@example.org"
    assert made["full_name"] == "Ada Lovelace"
    assert made["is_active"] is True
    assert "hashed_password" not in made
    for who in (made["id"], "ada", "ADA@EXAMPLE.ORG"):
        assert command("users", "show", who, "--json").row == made

    changed = command("users", "edit", "ada", "--full-name", "Augusta Ada King", "--deactivate", "--json").row
    assert changed["full_name"] == "Augusta Ada King"
    assert changed["is_active"] is False
    assert command("users", "edit", "ada", "--clear", "full_name", "--json").row["full_name"] is None

    assert command("users", "delete", "ada", "--yes", "--json").row["id"] == made["id"]
    assert command("users", "show", "ada", "--json").problem["code"] == "user_not_found"
    assert command("users", "list", "--json").rows == []


def test_list_goes_page_by_page(command: Command) -> None:
    made = [
        command("users", "create", "--username", f"person{number}", "--no-password", "--json").row["id"]
        for number in range(5)
    ]

    first = command("users", "list", "--limit", "3", "--json")
    assert [row["id"] for row in first.rows] == made[:3]
    assert UUID(made[0]).version == 7
    shown = command("users", "list", "--limit", "3", "--count")
    cursor = shown.err.rpartition("--cursor ")[2].strip()
    assert "5 in all." in shown.err
    rest = command("users", "list", "--limit", "3", "--cursor", cursor, "--json")
    assert [row["id"] for row in rest.rows] == made[3:]
    descending = command("users", "list", "--order-by=-id", "--json")
    assert [row["id"] for row in descending.rows] == made[::-1]


def test_people_see_a_table(command: Command) -> None:
    command(*ADA, "--no-password")

    shown = command("users", "list")

    assert shown.code == 0
    assert "Ada Lovelace" in shown.out
    assert not shown.out.startswith("{")


REFUSED = (
    (ADA, f"{PASSWORD}\n", "email_taken"),
    (("users", "create", "--username", "ada2", "--email", "nobody"), f"{PASSWORD}\n", "email_invalid"),
    (("users", "create", "--username", "ada2"), "short\n", "password_too_short"),
    (("users", "create", "--username", "ada2"), "password\n", "password_common"),
    (("users", "create", "--username", "ada2"), "\n", "invalid"),
)


def test_refused_account_is_a_problem_and_none_is_made(command: Command) -> None:
    command(*ADA, "--no-password")

    for arguments, stdin, code in REFUSED:
        refused = command(*arguments, "--password-stdin", "--json", stdin=stdin)
        assert refused.problem["code"] == code
        assert refused.out == ""

    assert len(command("users", "list", "--json").rows) == 1


def test_refusal_is_a_sentence_for_people(command: Command) -> None:
    refused = command("users", "show", "nobody@example.org")

    assert refused.code == 1
    assert refused.err.startswith("Error: ")
    assert refused.err.count("\n") == 1


def test_delete_asks_first(command: Command) -> None:
    command(*ADA, "--no-password")

    refused = command("users", "delete", "ada")

    assert refused.code == 1
    assert "--yes" in refused.err
    assert len(command("users", "list", "--json").rows) == 1


def test_options_out_of_bounds_are_usage(command: Command) -> None:
    assert command("users", "list", "--limit", "0").code == 2
    assert command("users", "show").code == 2


def test_list_that_cannot_be_served_is_refused(command: Command) -> None:
    for arguments in (("--order-by", "password"), ("--cursor", "forged")):
        refused = command("users", "list", "--json", *arguments)
        assert refused.problem["detail"]
