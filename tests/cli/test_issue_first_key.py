"""The key that a fresh SQLite installation begins with: shown once, to whoever started it."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from fastapi import FastAPI
from httpx import AsyncClient
from sqlalchemy import insert, text
from sqlalchemy.exc import IntegrityError

from denizen.core.accounts import Accounts
from denizen.core.auth import Scope
from denizen.core.ids import new_id
from denizen.core.tokens import new_token
from denizen.keys.models import Key
from tests.cli.conftest import Run

SERVE = [sys.executable, "-m", "denizen", "serve", "--port", "0"]
KEY = r"dzk_[A-Za-z0-9_-]{43}"
URL = r"http://127\.0\.0\.1:\d+"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="terminals of POSIX")


class OnTerminal:
    """A server whose terminal is read here."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(SERVE, stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env=environment)
        os.close(theirs)
        self.said = ""

    def wait_for(self, pattern: str) -> str:
        deadline = time.monotonic() + 30
        while (found := re.search(pattern, self.said)) is None:
            assert time.monotonic() < deadline, self.said
            if select.select([self._ours], [], [], 0.1)[0]:
                self.said += os.read(self._ours, 65536).decode()
        return found[0]

    def close(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        while self.process.poll() is None:
            if select.select([self._ours], [], [], 0.1)[0]:
                try:
                    self.said += os.read(self._ours, 65536).decode()
                except OSError:  # the other end is closed
                    break
        self.process.wait(15)
        os.close(self._ours)


@contextmanager
def on_terminal(environment: dict[str, str], folder: Path) -> Iterator[OnTerminal]:
    server = OnTerminal(environment, folder)
    try:
        yield server
    finally:
        server.close()


def status(url: str, token: str) -> int:
    with urlopen(Request(f"{url}/keys/", headers={"Authorization": f"Bearer {token}"}), timeout=10) as answer:
        return int(answer.status)


def stored_keys(folder: Path) -> list[tuple[str, str]]:
    with sqlite3.connect(folder / "denizen.db") as db:
        return db.execute("SELECT name, scopes FROM denizen_keys").fetchall()


def test_terminal_shows_the_key_once_and_no_file_keeps_it(environment: dict[str, str], tmp_path: Path) -> None:
    with on_terminal(environment, tmp_path) as server:
        token = server.wait_for(KEY)
        assert status(server.wait_for(URL), token) == 200
    with on_terminal(environment, tmp_path) as again:
        assert status(again.wait_for(URL), token) == 200

    assert re.search(KEY, again.said) is None
    assert len(stored_keys(tmp_path)) == 1
    assert not (tmp_path / "denizen.key").exists()
    assert server.said.count(token) == 1
    assert "not shown again" in server.said
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())
    assert token[8:].encode() not in kept


