"""`denizen serve`: from an empty folder to an answer, and what it refuses before it starts."""

from __future__ import annotations

import json
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_urlsafe
from socket import create_server
from typing import Any
from urllib.request import Request, urlopen

import pytest

from tests.cli.conftest import Run
from tests.postgres import Postgres


@dataclass
class Served:
    """A server that runs in a process of its own."""

    process: subprocess.Popen[str]
    said: list[str] = field(default_factory=list)

    def wait_for(self, pattern: str) -> str:
        """Read what it says until a line has `pattern`; give what that matched."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line)
            if found := re.search(pattern, line):
                return found[0]
        raise AssertionError("".join(self.said))

    def stop(self) -> int:
        """Ask it to end; give its exit code."""
        self.process.send_signal(signal.SIGTERM)
        said, _ = self.process.communicate(timeout=15)
        self.said.append(said)
        return self.process.returncode


@contextmanager
def serving(environment: dict[str, str], *options: str) -> Iterator[Served]:
    """Run `denizen serve` on a free port, in the working folder."""
    command = [sys.executable, "-m", "denizen", "serve", "--port", "0", *options]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as process:
        try:
            yield Served(process)
        finally:
            process.kill()


URL = r"http://127\.0\.0\.1:\d+"


def become_administrator(url: str, link_file: Path) -> str:
    """Open the link that the server left, as a person does; give the token of the sign-in."""
    token = link_file.read_text().strip().partition("?token=")[2]
    body = {"token": token, "username": "root", "email": "root@example.org", "password": "correct horse battery"}
    request = Request(
        f"{url}/auth/first-administrator", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urlopen(request, timeout=10) as answer:
        return str(json.load(answer)["access_token"])


def get(url: str, token: str | None = None) -> Any:
    """Fetch a JSON document."""
    request = Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    with urlopen(request, timeout=10) as answer:
        return json.load(answer)


def test_empty_folder_becomes_a_working_installation(environment: dict[str, str], tmp_path: Path) -> None:
    with serving(environment) as server:
        url = server.wait_for(URL)
        link = (tmp_path / "denizen.admin-link").read_text().strip()

        assert get(f"{url}/healthz")
        token = become_administrator(url, tmp_path / "denizen.admin-link")
        assert [user["username"] for user in get(f"{url}/users/", token)] == ["root"]
        assert server.stop() == 0

    said = "".join(server.said)
    assert link not in said
    assert link.partition("=")[2] not in said
    assert token not in said
    private = ["denizen.db", "denizen.db.secret", "denizen.admin-link"]
    assert {name: (tmp_path / name).stat().st_mode & 0o777 for name in private} == dict.fromkeys(private, 0o600)


@pytest.mark.slow
def test_second_start_finds_what_the_first_one_made(environment: dict[str, str], tmp_path: Path) -> None:
    with serving(environment) as server:
        token = become_administrator(server.wait_for(URL), tmp_path / "denizen.admin-link")
        assert server.stop() == 0
    secret = (tmp_path / "denizen.db.secret").read_bytes()

    with serving(environment) as server:
        url = server.wait_for(URL)
        assert [user["username"] for user in get(f"{url}/users/", token)] == ["root"]
        assert server.stop() == 0

    assert "no administrator" not in "".join(server.said)
    assert (tmp_path / "denizen.db.secret").read_bytes() == secret
    assert "database_created" not in "".join(server.said)


@pytest.mark.slow
def test_options_reach_several_workers_that_start_in_an_empty_folder(
    environment: dict[str, str], tmp_path: Path
) -> None:
    environment |= {"DENIZEN_PREFIX": "/accounts"}

    with serving(environment, "--workers", "2", "--access-log") as server:
        url = server.wait_for(URL)
        server.wait_for("no administrator yet")
        token = become_administrator(f"{url}/accounts", tmp_path / "denizen.admin-link")
        for _ in range(10):
            assert len(get(f"{url}/accounts/users/", token)) == 1
        assert server.stop() == 0

    said = "".join(server.said)
    assert said.count("no administrator yet") == 1
    assert '"/accounts/users/"' in said


@pytest.mark.slow
def test_schema_of_another_program_is_refused_with_the_command_that_helps(denizen: Run, tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "denizen.db").execute("CREATE TABLE other (x)").connection.close()

    refused = denizen("serve")

    assert refused.returncode == 1
    assert refused.stderr.startswith("Error: The database holds none of Denizen's tables.")
    assert "denizen migrate up" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.slow
def test_postgresql_is_not_migrated_by_serve(denizen: Run, postgres: Postgres) -> None:
    url = postgres.create_database("serve_empty")

    refused = denizen("serve", DATABASE_URL=url, SECRET_KEY=token_urlsafe(32))

    assert refused.returncode == 1
    assert "denizen migrate up" in refused.stderr
    assert postgres.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", database="serve_empty") == [
        (0,)
    ]


@pytest.mark.slow
def test_postgresql_needs_a_secret(denizen: Run) -> None:
    refused = denizen("serve", DATABASE_URL="postgresql://me:hunter2@127.0.0.1:1/x")

    assert refused.returncode == 2
    assert refused.stderr.startswith("Error: DENIZEN_SECRET_KEY must be set with PostgreSQL")


@pytest.mark.slow
@pytest.mark.parametrize("command", ["serve", "doctor", "users"])
def test_own_fields_that_cannot_be_are_told_before_anything_is_done(
    denizen: Run, tmp_path: Path, sqlite_template: Path, command: str
) -> None:
    shutil.copy(sqlite_template, tmp_path / "denizen.db")
    (tmp_path / "staff.py").write_text("class Staff:\n    department: str\n")

    refused = denizen(command, *(["list"] if command == "users" else []), PROFILE="staff:Staff")

    said = refused.stdout + refused.stderr
    assert refused.returncode == (1 if command == "doctor" else 2)
    assert "DENIZEN_PROFILE: A profile is a class of fields" in " ".join(said.split())
    assert "Traceback" not in said


@pytest.mark.slow
def test_database_that_is_away_is_named_with_the_reason(denizen: Run) -> None:
    refused = denizen("serve", DATABASE_URL="postgresql://me:hunter2@127.0.0.1:1/x", SECRET_KEY=token_urlsafe(32))

    assert refused.returncode == 1
    assert refused.stderr.startswith("Error: postgresql://me:********@127.0.0.1:1/x does not answer: ")
    assert "Connection refused" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.slow
def test_secret_that_others_can_read_is_refused(denizen: Run, tmp_path: Path) -> None:
    (tmp_path / "denizen.db.secret").write_text(token_urlsafe(32))
    (tmp_path / "denizen.db.secret").chmod(0o644)

    refused = denizen("serve")

    assert refused.returncode == 2
    assert "chmod 600" in refused.stderr
    assert not (tmp_path / "denizen.db").exists()


@pytest.mark.slow
def test_port_in_use_is_an_error(denizen: Run) -> None:
    with create_server(("127.0.0.1", 0)) as taken:
        refused = denizen("serve", "--port", str(taken.getsockname()[1]))

    assert refused.returncode != 0
    assert "address already in use" in refused.stderr.lower()


@pytest.mark.slow
def test_reloading_goes_with_one_worker(denizen: Run) -> None:
    assert denizen("serve", "--reload", "--workers", "2").returncode == 2
    assert denizen("serve", "--port", "99999").returncode == 2


@pytest.mark.slow
def test_command_in_the_wrong_folder_says_so_and_makes_nothing(denizen: Run, tmp_path: Path) -> None:
    refused = denizen("keys", "list")

    assert refused.returncode == 1
    assert f"There is no database at {tmp_path}/denizen.db." in refused.stderr
    assert "denizen serve" in refused.stderr
    assert "DENIZEN_DATABASE_URL" in refused.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_command_on_a_database_without_tables_names_the_one_that_makes_them(denizen: Run, tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "denizen.db").execute("CREATE TABLE other (x)").connection.close()

    refused = denizen("keys", "list", "--json")

    assert refused.returncode == 1
    problem = json.loads(refused.stderr)
    assert problem["code"] == "schema_missing"
    assert "denizen migrate up" in problem["detail"]
