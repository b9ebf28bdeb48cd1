"""`denizen users edit --all-matching`: the same change for many, shown before it is made."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from denizen.core.assembly import assemble
from denizen.core.hashers import NullHasher
from denizen.directory import service as directory
from denizen.directory.service import ChangeOfMany
from denizen.features import FEATURES
from denizen.settings import Settings
from denizen.users import service
from denizen.users.schemas import UserUpdate
from tests.cli.conftest import Command
from tests.conftest import SECRET

EDIT = ("users", "edit", "--all-matching")


def make(command: Command, *names: str, **fields: str) -> list[str]:
    """Create accounts, some facts of which are alike; gives their ids."""
    options = [part for name, value in fields.items() for part in (f"--{name.replace('_', '-')}", value) if part]
    return [
        command("users", "create", "--username", name, "--no-password", *options, "--json").row["id"] for name in names
    ]


def people(command: Command) -> dict[str, dict[str, Any]]:
    return {row["username"]: row for row in command("users", "list", "--limit", "1000", "--json").rows}


def test_all_who_match_are_changed_and_nobody_else(command: Command) -> None:
    make(command, "ada", "eve")
    make(command, "bob", inactive="")

    changed = command(*EDIT, "--where-active", "--deactivate", "--full-name", "Former member", "--yes", "--json")

    assert changed.row == {"matched": 2, "changed": 2, "unchanged": 0, "failed": 0, "dry_run": False}
    found = people(command)
    assert [found[name]["full_name"] for name in ("ada", "eve", "bob")] == ["Former member", "Former member", None]
    assert not any(each["is_active"] for each in found.values())


@pytest.mark.slow
def test_preview_shows_what_would_change_and_stops_there(command: Command) -> None:
    make(command, *(f"person{number}" for number in range(12)))
    before = people(command)

    shown = command(*EDIT, "--everybody", "--deactivate", "--dry-run")

    assert shown.code == 0
    assert "12 accounts match." in shown.err
    assert shown.out.count("yes -> no") == 10
    assert "Would change" in shown.out
    assert people(command) == before
    assert command(*EDIT, "--everybody", "--deactivate", "--dry-run", "--json").row["dry_run"] is True


def test_nobody_is_changed_unasked(command: Command) -> None:
    make(command, "ada")

    refused = command(*EDIT, "--everybody", "--deactivate", "--json")

    assert "--yes" in refused.problem["detail"]
    assert people(command)["ada"]["is_active"] is True


def test_who_is_as_he_should_be_stays_as_he_is(command: Command) -> None:
    make(command, "ada", full_name="Ada")
    make(command, "eve")

    changed = command(*EDIT, "--everybody", "--clear", "full_name", "--yes", "--json")

    assert (changed.row["changed"], changed.row["unchanged"]) == (1, 1)
    assert {name: each["version"] for name, each in people(command).items()} == {"ada": 2, "eve": 1}


@pytest.mark.slow
def test_filters_hold_together(command: Command) -> None:
    ada, eve, bob = make(command, "ada", "eve", "bob")
    now = datetime.now(UTC)
    tomorrow, yesterday = ((now + timedelta(days=days)).isoformat() for days in (1, -1))

    for arguments, matched in (
        (("--where-id", ada, "--where-id", eve), 2),
        (("--where-id", ada, "--where-inactive"), 0),
        (("--where-created-from", yesterday, "--where-created-before", tomorrow, "--where-active"), 3),
        (("--where-created-from", tomorrow), 0),
        (("--where-created-before", yesterday, "--where-id", bob), 0),
    ):
        shown = command(*EDIT, *arguments, "--deactivate", "--dry-run", "--json")
        assert shown.row["matched"] == matched, arguments
    assert "No account matches." in command(*EDIT, "--where-inactive", "--activate").err


@pytest.mark.slow
def test_more_than_one_transaction_holds_are_all_changed(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "_AT_ONCE", 2)
    make(command, *(f"person{number}" for number in range(5)))

    changed = command(*EDIT, "--where-active", "--deactivate", "--yes")

    assert changed.code == 0
    assert "Changing: 5 accounts" in changed.err
    assert {each["is_active"] for each in people(command).values()} == {False}
    assert {each["version"] for each in people(command).values()} == {2}


REFUSED = (
    ((*EDIT, "--deactivate", "--yes"), "--everybody"),
    ((*EDIT, "--everybody", "--where-active", "--deactivate", "--yes"), "--everybody"),
    ((*EDIT, "--everybody", "--email", "a@example.org", "--yes"), "No two accounts"),
    ((*EDIT, "--everybody", "--username", "all", "--yes"), "No two accounts"),
    ((*EDIT, "--everybody", "--external-id", "crm-1", "--yes"), "No two accounts"),
    ((*EDIT, "--everybody", "--clear", "username", "--yes"), "No two accounts"),
    ((*EDIT, "--everybody", "--clear", "email", "--yes"), "No two accounts"),
    ((*EDIT, "--everybody", "--yes"), "Nothing to change"),
    ((*EDIT, "--where-id", "ada", "--deactivate", "--yes"), "--where-id takes an id"),
    ((*EDIT, "--where-created-from", "yesterday", "--deactivate", "--yes"), "created_at__gte"),
    (("users", "edit", "ada", "--all-matching", "--everybody", "--deactivate", "--yes"), "not both"),
    (("users", "edit", "ada", "--where-active", "--deactivate"), "go with --all-matching"),
    (("users", "edit", "ada", "--everybody", "--deactivate"), "go with --all-matching"),
    (("users", "edit", "ada", "--dry-run", "--deactivate"), "go with --all-matching"),
)


@pytest.mark.slow
def test_what_could_hit_others_than_were_meant_is_refused(command: Command) -> None:
    make(command, "ada")
    before = people(command)

    for arguments, words in REFUSED:
        refused = command(*arguments, "--json")
        assert words in refused.problem["detail"], arguments
        assert refused.out == ""
    assert command("users", "edit", "--deactivate").code == 2
    assert people(command) == before


def test_who_was_changed_meanwhile_is_looked_at_again(
    command: Command, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between reading and writing somebody renames one, and another one leaves those that match."""
    ada, eve, *_ = make(command, "ada", "eve", "bob")
    read = ChangeOfMany._read
    waiting = [(ada, UserUpdate(full_name="Countess")), (eve, UserUpdate(is_active=False))]

    async def read_and_be_late(*arguments: Any, **options: Any) -> list[dict[str, Any]]:
        rows = await read(*arguments, **options)
        accounts = assemble(
            Settings(_env_file=None, database_url=database_url, secret_key=SECRET), FEATURES, hasher=NullHasher()
        )
        while waiting and len(rows) == 3:
            user_id, change = waiting.pop()
            async with accounts.writing() as db:
                await service.change_user(db, rows_by_id(rows)[user_id], change, versions=None, at=accounts.clock())
        await accounts.close()
        return rows

    with monkeypatch.context() as late:
        late.setattr(ChangeOfMany, "_read", read_and_be_late)
        changed = command(*EDIT, "--where-active", "--full-name", "Former member", "--yes", "--json")

    assert (changed.row["changed"], changed.row["failed"]) == (2, 0)
    names = {name: each["full_name"] for name, each in people(command).items()}
    assert names == {"ada": "Former member", "eve": None, "bob": "Former member"}


def rows_by_id(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {str(row["id"]): row["id"] for row in rows}
