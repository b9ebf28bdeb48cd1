"""`denizen users suspend | unsuspend | delete | restore`, and what the other commands see of who is deleted."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Command


@pytest.fixture
def ada(command: Command) -> str:
    made = command(
        "users", "create", "--username", "ada", "--email", "ada@example.org", "--external-id", "crm-1",
        "--full-name", "Ada Lovelace", "--no-password", "--json",
    )  # fmt: skip
    return str(made.row["id"])


def test_suspension_is_shown_with_its_reason(command: Command, ada: str) -> None:
    until = "2999-03-01T00:00:00Z"

    suspended = command("users", "suspend", "ada", "--reason", "Chargeback", "--until", until, "--json").row
    shown = command("users", "show", "ada@example.org", "--json").row

    assert suspended["suspended_at"] is not None
    assert suspended["suspended_until"] == until
    assert shown == suspended | {"suspension_reason": "Chargeback", "roles": []}
    assert "Chargeback" in command("users", "show", "ada").out
    ended = command("users", "unsuspend", "ada", "--json").row
    assert (ended["suspended_at"], ended["suspended_until"], ended["version"]) == (None, None, 3)
    assert "suspension_reason" not in command("users", "show", "ada", "--json").row


HIDING: tuple[tuple[tuple[str, ...], str], ...] = (
    (("show", "ada"), "user_not_found"),
    (("show", "ada@example.org"), "user_not_found"),
    (("edit", "ada", "--full-name", "Eve"), "user_not_found"),
    (("suspend", "ada"), "user_not_found"),
    (("unsuspend", "ada"), "user_not_found"),
    (("delete", "ada", "--yes"), "user_not_found"),
    (("create", "--username", "ada", "--no-password"), "username_taken"),
    (("create", "--email", "ada@example.org", "--no-password"), "email_taken"),
)
SEEING: tuple[tuple[str, ...], ...] = (
    ("list", "--json"),
    ("list", "--q", "lovelace", "--json"),
    ("list", "--username", "ada", "--json"),
    ("list", "--order-by=-email", "--json"),
    ("export",),
)


@pytest.mark.slow
def test_deleted_account_is_hidden_from_every_command_but_those_that_ask(
    command: Command, ada: str, tmp_path: Path
) -> None:
    """And is as it was once it is restored."""
    before = command("users", "show", "ada", "--json").row
    rows = tmp_path / "rows.ndjson"
    rows.write_text('{"email": "ada@example.org", "full_name": "Eve"}\n')

    deleted = command("users", "delete", "ada", "--yes", "--json").row

    assert deleted["id"] == ada
    assert deleted["erase_at"] is not None
    for arguments, code in HIDING:
        assert command("users", *arguments, "--json").problem["code"] == code, arguments
        if code == "user_not_found":
            by_id = command("users", arguments[0], ada, *arguments[2:], "--json")
            assert by_id.problem["code"] == code, arguments
    for seen in SEEING:
        assert ada not in command("users", *seen).out, seen
    assert "No account matches." in command("users", "edit", "--all-matching", "--everybody", "--activate", "--yes").err
    for mode in ("create", "skip", "upsert"):
        imported = command("users", "import", str(rows), "--mode", mode, "--json")
        assert (imported.code, imported.rows[0]["codes"]) == (1, {"email_taken": 1})

    [listed] = command("users", "list", "--deleted", "--json").rows
    del before["roles"]
    assert listed == before | {
        "version": 2,
        "updated_at": listed["updated_at"],
        "deleted_at": listed["updated_at"],
        "erase_at": deleted["erase_at"],
    }
    assert command("users", "show", "ada", "--deleted", "--json").row["erase_at"] == deleted["erase_at"]
    refused = command("users", "list", "--deleted", "--username", "ada", "--json")
    assert refused.problem["detail"] == "--deleted goes with --limit alone."

    restored = command("users", "restore", "ada@example.org", "--json").row

    assert restored == before | {"version": 3, "updated_at": restored["updated_at"]}
    assert command("users", "list", "--deleted", "--json").rows == []
    for seen in SEEING:
        assert ada in command("users", *seen).out, seen


def test_erasing_is_at_once_and_takes_who_waits_for_it(command: Command, ada: str) -> None:
    command("users", "delete", "ada", "--yes")

    asked = command("users", "delete", "ada", "--erase")
    assert asked.code == 1
    erased = command("users", "delete", "ada", "--erase", "--yes", "--json").row

    assert erased == {"id": ada, "deleted": True, "erase_at": None}
    assert command("users", "restore", ada, "--json").problem["code"] == "user_not_found"
    assert command("users", "create", "--username", "ada", "--no-password").code == 0


def test_without_grace_deleting_erases(command: Command, ada: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DENIZEN_DELETE_GRACE", "0")

    assert command("users", "delete", "ada", "--yes", "--json").row["erase_at"] is None
    assert command("users", "list", "--deleted", "--json").rows == []
    assert command("users", "create", "--username", "ada", "--no-password").code == 0


@pytest.mark.slow
def test_what_a_file_says_of_suspensions_is_left_out(command: Command, ada: str, tmp_path: Path) -> None:
    """What comes out goes in again, and nobody is suspended or let back in by it; proofs of addresses are kept."""
    out = tmp_path / "all.csv"
    command("users", "suspend", "ada")
    assert command("users", "export", "--output", str(out)).code == 0
    assert "suspended_until" in out.read_text()
    out.write_text(out.read_text().replace(",true,,2", ",true,2026-01-31T09:30:00.000000Z,2"))
    command("users", "delete", "ada", "--erase", "--yes")

    imported = command("users", "import", str(out), "--json")

    assert imported.row["created"] == 1
    shown = command("users", "show", "ada", "--json").row
    assert shown["suspended_at"] is None
    assert shown["email_verified_at"] == "2026-01-31T09:30:00Z"


@pytest.mark.slow
def test_import_that_changes_an_address_takes_its_proof_away(command: Command, ada: str, tmp_path: Path) -> None:
    rows = tmp_path / "rows.ndjson"

    def upsert(line: str) -> str | None:
        rows.write_text(line + "\n")
        done = command("users", "import", str(rows), "--mode", "upsert", "--match", "username", "--json")
        assert done.row["updated"] == 1, done.out
        proved: str | None = command("users", "show", "ada", "--json").row["email_verified_at"]
        return proved

    then = "2026-01-31T09:30:00Z"
    assert upsert(f'{{"username": "ada", "email_verified_at": "{then}"}}') == then
    assert upsert('{"username": "ada", "email": "ADA@example.org"}') == then
    assert upsert('{"username": "ada", "email": "countess@example.org"}') is None
    assert upsert(f'{{"username": "ada", "email": "a@example.org", "email_verified_at": "{then}"}}') == then


def test_dry_run_shows_what_a_deletion_reaches(command: Command, ada: str) -> None:
    """Without asking, and nothing is done."""
    shown = command("users", "delete", "ada", "--dry-run")
    told = command("users", "delete", "ada", "--dry-run", "--erase", "--json").row

    assert "denizen_users" in shown.out
    assert "ON DELETE CASCADE" in " ".join(shown.out.split())
    assert "It would be erased at" in shown.err
    assert (told["refused"], told["tables"][0]["table"], told["tables"][0]["rows"]) == (False, "denizen_users", 1)
    assert command("users", "show", "ada", "--json").row["id"] == ada
