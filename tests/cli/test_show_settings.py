"""`denizen settings`: what is in force, and where it comes from."""

from __future__ import annotations

import json
from pathlib import Path
from secrets import token_urlsafe

import pytest
from typer.testing import CliRunner

from denizen.cli import build
from tests.cli.conftest import Run


@pytest.mark.slow
def test_settings_tell_value_and_source_without_secrets(denizen: Run, tmp_path: Path) -> None:
    secret = token_urlsafe(32)
    (tmp_path / ".env").write_text(f"DENIZEN_SECRET_KEY={secret}\n")

    shown = denizen("settings", "--json", DATABASE_URL="postgresql://me:hunter2@db/x", PORT="9000")

    settings = {row["name"]: row for row in map(json.loads, shown.stdout.splitlines())}
    assert settings["DENIZEN_PORT"]["value"] == "9000"
    assert settings["DENIZEN_PORT"]["source"] == "environment"
    assert settings["DENIZEN_BASE_URL"]["value"] == "http://127.0.0.1:9000"
    assert settings["DENIZEN_BASE_URL"]["source"] == "default"
    assert settings["DENIZEN_SECRET_KEY"]["value"] == "********"
    assert settings["DENIZEN_SECRET_KEY"]["source"] == ".env"
    assert settings["DENIZEN_DATABASE_URL"]["value"] == "postgresql://me:********@db/x"
    assert secret not in shown.stdout
    assert "hunter2" not in shown.stdout


def test_settings_are_a_table_for_people(denizen: Run) -> None:
    shown = denizen("settings")

    assert shown.returncode == 0
    assert any(line.split() == ["DENIZEN_SIGNUP", "open", "default"] for line in shown.stdout.splitlines())


@pytest.mark.usefixtures("environment")
def test_unknown_variable_stops_every_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DENIZEN_WORKER", "3")
    program = build()

    for typed in ("settings", "keys list", "users list", "serve", "doctor", "openapi", "migrate status"):
        refused = CliRunner().invoke(program, typed.split())
        assert (refused.exit_code, refused.stdout) == (2, ""), typed
        sentence = "Error: DENIZEN_WORKER (environment) is not a setting; did you mean DENIZEN_WORKERS?\n"
        assert refused.stderr == sentence


def test_faults_are_a_problem_document_for_programs(denizen: Run) -> None:
    refused = denizen("settings", "--json", PORT="x", WORKERS="y")

    assert refused.returncode == 2
    problem = json.loads(refused.stderr)
    assert problem["code"] == "settings_invalid"
    assert problem["detail"] == "DENIZEN_PORT must be a whole number.\nDENIZEN_WORKERS must be a whole number."


@pytest.mark.slow
def test_other_drivers_are_refused(denizen: Run) -> None:
    refused = denizen("keys", "list", DATABASE_URL="postgresql+asyncpg://me:hunter2@db/x")

    assert refused.returncode == 2
    assert "write postgresql://user:password@host/name" in refused.stderr
    assert "hunter2" not in refused.stderr
