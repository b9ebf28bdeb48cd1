"""Running commands: as a process in an empty folder, as a person does, or in this one where only the output matters."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from denizen.cli import build
from denizen.settings import PREFIX

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """An environment without settings, to which a test adds its own; the working folder is empty."""
    for name in [name for name in os.environ if name.upper().startswith(PREFIX)]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return {name: value for name, value in os.environ.items() if name not in {"FORCE_COLOR", "COLUMNS"}}


@pytest.fixture
def denizen(environment: dict[str, str], tmp_path: Path) -> Run:
    """Run `denizen` with some arguments, and settings given without their prefix."""

    def run(*arguments: str, stdin: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "denizen", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            cwd=tmp_path,
            env=environment | {PREFIX + name: value for name, value in settings.items()},
        )

    return run


@dataclass(frozen=True)
class Said:
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The JSON lines it printed."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def row(self) -> dict[str, Any]:
        """The only one."""
        assert self.code == 0, self.err
        (row,) = self.rows
        return row

    @property
    def problem(self) -> dict[str, Any]:
        """The problem document it ended with."""
        assert self.code == 1
        problem: dict[str, Any] = json.loads(self.err)
        return problem


Command = Callable[..., Said]


@pytest.fixture
def command(database_url: str, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run a command of a room in this process, on this test's migrated database: SQLite, then PostgreSQL."""
    monkeypatch.setenv("DENIZEN_DATABASE_URL", database_url)
    monkeypatch.setenv("DENIZEN_SECRET_KEY", "kX7v2Qm9Lp4Zr8Tn3Wc6Yb1Hd5Gf0SaJe")
    program = build()

    def run(*arguments: str, stdin: str = "") -> Said:
        result = CliRunner().invoke(program, arguments, input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Said(result.exit_code, result.stdout, result.stderr)

    return run
