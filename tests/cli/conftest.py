"""Running commands: as a process in an empty folder, as a person does, or in this one where only the output matters."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

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
