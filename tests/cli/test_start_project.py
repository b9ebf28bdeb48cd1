"""`denizen init`: what it writes into a project, what it leaves alone, and what it says instead."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from denizen.cli import build
from denizen.migrations import runner
from denizen.settings import Settings

WRITTEN = {
    "alembic.ini",
    "migrations/env.py",
    "migrations/script.py.mako",
    "migrations/versions/app_0001_begin.py",
    ".env",
    ".env.example",
    ".gitignore",
}
Init = Callable[..., Result]


@pytest.fixture
def init(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Init:
    """Run `denizen init ...` in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(build(frozenset()), ["init", *arguments])
        assert result.exit_code == code, result.output
        return result

    return run


def found(folder: Path) -> dict[str, str]:
    """Give the text of every file."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_text() for path in files}


def told(answer: Result) -> dict[str, tuple[str, str]]:
    """Give what was said of each file with `--json`."""
    rows = [json.loads(line) for line in answer.stdout.splitlines()]
    return {row["path"]: (row["did"], row["advice"]) for row in rows}


def test_a_fresh_project_and_once_more(init: Init, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Nothing was written." in init("--dry-run").stderr
    assert found(tmp_path) == {}

    first = init("--models", "notes.models:Base")
    files = found(tmp_path)

    assert files.keys() == WRITTEN
    assert "alembic upgrade heads" in first.stderr
    assert "from notes.models import Base" in files["migrations/env.py"]
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    monkeypatch.delenv("DENIZEN_SECRET_KEY", raising=False)
    settings = Settings.load()
    assert settings.secret_key is not None
    assert settings.database_url == "sqlite:///app.db"
    assert settings.secret_key.get_secret_value() not in first.output
    assert settings.secret_key.get_secret_value() not in files[".env.example"]

    second = init()
    assert "There was nothing to write." in second.stderr
    assert found(tmp_path) == files
    assert {did for did, _ in told(init("--json")).values()} == {"kept"}


def test_another_folder_is_made(init: Init, tmp_path: Path) -> None:
    init("notes")

    assert found(tmp_path / "notes").keys() == WRITTEN


@pytest.mark.parametrize("models", ["notes.models", "notes.models:", "import os;x:Base", ":Base"])
def test_models_that_are_none(init: Init, tmp_path: Path, models: str) -> None:
    assert "notes.models:Base" in init("--models", models, code=1).stderr
    assert found(tmp_path) == {}


@pytest.mark.parametrize("where", ["alembic.ini", "pyproject.toml"])
def test_an_alembic_that_is_there_is_told_the_lines(init: Init, tmp_path: Path, where: str) -> None:
    setting = "script_location = %(here)s/db" if where == "alembic.ini" else 'script_location = "%(here)s/db"'
    section = "[alembic]" if where == "alembic.ini" else "[tool.alembic]"
    (tmp_path / where).write_text(f"{section}\n{setting}\n")
    (tmp_path / "db/versions").mkdir(parents=True)
    (tmp_path / "db/env.py").write_text("context.configure()")
    (tmp_path / "db/script.py.mako").write_text("")
    (tmp_path / "db/versions/one.py").write_text("revision = 'one'")
    (tmp_path / ".env").write_text("DEBUG=1\n")
    (tmp_path / ".gitignore").write_text("build/\n")
    before = found(tmp_path)

    answer = told(init("--json"))

    assert found(tmp_path).items() >= before.items()
    assert found(tmp_path).keys() - before.keys() == {".env.example"}
    assert "denizen:migrations/versions" in answer[where][1]
    assert "**options()" in answer["db/env.py"][1]
    assert "--depends-on denizen@head" in answer["db/versions"][1]
    assert "DENIZEN_SECRET_KEY" in answer[".env"][1]
    assert ".env" in answer[".gitignore"][1]


def test_a_configuration_that_cannot_be_read(init: Init, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool")

    assert "cannot be read" in init(code=1).stderr
    assert found(tmp_path).keys() == {"pyproject.toml"}


@pytest.mark.slow
def test_alembic_runs_at_once_in_what_was_written(init: Init, tmp_path: Path) -> None:
    init()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DENIZEN_")}

    def alembic(*words: str, code: int = 0) -> str:
        line = [sys.executable, "-m", "alembic.config", *words]
        done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=50, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    assert "alembic upgrade heads` makes it" in alembic("check", code=255)
    alembic("revision", "-m", "Before there is a database")
    assert not (tmp_path / "app.db").exists()
    with ThreadPoolExecutor(2) as two:  # at once: one migrates, the other waits and finds nothing to do
        list(two.map(lambda _: alembic("upgrade", "heads"), range(2)))
    assert runner.status(f"sqlite:///{tmp_path}/app.db").ready
    assert "(head)" in alembic("current")
