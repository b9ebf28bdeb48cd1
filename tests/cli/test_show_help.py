"""Help teaches, and is quick about it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from typer.main import get_command

from denizen.cli import GROUPS, build, wanted
from denizen.features import FEATURES
from denizen.migrations.feature import FEATURE as MIGRATIONS
from tests.cli.conftest import Run

GROUPS_OF_ROOMS = [group for feature in (*FEATURES, MIGRATIONS) for group in feature.commands]


def commands(command: Any = None, path: tuple[str, ...] = ("denizen",)) -> Iterator[tuple[str, Any]]:
    """Every command that does something, with what a person types to call it."""
    command = command or get_command(build())
    inner = getattr(command, "commands", {})
    for name, one in inner.items():
        yield from commands(one, (*path, name))
    if not inner:
        yield " ".join(path), command


def test_every_command_explains_itself_and_has_an_example() -> None:
    for typed, command in commands():
        summary, _, rest = (command.help or "").partition("\n")
        assert summary.endswith((".", ":")), f"{typed}: the first line is no sentence"
        assert f"Example: {typed}" in rest, f"{typed}: no example"
        for option in command.params:
            assert option.help, f"{typed}: {option.name} is not explained"


def test_commands_of_several_rooms_come_together_in_one_group() -> None:
    found = {path for path, _ in commands()}

    assert {
        f"denizen users {verb}" for verb in ("create", "list", "show", "edit", "delete", "import", "export")
    } <= found
    assert {f"denizen keys {verb}" for verb in ("create", "list", "revoke")} <= found
    assert {f"denizen migrate {verb}" for verb in ("up", "down", "status", "check", "sql")} <= found
    assert {f"denizen {verb}" for verb in ("serve", "settings", "doctor", "openapi", "version")} <= found


def test_groups_are_described_as_their_rooms_describe_them() -> None:
    assert {group.name for group in GROUPS_OF_ROOMS} == set(GROUPS)
    described = {group.name: group.load().info.help for group in reversed(GROUPS_OF_ROOMS)}
    assert described == GROUPS


def test_rooms_that_share_a_group_name_their_commands() -> None:
    """By which one command is found without the rooms of the others; `users list` would be unknown otherwise."""
    shared = [group for group in GROUPS_OF_ROOMS if group.name == "users"]

    assert len(shared) > 1
    for group in GROUPS_OF_ROOMS:
        theirs = {one.name or one.callback.__name__ for one in group.load().registered_commands}
        assert set(group.commands) == (theirs if group in shared else set())


@pytest.mark.slow
def test_no_arguments_print_help(denizen: Run) -> None:
    shown = denizen()

    assert "Begin with: denizen serve" in shown.stdout + shown.stderr
    assert "migrate" in shown.stdout + shown.stderr


@pytest.mark.slow
def test_group_shows_its_commands(denizen: Run) -> None:
    shown = denizen("keys", "--help")

    assert shown.returncode == 0
    assert "revoke" in shown.stdout


def test_version_is_told(denizen: Run) -> None:
    assert denizen("--version").stdout.startswith("denizen ")
    assert '"sqlalchemy": ' in denizen("version", "--json").stdout


def test_help_loads_neither_web_nor_database() -> None:
    child = (
        "import sys; sys.argv = ['denizen', '--help']\n"
        "from denizen.__main__ import main\n"
        "try: main()\n"
        "except SystemExit as end: assert end.code == 0\n"
        "heavy = {'fastapi', 'sqlalchemy', 'pydantic', 'psycopg', 'uvicorn'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", child], check=True, stdout=subprocess.DEVNULL)


def test_unknown_command_names_the_nearest(denizen: Run) -> None:
    refused = denizen("serv")

    assert refused.returncode == 2
    assert "'serve'" in refused.stderr


@pytest.mark.parametrize(
    ("typed", "there"),
    [
        (["users", "list", "--help"], {"list", "edit"}),
        (["users", "--help", "list"], {"list", "edit", "import", "export"}),
        (["users", "lst"], {"list", "edit", "import", "export"}),
        ([], {"list", "edit", "import", "export"}),
        (["--help"], set()),
    ],
)
def test_only_the_rooms_of_a_named_command_are_loaded(typed: list[str], there: set[str]) -> None:
    program: Any = get_command(build(*wanted(typed)))

    assert set(program.commands["users"].commands) & {"list", "edit", "import", "export"} == there


@pytest.mark.slow
def test_shell_completes_commands_of_rooms(denizen: Run, environment: dict[str, str]) -> None:
    environment |= {"_DENIZEN_COMPLETE": "complete_bash", "COMP_WORDS": "denizen keys re", "COMP_CWORD": "2"}

    assert denizen().stdout.split() == ["revoke"]


def test_url_with_a_password_is_refused_before_anything_happens(denizen: Run) -> None:
    refused = denizen("keys", "list", "postgresql://me:hunter2@db/x")

    assert refused.returncode == 2
    assert "does not belong on the command line" in refused.stderr
    assert "hunter2" not in refused.stderr
