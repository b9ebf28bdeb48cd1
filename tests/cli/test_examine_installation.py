"""`denizen doctor`: in order, worth a look, or wrong, and what to do."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from denizen.core.database import Database
from denizen.core.options import DatabaseOptions
from denizen.core.secret import load_secret
from denizen.doctor import Finding, State, examine
from denizen.settings import Settings
from tests.cli.conftest import Run
from tests.postgres import Postgres

SECRET = "kX7v2Qm9Lp4Zr8Tn3Wc6Yb1Hd5Gf0SaJe"
Examine = Callable[..., Awaitable[dict[str, Finding]]]


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    path = tmp_path / "denizen.db"
    shutil.copy(sqlite_template, path)
    path.chmod(0o600)
    return f"sqlite:///{path}"


@pytest.fixture
def look(sqlite_url: str) -> Examine:
    """Examine an installation; gives the findings by their names."""

    async def run(**options: Any) -> dict[str, Finding]:
        settings = Settings(_env_file=None, **{"database_url": sqlite_url, **options})
        database = Database(settings.database_url, DatabaseOptions.of(settings))
        try:
            return {finding.check: finding async for finding in examine(settings, database)}
        finally:
            await database.close()

    return run


async def test_healthy_sqlite_installation_is_all_ok(look: Examine) -> None:
    findings = await look()

    assert {finding.state for finding in findings.values()} == {State.OK}, findings
    assert list(findings) == [
        "secret",
        "signup",
        "addresses",
        "own_fields",
        "mail",
        "files",
        "disk",
        "file_system",
        "database",
        "schema",
        "case_duplicates",
        "search",
        "profiles",
        "signing_keys",
        "clock",
    ]
    assert not any(finding.advice for finding in findings.values())


async def test_own_fields_are_named_or_what_is_wrong_with_them(look: Examine, tmp_path: Path) -> None:
    (tmp_path / "staff.json").write_text('{"title": "Staff", "properties": {"badge": {}, "level": {}}}')

    named = (await look(profile=f"{tmp_path}/staff.json"))["own_fields"]
    missing = (await look(profile="nowhere.json"))["own_fields"]

    assert (named.state, named.found) == (State.OK, "Staff: badge, level.")
    assert missing.state is State.FAIL
    assert missing.found.startswith("DENIZEN_PROFILE names the file nowhere.json, which cannot be read")


async def test_healthy_postgresql_installation_is_all_ok(
    look: Examine, postgres: Postgres, postgres_template: str
) -> None:
    url = postgres.create_database("doctor_healthy", template=postgres_template)

    findings = await look(database_url=url, secret_key=SECRET)

    assert {finding.state for finding in findings.values()} == {State.OK}, findings
    assert {"pool", "clock", "schema", "case_duplicates"} <= set(findings)


async def test_more_connections_than_the_server_gives_fail(
    look: Examine, postgres: Postgres, postgres_template: str
) -> None:
    url = postgres.create_database("doctor_pool", template=postgres_template)

    findings = await look(database_url=url, secret_key=SECRET, workers=8, database_pool_size=100)

    assert findings["pool"].state is State.FAIL
    assert findings["pool"].found.startswith("Up to 1600 connections are opened")
    assert "DENIZEN_DATABASE_POOL_SIZE" in findings["pool"].advice


async def test_database_that_is_not_on_the_server_is_named(look: Examine, postgres: Postgres) -> None:
    url = postgres.url("no_such_database")

    findings = await look(database_url=url, secret_key=SECRET)

    assert list(findings)[-1] == "database"
    assert findings["database"].state is State.FAIL
    assert "does not exist" in findings["database"].found


async def test_postgresql_without_a_secret_fails(look: Examine) -> None:
    findings = await look(database_url="postgresql://me:hunter2@127.0.0.1:1/x")

    assert findings["secret"].state is State.FAIL
    assert findings["database"].state is State.FAIL
    assert "hunter2" not in str(findings)


async def test_missing_file_fails_and_none_is_made(look: Examine, tmp_path: Path) -> None:
    findings = await look(database_url=f"sqlite:///{tmp_path}/other.db")

    assert findings["database"].state is State.FAIL
    assert f"{tmp_path}/other.db" in findings["database"].found
    assert not (tmp_path / "other.db").exists()
    assert not (tmp_path / "other.db.secret").exists()


async def test_missing_folder_fails(look: Examine, tmp_path: Path) -> None:
    findings = await look(database_url=f"sqlite:///{tmp_path}/none/other.db")

    assert findings["files"].state is State.FAIL


async def test_file_without_tables_fails_and_nothing_more_is_asked(look: Examine, tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "empty.db").execute("CREATE TABLE other (x)").connection.close()

    findings = await look(database_url=f"sqlite:///{tmp_path}/empty.db")

    assert list(findings)[-1] == "schema"
    assert findings["schema"].state is State.FAIL
    assert "denizen migrate up" in findings["schema"].found


async def test_secret_that_others_can_read_fails(look: Examine, tmp_path: Path, sqlite_url: str) -> None:
    load_secret(Settings(_env_file=None, database_url=sqlite_url))
    (tmp_path / "denizen.db.secret").chmod(0o644)

    findings = await look()

    assert findings["secret"].state is State.FAIL
    assert findings["secret"].advice == f"chmod 600 {tmp_path}/denizen.db.secret"
    assert findings["files"].state is State.WARN


async def test_database_that_everybody_can_read_warns(look: Examine, tmp_path: Path) -> None:
    (tmp_path / "denizen.db").chmod(0o644)

    findings = await look()

    assert findings["files"].state is State.WARN
    assert findings["files"].advice == f"chmod o-rwx {tmp_path}/denizen.db"


async def test_addresses_that_differ_in_case_alone_fail(look: Examine, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "denizen.db") as db:
        for number, email in enumerate(("Ada@example.org", "ada@EXAMPLE.org")):
            db.execute(
                "INSERT INTO denizen_users (id, email, email_key, is_active, created_at, updated_at, version)"
                " VALUES (?, ?, ?, 1, ?, ?, 1)",
                (bytes([number] * 16), email, f"forged{number}", "2026-01-01 00:00:00", "2026-01-01 00:00:00"),
            )
    db.close()

    findings = await look()

    assert findings["case_duplicates"].state is State.FAIL


async def test_clock_behind_the_last_write_warns(look: Examine, tmp_path: Path) -> None:
    future = (tmp_path / "denizen.db").stat().st_mtime + 3600
    os.utime(tmp_path / "denizen.db", (future, future))

    assert (await look())["clock"].state is State.WARN


@pytest.mark.parametrize(
    ("options", "check"),
    [
        ({"host": "0.0.0.0"}, "signup"),
        ({"base_url": "http://id.example.com"}, "addresses"),
        ({"allowed_hosts": "*"}, "addresses"),
        ({"trusted_proxies": "0.0.0.0/0"}, "addresses"),
    ],
)
async def test_settings_that_are_seldom_meant_warn(look: Examine, options: dict[str, str], check: str) -> None:
    findings = await look(**options)

    assert findings[check].state is State.WARN
    assert findings[check].advice


async def test_decided_sign_up_does_not_warn(look: Examine) -> None:
    assert (await look(host="0.0.0.0", signup="open"))["signup"].state is State.OK
    assert (await look(host="0.0.0.0", signup="closed"))["signup"].state is State.OK


@pytest.mark.slow
def test_exit_code_tells_whether_something_has_to_be_done(denizen: Run, sqlite_url: str) -> None:
    well = denizen("doctor", DATABASE_URL=sqlite_url)
    ill = denizen("doctor", "--json", DATABASE_URL="sqlite:///none.db")

    assert well.returncode == 0
    assert "The database is up to date." in well.stdout
    assert ill.returncode == 1
    states = {row["check"]: row["state"] for row in map(json.loads, ill.stdout.splitlines())}
    assert states["database"] == "fail"
