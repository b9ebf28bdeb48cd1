"""The table of `docs/asvs.md` is whole: each requirement once, with a test that is there, a page, or a reason."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "asvs.md"
ROW = re.compile(r"^\| (\d+\.\d+\.\d+) \| ([^|]+) \| (met|partly|not met|n/a) \| (.+) \|$")
TEST = re.compile(r"`(tests/[\w/]+\.py)((?:::\w+)+)`")
LINK = re.compile(r"\[[^\]]+\]\([\w/.-]+\.md(#[\w-]+)?\)")

SECTIONS = {
    "6.1": 3,
    "6.2": 12,
    "6.3": 4,
    "6.4": 4,
    "6.5": 5,
    "6.6": 3,
    "6.8": 4,
    "7.1": 3,
    "7.2": 4,
    "7.3": 2,
    "7.4": 5,
    "7.5": 2,
    "7.6": 2,
    "8.1": 2,
    "8.2": 3,
    "8.3": 1,
    "8.4": 1,
    "9.1": 3,
    "9.2": 4,
    "10.1": 2,
    "10.2": 2,
    "10.3": 4,
    "10.4": 11,
    "10.5": 5,
    "10.6": 2,
    "10.7": 3,
}
"""How many requirements of levels 1 and 2 each section has in release 5.0.0; they come before those of level 3."""


def rows() -> list[tuple[str, str, str]]:
    """Give number, verdict and what shows it, of each row; a row that cannot be read fails."""
    found = []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if re.match(r"^\| *\d", line):
            row = ROW.match(line)
            assert row is not None, line
            found.append((row[1], row[3], row[4]))
    return found


@cache
def names_in(path: str) -> frozenset[str]:
    """Give the tests of a file as pytest names them: `::test_x`, `::TestX::test_x`."""
    found = set[str]()
    for node in ast.parse((ROOT / path).read_text(encoding="utf-8")).body:
        inner = node.body if isinstance(node, ast.ClassDef) else [node]
        within = f"::{node.name}" if isinstance(node, ast.ClassDef) else ""
        found.update(
            f"{within}::{each.name}" for each in inner if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
        )
    return frozenset(each for each in found if each.rpartition("::")[2].startswith("test_"))


def test_asvs_names_tests_that_are_there() -> None:
    text = PAGE.read_text(encoding="utf-8")
    named = TEST.findall(text)

    assert len(named) >= 100
    assert len(named) == text.count("`tests/"), "one of them is not named as pytest does"
    lost = {f"{path}{name}" for path, name in named if not (ROOT / path).is_file() or name not in names_in(path)}
    assert lost == set()


def test_asvs_has_each_requirement_once_and_in_order() -> None:
    numbers = [number for number, _, _ in rows()]

    assert numbers == [f"{section}.{each}" for section, many in SECTIONS.items() for each in range(1, many + 1)]


def test_asvs_says_of_each_requirement_what_shows_it_or_why_not() -> None:
    for number, verdict, shown in rows():
        reason = TEST.sub("", shown).strip(" ,;:.")
        if verdict == "met":
            assert TEST.search(shown) or LINK.search(shown), number
        elif verdict == "partly":
            assert TEST.search(shown), number
            assert len(reason) > 20, number
        elif (same := re.fullmatch(r"as (\d+\.\d+\.\d+)", reason)) is not None:
            assert any(other == same[1] and said == verdict for other, said, _ in rows()), number
        else:
            assert len(reason) >= 7, number
