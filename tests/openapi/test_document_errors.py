"""docs/errors.md lists every error that the code has, as the code has it."""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import denizen
from denizen.core import problems, protocol
from denizen.core.errors import DenizenError
from denizen.core.problems import status_of
from denizen.settings import SettingsError
from tests.openapi.document import document

DOCUMENT = Path(__file__).parents[2] / "docs" / "errors.md"
SOURCE = Path(denizen.__file__).parent
ROW = re.compile(r"^\| `(\w+)` \| (\d{3}|-) \| (.+?) \| (.+?) \| (.+?) \|$", re.MULTILINE)
RUN_ONCE = ("denizen.main", "denizen.__main__", "denizen.migrations.env", "denizen.migrations.versions")
"""Modules that do something when they are imported."""


@dataclass(frozen=True)
class Row:
    """One line of the tables. The status is `-` for what is never sent over HTTP."""

    status: str
    titles: set[str]


def rows() -> dict[str, Row]:
    """The tables of the document, by code."""
    found = ROW.findall(DOCUMENT.read_text(encoding="utf-8"))
    assert len(found) == len({code for code, *_ in found}), "a code stands twice"
    return {code: Row(status, set(title.split(" / "))) for code, status, title, *_ in found}


def classes(base: type[DenizenError] = DenizenError) -> Iterator[type[DenizenError]]:
    """All errors of the package."""
    for module in pkgutil.walk_packages([str(SOURCE)], "denizen."):
        if not module.name.startswith(RUN_ONCE):
            import_module(module.name)
    yield from below(base)


def below(base: type[DenizenError]) -> Iterator[type[DenizenError]]:
    for error in base.__subclasses__():
        if error.__module__.startswith("denizen."):
            yield error
        yield from below(error)


def test_every_error_of_the_code_is_documented_as_it_is() -> None:
    documented = rows()

    for error in classes():
        row = documented.get(error.code)
        assert row is not None, f"docs/errors.md misses {error.code}"
        assert error.title in row.titles, error.code
        assert row.status in {str(status_of(error)), "-"}, error.code


def test_answers_of_server_and_framework_are_documented_as_they_are() -> None:
    documented = rows()
    refusals: list[Any] = [each for each in vars(protocol).values() if isinstance(each, protocol.Refusal)]

    assert refusals
    for each in refusals:
        assert documented[each.code] == Row(str(each.status), {each.title})
    for status, (code, title, _) in problems._FRAMEWORK.items():
        assert documented[code] == Row(str(status), {title})
    assert documented[SettingsError.code].titles == {SettingsError.title}


def test_every_code_that_stands_in_the_code_is_documented_and_no_other() -> None:
    written = re.compile(r"""\bcode"?\s*[:=]\s*"([a-z_]+)"|Refusal\(\d+, "([a-z_]+)"|\d{3}: \("([a-z_]+)", """)
    found = {
        next(filter(None, groups))
        for path in SOURCE.rglob("*.py")
        for groups in written.findall(path.read_text(encoding="utf-8"))
    }

    assert rows().keys() == found - {"error"}  # the base of all, which nobody raises


def test_every_code_of_the_openapi_document_is_sent_with_its_status() -> None:
    documented = rows()

    for path in document()["paths"].values():
        for operation in path.values():
            for status, answer in operation["responses"].items():
                examples = answer.get("content", {}).get("application/problem+json", {}).get("examples", {})
                for code in examples:
                    assert documented[code].status == status
