"""`denizen users create | list | show | edit | delete`, on both databases."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from denizen.migrations import runner
from tests.cli.conftest import Command, Run

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


@pytest.mark.slow
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


@pytest.mark.slow
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


REFUSED_CHANGES = (
    (("edit", "bob", "--email", "ADA@example.org"), "email_taken", "email"),
    (("edit", "bob", "--username", "Ada"), "username_taken", "username"),
    (("edit", "bob", "--username", "аda"), "username_too_similar", "username"),
    (("edit", "bob", "--username", "ada@example.org"), "username_invalid", "username"),
    (("edit", "bob", "--full-name", "x" * 201), "invalid", "full_name"),
    (("edit", "bob", "--external-id", ""), "invalid", "external_id"),
    (("edit", "bob", "--clear", "username"), "identity_missing", None),
    (("edit", "bob", "--clear", "hashed_password"), "invalid", None),
    (("edit", "bob"), "invalid", None),
    (("edit", "nobody", "--full-name", "x"), "user_not_found", None),
    (("create", "--no-password"), "identity_missing", None),
    (("create", "--username", "eve", "--full-name", "x" * 201, "--no-password"), "invalid", "full_name"),
    (("create", "--username", "eve", "--full-name", "half \udcff", "--no-password"), "invalid", "full_name"),
    (("create", "--username", "eve", "--external-id", "crm-1", "--no-password"), "external_id_taken", "external_id"),
    (("show", "a b"), "user_not_found", None),
    (("show", "@"), "user_not_found", None),
    (("show", "\udcff@example.org"), "user_not_found", None),
    (("show", str(uuid4())), "user_not_found", None),
    (("delete", "nobody", "--yes"), "user_not_found", None),
)


@pytest.mark.slow
def test_refused_change_is_a_problem_and_nothing_is_changed(command: Command) -> None:
    command(*ADA, "--external-id", "crm-1", "--no-password")
    command("users", "create", "--username", "bob", "--no-password")
    before = command("users", "list", "--json").rows

    for arguments, code, field in REFUSED_CHANGES:
        refused = command("users", *arguments, "--json")
        assert (refused.problem["code"], refused.problem.get("field")) == (code, field), arguments
        assert refused.problem["type"] == f"urn:denizen:error:{code}"
        assert refused.out == ""

    assert command("users", "list", "--json").rows == before


def test_emptied_fields_and_found_people(command: Command) -> None:
    command(*ADA, "--external-id", "crm-1", "--inactive", "--no-password")

    emptied = command("users", "edit", "ada", "--clear", "external_id", "--clear", "username", "--activate", "--json")

    assert emptied.row["external_id"] is emptied.row["username"] is None
    assert (emptied.row["is_active"], emptied.row["version"]) == (True, 2)
    assert command("users", "list", "--email", "ADA@EXAMPLE.ORG", "--json").row == emptied.row
    assert command("users", "list", "--username", "ada", "--json").rows == []
    assert (
        command("users", "list", "--inactive", "--count", "--json").err
        == '{"next_cursor": null, "total": 0, "cut": false}\n'
    )


@pytest.mark.slow
def test_commands_leave_the_password_nowhere_and_a_wrong_folder_empty(denizen: Run, tmp_path: Path) -> None:
    lost = denizen("users", "list")
    assert (lost.returncode, list(tmp_path.iterdir())) == (1, [])
    assert f"There is no database at {tmp_path}/denizen.db." in lost.stderr
    assert "Traceback" not in lost.stderr
    runner.create(f"sqlite:///{tmp_path}/denizen.db")

    made = denizen(*ADA, "--password-stdin", "--json", stdin=f"{PASSWORD}\r\n")
    unasked = denizen("users", "create", "--username", "bob")
    misused = denizen("users", "create", "--password", PASSWORD)

    assert json.loads(made.stdout)["username"] == "ada"
    assert made.stderr == ""
    assert PASSWORD.encode() not in (tmp_path / "denizen.db").read_bytes()
    assert b"$argon2id$v=19$m=19456,t=2,p=1$" in (tmp_path / "denizen.db").read_bytes()
    assert (unasked.returncode, misused.returncode) == (1, 2)
    assert "--password-stdin" in unasked.stderr
