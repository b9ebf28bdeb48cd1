"""Each command loads what it needs and no more, which other tests cannot tell: they run many in one process."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Run

# One of every room, and of every way into another: events are heard, guards asked, letters written, tables cleaned.
COMMANDS = (
    "users create --username ada --email ada@example.org --no-password",
    "users edit ada --full-name Ada",
    "users edit --all-matching --everybody --full-name Ada --yes",
    "users list --q ada",
    "users show ada",
    "users suspend ada",
    "users unsuspend ada",
    "users import people.csv --mode upsert",
    "users export",
    "roles create support --may users:read",
    "roles grant ada support",
    "roles edit support --may users:write",
    "roles revoke ada support",
    "keys create --name nightly --scopes users:read",
    "invitations create --email grace@example.org",
    "users password-link ada",
    "mail list",
    "sessions end ada",
    "signing-keys rotate",
    "jobs list",
    "search rebuild",
    "housekeeping run",
    "users delete ada --yes",
    "users restore ada",
    "users delete ada --erase --yes",
    "audit list",
    "migrate check",
)


@pytest.mark.thorough
@pytest.mark.timeout(300)
def test_every_command_works_in_a_process_of_its_own(denizen: Run, sqlite_template: Path, tmp_path: Path) -> None:
    shutil.copy(sqlite_template, tmp_path / "denizen.db")
    (tmp_path / "people.csv").write_text("email,username\neve@example.org,eve\n")
    asked = {"MAIL_URL": "smtp://127.0.0.1:1"}

    for line in COMMANDS:
        done = denizen(*line.split(), **asked)
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
