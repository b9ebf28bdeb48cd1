"""`denizen users export` takes the filters of the list, and says when one cannot be met."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.cli.conftest import Command

PEOPLE = """username,email,external_id,is_active,created_at,updated_at
ada,ada@example.org,crm-1,true,2026-01-01T00:00:00Z,2026-03-01T00:00:00Z
bob,,crm-2,false,2026-01-02T00:00:00Z,2026-02-01T00:00:00Z
eve,eve@example.org,,true,2026-01-03T00:00:00Z,2026-01-04T00:00:00Z
"""


@pytest.fixture
def ids(command: Command, tmp_path: Path) -> list[str]:
    people = tmp_path / "people.csv"
    people.write_text(PEOPLE)
    assert command("users", "import", str(people)).code == 0
    return [row["id"] for row in command("users", "export").rows]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ([], "ada bob eve"),
        (["--active"], "ada eve"),
        (["--inactive"], "bob"),
        (["--email", "ADA@example.org"], "ada"),
        (["--username", "Eve"], "eve"),
        (["--external-id", "crm-2"], "bob"),
        (["--external-id", "crm-2", "--active"], ""),
        (["--created-since", "2026-01-02T00:00:00Z"], "bob eve"),
        (["--created-since", "2026-01-01T00:00:00Z", "--created-before", "2026-01-03T00:00:00Z"], "ada bob"),
        (["--updated-since", "2026-02-01T01:00:00+01:00"], "bob ada"),
        (["--updated-before", "2026-02-01T00:00:00Z"], "eve"),
        (["--id", "nobody"], ""),
    ],
)
def test_filters_are_those_of_the_list(command: Command, ids: list[str], options: list[str], found: str) -> None:
    assert len(ids) == 3
    assert [row["username"] for row in command("users", "export", *options).rows] == found.split()


def test_ids_can_be_repeated(command: Command, ids: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out.csv"

    done = command("users", "export", "--id", ids[2], "--id", ids[0], "-o", str(out))

    assert done.code == 0, done.err
    with out.open(newline="") as file:
        assert [row["username"] for row in csv.DictReader(file)] == ["ada", "eve"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--email", "nobody"], "@-sign"),
        (["--created-since", "yesterday"], "created_at__gte"),
        (["--created-since", "2026-01-01T00:00:00"], "created_at__gte"),
        (["--active", "--created-since", "2026-01-01T00:00:00Z"], "is_active"),
        (["--created-since", "2026-01-01T00:00:00Z", "--updated-since", "2026-01-01T00:00:00Z"], "cannot be combined"),
    ],
)
@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_filter_that_cannot_be_met_makes_no_file(
    command: Command, tmp_path: Path, options: list[str], said: str
) -> None:
    out = tmp_path / "out.csv"

    done = command("users", "export", *options, "-o", str(out))

    assert done.code == 1
    assert said in done.err
    assert not out.exists()


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_export_that_fails_half_way_leaves_the_old_file(command: Command, ids: list[str], tmp_path: Path) -> None:
    there = tmp_path / "out.ndjson"
    there.write_text("old")
    (database,) = tmp_path.glob("*.db")
    database.write_bytes(database.read_bytes()[: 2 * 4096])

    done = command("users", "export", "-o", str(there))

    assert done.code == 1
    assert there.read_text() == "old"
    assert sorted(path.name for path in tmp_path.glob("*out*")) == ["out.ndjson"]


def test_nobody_is_an_empty_file(command: Command, tmp_path: Path) -> None:
    out = tmp_path / "out.ndjson"

    assert command("users", "export", "-o", str(out)).code == 0
    assert [json.loads(line) for line in out.read_text().splitlines()] == []
