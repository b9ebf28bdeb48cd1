"""A rule that is switched off somewhere says there why it is: who reads it later cannot ask."""

from __future__ import annotations

import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SWITCH = re.compile(
    r"#\s*(?:(?:ruff:\s*)?noqa|type:\s*ignore|pragma:\s*no \w+)(?::\s*[A-Z]+\d+(?:,\s*[A-Z]+\d+)*|\[[\w, -]+\])?"
)


def unexplained(path: Path) -> Iterator[int]:
    """Yield the lines of a Python file on which a check is switched off and nothing else is said."""
    with path.open("rb") as file:
        comments = [token for token in tokenize.tokenize(file.readline) if token.type == tokenize.COMMENT]
    for comment in comments:
        if SWITCH.search(comment.string) and not re.search(r"\w", SWITCH.sub("", comment.string)):
            yield comment.start[0]


def test_every_switched_off_check_has_its_reason() -> None:
    files = [
        path for folder in ("src", "tests", "benchmarks", "examples") for path in sorted((ROOT / folder).rglob("*.py"))
    ]

    assert len(files) > 100
    bare = [f"{path.relative_to(ROOT)}:{line}" for path in files for line in unexplained(path)]
    assert bare == [], "say on the same line why it is switched off:\n" + "\n".join(bare)


@pytest.mark.parametrize(
    ("comment", "explained"),
    [
        ("# noqa: S101", False),
        ("# noqa: DTZ001, DTZ901", False),
        ("# type: ignore[attr-defined, misc]", False),
        ("# type: ignore[attr-defined]  # noqa: SLF001", False),
        ("# pragma: no cover", False),
        ("# noqa: S101  (what Starlette calls it for)", True),
        ("# type: ignore[misc]  # a slot", True),
        ("# type: ignore[attr-defined]  # noqa: SLF001  (which command this is)", True),
        ("# ruff: noqa: PT012  (a whole transaction)", True),
        ("# nothing of the kind", True),
    ],
)
def test_a_reason_is_told_from_none(comment: str, explained: bool, tmp_path: Path) -> None:
    path = tmp_path / "case.py"
    path.write_text(f"a = 1  {comment}\n", encoding="utf-8")

    assert list(unexplained(path)) == ([] if explained else [1])
