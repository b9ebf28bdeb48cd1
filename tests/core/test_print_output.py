"""Tables for people, JSON lines for programs, and progress for whoever waits."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import pytest
from pydantic import BaseModel

from denizen.core.output import Output, progress


@dataclass
class Planet:
    name: str
    moons: tuple[str, ...]


class Star(BaseModel):
    name: str
    found_at: datetime


AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_programs_get_one_json_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output(json=True)
    output.row({"id": UUID(int=7), "at": AT, "name": "Zoë", "tags": {"b", "a"}, "none": None})
    output.table([Planet("Mars", ("Phobos",)), Star(name="Sol", found_at=AT)], columns=["name"])
    output.say("nobody reads this")

    printed, said = capsys.readouterr()
    assert [json.loads(line) for line in printed.splitlines()] == [
        {
            "id": "00000000-0000-0000-0000-000000000007",
            "at": "2026-01-02T03:04:05Z",
            "name": "Zoë",
            "tags": ["a", "b"],
            "none": None,
        },
        {"name": "Mars", "moons": ["Phobos"]},
        {"name": "Sol", "found_at": "2026-01-02T03:04:05Z"},
    ]
    assert said == ""


def test_people_get_a_table_of_the_columns_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    Output().table([Planet("Mars", ("Phobos", "Deimos")), Planet("Venus", ())], columns=["moons", "name"])

    printed, _ = capsys.readouterr()
    lines = [line.split("  ") for line in printed.splitlines()]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    assert next(row for row in cells if row) == ["moons", "name"]
    assert ["Phobos, Deimos", "Mars"] in cells
    assert ["-", "Venus"] in cells


def test_one_thing_is_shown_name_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    Output().row({"active": True, "seen": AT, "note": None})

    printed, _ = capsys.readouterr()
    assert [line.strip().split(maxsplit=1) for line in printed.splitlines()] == [
        ["active", "yes"],
        ["seen", "2026-01-02 03:04:05Z"],
        ["note", "-"],
    ]


def test_nothing_is_said_rather_than_shown_as_an_empty_table(capsys: pytest.CaptureFixture[str]) -> None:
    Output().table([], columns=["name"], empty="No planets.")

    assert capsys.readouterr() == ("", "No planets.\n")


def test_long_values_are_not_cut_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    Output().table([{"name": "x" * 500, "other": "y" * 300}], columns=["name", "other"])

    printed, _ = capsys.readouterr()
    assert "x" * 500 in printed
    assert "y" * 300 in printed


@pytest.mark.parametrize(
    "hostile", ["\x1b[2J\x1b]0;owned\x07", "a\rb", "a\nb", "\x9b31m", "\u202eabc", "[bold red]x[/]"]
)
def test_stored_text_cannot_steer_the_terminal(hostile: str, capsys: pytest.CaptureFixture[str]) -> None:
    Output().row({"name": hostile})

    printed, _ = capsys.readouterr()
    assert printed.count("\n") == 1
    assert all(char.isprintable() or char == "\n" for char in printed)
    if hostile.startswith("[bold"):
        assert hostile in printed


def test_what_has_no_names_is_a_mistake() -> None:
    with pytest.raises(TypeError, match="no named values"):
        Output(json=True).row(3)
    with pytest.raises(TypeError, match="no form in JSON"):
        Output(json=True).row({"what": object()})


# -- progress -------------------------------------------------------------------------------------------------------


def test_progress_is_plain_lines_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("denizen.core.output._LINE_EVERY_SECONDS", 0.0)

    with progress("Importing", total=200) as done:
        done(1000, at=50)
        done(1000, at=200)

    printed, said = capsys.readouterr()
    first, last = said.splitlines()  # what the second step said is not said again at the end
    assert printed == ""
    assert first.startswith("Importing: 1,000 rows, ")
    assert first.endswith(" a second, 25%")
    assert last.startswith("Importing: 2,000 rows, ")
    assert last.endswith(" a second, 100%")


def test_progress_ends_with_how_much_was_done(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with progress("Importing") as done:
        with monkeypatch.context() as patch:
            patch.setattr("denizen.core.output._LINE_EVERY_SECONDS", 0.0)
            done(1000)
        done(500)

    first, last = capsys.readouterr().err.splitlines()
    assert first.startswith("Importing: 1,000 rows, ")
    assert last.startswith("Importing: 1,500 rows, ")


def test_progress_of_no_work_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("Importing"):
        pass

    assert capsys.readouterr().err.startswith("Importing: 0 rows, ")


def test_progress_is_silent_where_a_program_reads(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("denizen.core.output._LINE_EVERY_SECONDS", 0.0)

    with progress("Importing", total=200, quiet=True) as done:
        done(1000, at=50)
        done(1000, at=200)

    assert capsys.readouterr() == ("", "")


def test_progress_says_little_when_work_is_short(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("Exporting", unit="users") as done:
        for _ in range(100):
            done(1)

    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.slow
def test_progress_is_a_bar_with_rate_and_time_left_on_a_terminal() -> None:
    child = (
        "import time; from denizen.core.output import progress\n"
        "with progress('Importing', total=300) as done:\n"
        "    for at in (100, 200, 300): time.sleep(0.3); done(1000, at=at)\n"
    )
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(
        [sys.executable, "-c", child], stdin=slave, stdout=slave, stderr=slave, env=environment
    ) as process:
        os.close(slave)
        shown = b""
        try:
            while part := os.read(master, 65536):
                shown += part
        except OSError:  # Linux says EIO at the end
            pass
    os.close(master)

    text = shown.decode()
    assert process.returncode == 0
    assert "Importing" in text
    assert "3,000 rows" in text
    assert "a second" in text
    assert "100%" in text
    assert "0:00:00" in text
