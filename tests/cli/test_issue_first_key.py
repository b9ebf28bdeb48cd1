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
from urllib.request import Request, urlopen

import pytest

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
    assert scopes.count(":") == 6
    assert (tmp_path / "denizen.key").stat().st_mode & 0o777 == 0o600
