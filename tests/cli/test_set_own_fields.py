"""Own fields on the command line: set, shown, matched, taken out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Command

SCHEMA = {
    "title": "Staff",
    "properties": {
        "department": {"type": "string"},
        "level": {"type": ["integer", "null"], "default": None},
        "remote": {"type": "boolean", "default": False},
        "tags": {"type": "array", "items": {"type": "string"}, "default": []},
    },
    "required": ["department"],
}
CREATE = ("users", "create", "--no-password", "--username")


@pytest.fixture
def staff(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Commands of an installation whose accounts have own fields."""
    (tmp_path / "profile.json").write_text(json.dumps(SCHEMA))
    monkeypatch.setenv("DENIZEN_PROFILE", "profile.json")
    return command


def test_own_fields_are_set_and_shown(staff: Command) -> None:
    given = ("--profile", "department=sales", "--profile", "level=7", "--profile", 'tags=["a","b"]')
    made = staff(*CREATE, "ada", *given, "--json").row

    assert made["profile"] == {"department": "sales", "level": 7, "remote": False, "tags": ["a", "b"]}
    assert staff("users", "show", "ada", "--json").row["profile"] == made["profile"]
    shown = [" ".join(line.split()) for line in staff("users", "show", "ada").out.splitlines()]
    assert {"profile.department sales", "profile.level 7", "profile.remote no", "profile.tags a, b"} <= {*shown}
    changed = staff("users", "edit", "ada", "--profile", "level=", "--profile", "remote=true", "--json").row
    assert changed["profile"] == {**made["profile"], "level": None, "remote": True}
    assert staff(*CREATE, "bob", "--json").row["profile"] == {}
    assert [row["profile"] for row in staff("users", "list", "--json").rows] == [changed["profile"], {}]


def test_own_fields_are_matched(staff: Command) -> None:
    for name, department in (("ada", "sales"), ("bob", "law"), ("cyd", "sales")):
        staff(*CREATE, name, "--profile", f"department={department}")
    which = ("--where-profile", "department=sales")
    edit = ("users", "edit", "--all-matching", *which, "--profile", "department=law")

    listed = staff("users", "list", "--profile", "department=sales", "--json")
    assert [row["username"] for row in listed.rows] == ["ada", "cyd"]
    taken_out = staff("users", "export", "--profile", "department=law", "--profile", "remote=false")
    assert [row["username"] for row in taken_out.rows] == ["bob"]
    shown = staff(*edit, "--dry-run")
    assert (shown.out.count("sales -> law"), "profile.department" in shown.out) == (2, True)
    changed = staff(*edit, "--yes", "--json").row
    assert (changed["matched"], changed["changed"]) == (2, 2)
    assert staff("users", "list", "--profile", "department=sales", "--json").rows == []


def test_what_is_no_own_field_is_told(staff: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    staff(*CREATE, "ada")

    for arguments in (("users", "list"), ("users", "export"), ("users", "edit", "ada"), (*CREATE, "bob")):
        refused = staff(*arguments, "--profile", "shoe=42")
        assert (refused.code, "they have department, level, remote, tags" in refused.err) == (1, True)
    wrong = staff(*CREATE, "bob", "--profile", "level=high", "--json").problem
    assert (wrong["code"], wrong["field"]) == ("profile_invalid", "profile.level")
    missing = staff(*CREATE, "bob", "--profile", "level=7", "--json").problem
    assert missing["field"] == "profile.department"
    assert "NAME=VALUE" in staff("users", "edit", "ada", "--profile", "sales").err
    monkeypatch.delenv("DENIZEN_PROFILE")
    assert "DENIZEN_PROFILE" in staff("users", "edit", "ada", "--profile", "level=7").err


def test_a_file_brings_own_fields(staff: Command, tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text("username,dept,profile.level\nada,sales,7\nbob,law,high\n")

    said = staff("users", "import", "people.csv", "--map", "dept=profile.department", "--json")

    assert said.rows[0]["codes"] == {"profile_invalid": 1}
    assert said.rows[0]["problems"][0]["field"] == "profile.level"
    assert [row["profile"]["department"] for row in staff("users", "list", "--json").rows] == ["sales"]