def test_two_that_start_at_once_make_one_key(environment: dict[str, str], tmp_path: Path) -> None:
    servers = [
        subprocess.Popen(
            SERVE, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for _ in range(2)
    ]
    said = ["", ""]
    try:
        urls = []
        for number, server in enumerate(servers):
            assert server.stdout is not None
            for line in server.stdout:
                said[number] += line
                if found := re.search(URL, line):
                    urls.append(found[0])
                    break
            else:
                raise AssertionError(said[number])
        token = (tmp_path / "denizen.key").read_text().strip()
        assert [status(url, token) for url in urls] == [200, 200]
    finally:
        for server in servers:
            server.terminate()
        said = [before + server.communicate(timeout=15)[0] for before, server in zip(said, servers, strict=True)]

    assert "".join(said).count("The first API key") == 1
    assert token not in "".join(said)
    [(name, scopes)] = stored_keys(tmp_path)
    assert name == "first key"
    assert scopes.count(":") == len(list(Scope))
    assert (tmp_path / "denizen.key").stat().st_mode & 0o777 == 0o600


# --- Failures and kills ----------------------------------------------------------------------------------------------


def start_and_stop(environment: dict[str, str], folder: Path) -> str:
    """Start a server without a terminal; give the key in its file, which works."""
    with subprocess.Popen(
        SERVE, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as server:
        try:
            assert server.stdout is not None
            said = ""
            for line in server.stdout:
                said += line
                if found := re.search(URL, line):
                    break
            else:
                raise AssertionError(said)
            token = (folder / "denizen.key").read_text().strip()
            assert status(found[0], token) == 200
        finally:
            server.kill()
    assert "The first API key" in said
    return token


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith("denizen.db")}


def test_key_that_cannot_be_kept_is_not_made_and_the_next_start_makes_one(
    environment: dict[str, str], denizen: Run, tmp_path: Path
) -> None:
    (tmp_path / "denizen.key").mkdir()

    refused = denizen("serve", "--port", "0")

    assert refused.returncode != 0
    assert f"The first API key cannot be kept in {tmp_path}/denizen.key: Is a directory." in refused.stderr
    assert stored_keys(tmp_path) == []
    assert names_in(tmp_path) == {"denizen.key"}
    (tmp_path / "denizen.key").rmdir()
    start_and_stop(environment, tmp_path)
    assert len(stored_keys(tmp_path)) == 1


def test_file_of_somebody_else_is_not_replaced(environment: dict[str, str], denizen: Run, tmp_path: Path) -> None:
    (tmp_path / "denizen.key").write_text("-----BEGIN PRIVATE KEY-----")

    refused = denizen("serve", "--port", "0")

    assert "another file has that name" in refused.stderr
    assert (tmp_path / "denizen.key").read_text() == "-----BEGIN PRIVATE KEY-----"
    assert stored_keys(tmp_path) == []


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path

from denizen.core.assembly import assemble
from denizen.core.secret import write_private
from denizen.features import FEATURES
from denizen.keys.service import issue_first_key
from denizen.migrations.runner import create
from denizen.settings import Settings


def hand_over(token):
    if sys.argv[1] == "after the file":
        write_private(Path("denizen.key"), token)
    os.kill(os.getpid(), signal.SIGKILL)


settings = Settings.load()
create(settings.database_url)
asyncio.run(issue_first_key(assemble(settings, FEATURES), hand_over))
"""


@pytest.mark.parametrize("when", ["before the file", "after the file"])
def test_start_that_is_killed_before_the_commit_is_followed_by_one_that_makes_a_key(
    environment: dict[str, str], tmp_path: Path, when: str
) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, when], cwd=tmp_path, env=environment, timeout=60, check=False
    )
    key_file = tmp_path / "denizen.key"
    dead = key_file.read_text().strip() if key_file.exists() else None

    assert killed.returncode == -signal.SIGKILL
    assert (dead is not None) == (when == "after the file")
    assert stored_keys(tmp_path) == []
    assert start_and_stop(environment, tmp_path) != dead
    assert len(stored_keys(tmp_path)) == 1
    assert names_in(tmp_path) == {"denizen.key"}


@pytest.mark.usefixtures("capsys")  # no terminal
@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_commit_that_fails_is_followed_by_a_start_that_makes_a_key(
    app: FastAPI, accounts: Accounts, client: AsyncClient, tmp_path: Path
) -> None:
    async def spoil(db: Any, _: object) -> None:
        """Store what no commit lets through, as any listener may by mistake."""
        await db.execute(text("PRAGMA defer_foreign_keys = ON"))
        nobodys = {"name": "x", "hint": "x", "token_digest": b"x" * 32, "scopes": [], "maker_id": new_id()}
        await db.execute(insert(Key).values(id=new_id(), created_at=accounts.clock(), **nobodys))

    accounts.listeners = (spoil,)
    with pytest.raises(IntegrityError):
        async with app.router.lifespan_context(app):
            pass
    dead = (tmp_path / "denizen.key").read_text().strip()
    assert (await client.get("/keys/", headers={"Authorization": f"Bearer {dead}"})).status_code == 401

    accounts.listeners = ()
    async with app.router.lifespan_context(app):
        token = (tmp_path / "denizen.key").read_text().strip()
        assert (await client.get("/keys/", headers={"Authorization": f"Bearer {token}"})).status_code == 200
    assert len(stored_keys(tmp_path)) == 1


@pytest.mark.usefixtures("capsys")
@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_dead_key_of_an_earlier_installation_is_replaced(app: FastAPI, tmp_path: Path) -> None:
    dead = new_token("dzk_")
    (tmp_path / "denizen.key").write_text(dead)

    async with app.router.lifespan_context(app):
        token = (tmp_path / "denizen.key").read_text().strip()

    assert token != dead
    assert (tmp_path / "denizen.key").stat().st_mode & 0o777 == 0o600
