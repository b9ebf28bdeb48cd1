"""The code in the pages for programs beside Denizen passes `mypy --strict`, as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
CODE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def code(page: str) -> list[str]:
    return CODE.findall((DOCS / page).read_text(encoding="utf-8"))


def programs() -> dict[str, str]:
    """Files by their names: one for each page, and for each piece of the page whose pieces are files of tests."""
    found = {f"page_{page}.py": "\n".join(code(f"{page}.md")) for page in ("client", "remote")}
    found["shop.py"] = code("remote.md")[0]  # what the tests on the third page import
    return found | {f"test_{number}.py": piece for number, piece in enumerate(code("testing.md"))}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_code_is_typed(tmp_path: Path) -> None:
    found = programs()
    for name, text in found.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={tmp_path}", *found]

    checked = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert len(found) == 6
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "no issues found in 6 source files" in checked.stdout
