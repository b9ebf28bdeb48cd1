"""`examples/notes` does what it says: its own tests pass on both databases, and its page is true."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.consoles import blocks, commands, follow, serving
from tests.postgres import Postgres

EXAMPLE = Path(__file__).parents[2] / "examples" / "notes"


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A terminal's, in which neither this run nor whoever started it has left anything."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DENIZEN_", "PYTEST_", "COVERAGE", "MAKE", "MFLAGS", "ARGS"))
    }
    return {**kept, "COLUMNS": "200", "TERM": "dumb"}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The example as in a clone, after the step of `make` that asks the network: installing."""
    copy = tmp_path / "examples" / "notes"
    shutil.copytree(EXAMPLE, copy, ignore=shutil.ignore_patterns(".*cache", ".env", ".venv", "*.db*", "__pycache__"))
    (copy / ".venv").mkdir()
    for part in ("bin", "lib", "pyvenv.cfg"):
        (copy / ".venv" / part).symlink_to(Path(sys.prefix) / part)
    (copy / ".venv" / ".installed").touch()
    return copy


def shown() -> list[str]:
    """The terminals of the page."""
    return [block for language, block in blocks((EXAMPLE / "README.md").read_text()) if language == "console"]


@pytest.mark.slow
def test_its_own_tests_pass(
    database_kind: str, copy: Path, environment: dict[str, str], request: pytest.FixtureRequest
) -> None:
    run, test = (command.partition("#")[0].strip() for command, _ in commands(shown()[0]))
    assert (run, test) == ("make run", "make test")
    if database_kind == "postgresql":
        postgres: Postgres = request.getfixturevalue("postgres")
        environment["TEST_DATABASE_URL"] = postgres.url()

    ran = subprocess.run(test.split(), cwd=copy, env=environment, capture_output=True, text=True, check=False)

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert " passed" in ran.stdout


@pytest.mark.slow
def test_its_page_can_be_followed(copy: Path, environment: dict[str, str]) -> None:
    """`make run`, and what is said to do beside it, on a port that is free."""
    _, session = shown()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with serving() as serve:
        serve(["make", "run", f"ARGS=--port {port}"], copy, environment, f"{url}/docs")
        follow(session.replace("http://127.0.0.1:8000", url), copy, environment)
