"""The secret key: made once, alike for all, and read only while it is private."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from secrets import token_urlsafe

import pytest

from denizen.core.secret import load_secret, secret_path, write_private
from denizen.settings import Settings, SettingsError


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(_env_file=None, database_url=f"sqlite:///{tmp_path}/people.db")


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_first_run_makes_a_private_file_and_later_runs_read_it(settings: Settings, tmp_path: Path) -> None:
    first = load_secret(settings)

    assert len(first) >= 32
    assert load_secret(settings) == first
    assert (tmp_path / "people.db.secret").stat().st_mode & 0o777 == 0o600
    assert names_in(tmp_path) == ["people.db.secret"]


def test_every_folder_gets_another_secret(tmp_path: Path) -> None:
    made = {
        load_secret(Settings(_env_file=None, database_url=f"sqlite:///{tmp_path}/{name}.db"))
        for name in ("a", "b", "c")
    }

    assert len(made) == 3


@pytest.mark.slow
def test_processes_that_start_together_agree(settings: Settings) -> None:
    child = (
        "import sys; from denizen.core.secret import load_secret; from denizen.settings import Settings; "
        "sys.stdin.readline(); print(load_secret(Settings(_env_file=None, database_url=sys.argv[1])).decode())"
    )
    command = [sys.executable, "-c", child, settings.database_url]
    children = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    answers = [one.communicate("go\n", timeout=30)[0] for one in children]

    assert len(set(answers)) == 1
    assert answers[0].strip().encode() == load_secret(settings)


def test_without_hard_links_the_file_still_comes_about(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)

    assert load_secret(settings) == load_secret(settings)
    assert names_in(tmp_path) == ["people.db.secret"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_file_that_others_can_read_refuses(settings: Settings, mode: int) -> None:
    load_secret(settings)
    path = secret_path(settings)
    assert path is not None
    path.chmod(mode)

    with pytest.raises(SettingsError, match=f"can be read by others .mode {mode:04o}.; run: chmod 600 "):
        load_secret(settings)


def test_damaged_file_refuses(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("denizen.core.secret._PATIENCE_SECONDS", 0.1)
    (tmp_path / "people.db.secret").touch(0o600)

    with pytest.raises(SettingsError, match="damaged: it holds 0 characters"):
        load_secret(settings)


def test_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    settings = Settings(_env_file=None, database_url=f"sqlite:///{tmp_path}/none/people.db")

    with pytest.raises(SettingsError, match=r"none/people\.db\.secret cannot be used: No such file or directory"):
        load_secret(settings)


def test_setting_wins_and_makes_no_file(tmp_path: Path) -> None:
    secret = token_urlsafe(32)
    settings = Settings(_env_file=None, secret_key=secret, database_url=f"sqlite:///{tmp_path}/people.db")

    assert load_secret(settings) == secret.encode()
    assert names_in(tmp_path) == []


def test_postgresql_needs_the_setting() -> None:
    settings = Settings(_env_file=None, database_url="postgresql://me@localhost/x")

    assert secret_path(settings) is None
    with pytest.raises(SettingsError, match="DENIZEN_SECRET_KEY must be set with PostgreSQL"):
        load_secret(settings)


def test_private_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "it"
    path.write_text("old")

    assert write_private(path, "new") == path
    assert path.read_text() == "new\n"
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(OSError, match="it"):
        write_private(path / "below", "x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        write_private(tmp_path / "folder", "x")
    assert sorted(names_in(tmp_path)) == ["folder", "it"]


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
@pytest.mark.parametrize("act", ["write_private(path, 'x' * 100)", "load_secret(settings)"])
def test_disk_that_is_full_leaves_what_was_there_and_nothing_else(tmp_path: Path, act: str) -> None:
    (tmp_path / "it").write_text("old")
    child = (
        "import resource, sys; from pathlib import Path; from denizen.core.secret import load_secret, write_private; "
        "from denizen.settings import Settings; path = Path(sys.argv[1]) / 'it'; "
        "settings = Settings(_env_file=None, database_url=f'sqlite:///{sys.argv[1]}/people.db'); "
        f"resource.setrlimit(resource.RLIMIT_FSIZE, (20, 20)); {act}"
    )

    failed = subprocess.run([sys.executable, "-c", child, tmp_path], capture_output=True, text=True, check=False)

    assert failed.returncode == 1
    assert "File too large" in failed.stderr
    assert names_in(tmp_path) == ["it"]
    assert (tmp_path / "it").read_text() == "old"
