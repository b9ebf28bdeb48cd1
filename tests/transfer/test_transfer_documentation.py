"""docs/import-export.md names what there is: columns, codes, options."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.main import get_command

from denizen.core.errors import DenizenError
from denizen.core.identifiers import EmailInvalid, IdentityMissing, UsernameInvalid
from denizen.core.passwords import PasswordRefused
from denizen.transfer.cli import app
from denizen.transfer.errors import FileRefused, RowRefused
from denizen.transfer.schemas import COLUMNS
from denizen.users.errors import TAKEN

PAGE = (Path(__file__).parents[2] / "docs" / "import-export.md").read_text(encoding="utf-8")


def codes() -> set[str]:
    taken = {kind for kind, _, _ in TAKEN.values()}
    told: set[type[DenizenError]] = {IdentityMissing, EmailInvalid, UsernameInvalid, *taken}
    for kind in (FileRefused, RowRefused, PasswordRefused):
        told.update(kind.__subclasses__())
    return {kind.code for kind in told}


@pytest.mark.parametrize("name", sorted(codes()))
def test_every_code_is_explained(name: str) -> None:
    assert f"`{name}`" in PAGE


@pytest.mark.parametrize("name", COLUMNS)
def test_every_column_is_explained(name: str) -> None:
    assert f"\n| `{name}` |" in PAGE


def test_every_option_is_explained() -> None:
    commands = get_command(app)
    options = {
        option
        for command in commands.commands.values()  # type: ignore[attr-defined]  # it is a group
        for parameter in command.params
        for option in (*parameter.opts, *parameter.secondary_opts)
        if option.startswith("--")
    } - {"--help"}

    assert {option for option in options if f"`{option}" not in PAGE} == set()
