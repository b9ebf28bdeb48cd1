"""The link to the first administrator's account: shown to whoever starts the server, or kept in a file of his alone."""

from __future__ import annotations

import asyncio
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
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from fastapi import FastAPI
from httpx import AsyncClient
from pydantic import SecretStr

from denizen.core.accounts import Accounts
from denizen.core.assembly import assemble
from denizen.core.errors import Unavailable
from denizen.core.secret import write_private
from denizen.core.tokens import new_token
from denizen.features import FEATURES
from denizen.founder import service
from denizen.founder.service import offer_first_administrator
from denizen.onetime import service as onetime
from denizen.settings import Settings
from tests.conftest import Clock

SERVE = [sys.executable, "-m", "denizen", "serve", "--port", "0"]
LINK = r"http://127\.0\.0\.1/auth/first-administrator\?token=(dza_[A-Za-z0-9_-]{43})"
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


def opens(url: str, link: str) -> int:
    """Tell how the page behind a link is answered; the server listens on another port than the link says."""
    try:
        with urlopen(f"{url}/auth/{link.rpartition('/auth/')[2]}", timeout=10) as answer:
            return int(answer.status)
    except HTTPError as refused:
        return refused.code


def stored_links(folder: Path) -> list[bytes]:
    with sqlite3.connect(folder / "denizen.db") as db:
        found = db.execute("SELECT token_digest FROM denizen_one_time_tokens WHERE purpose = 'first_admin'")
        return [digest for (digest,) in found]


def age_links(folder: Path, by: float) -> None:
    """Let links expire earlier by so many seconds."""
    with sqlite3.connect(folder / "denizen.db") as db:
        db.execute("UPDATE denizen_one_time_tokens SET expires_at = expires_at - ?", (round(by * 1_000_000),))


@pytest.mark.slow
def test_terminal_shows_the_link_and_no_file_keeps_it(environment: dict[str, str], tmp_path: Path) -> None:
    with on_terminal(environment, tmp_path) as server:
        link = server.wait_for(LINK)
        assert opens(server.wait_for(URL), link) == 200

    assert not (tmp_path / "denizen.admin-link").exists()
    assert server.said.count(link) == 1
    assert len(stored_links(tmp_path)) == 1
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())
    assert link.partition("dza_")[2].encode() not in kept


def test_two_that_start_at_once_make_one_link(environment: dict[str, str], tmp_path: Path) -> None:
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
        link = (tmp_path / "denizen.admin-link").read_text().strip()
        assert [opens(url, link) for url in urls] == [200, 200]
    finally:
        for server in servers:
            server.terminate()
        said = [before + server.communicate(timeout=15)[0] for before, server in zip(said, servers, strict=True)]

    assert "".join(said).count("no administrator yet") == 1
    assert link.partition("=")[2] not in "".join(said)
    assert len(stored_links(tmp_path)) == 1
    assert (tmp_path / "denizen.admin-link").stat().st_mode & 0o777 == 0o600


# --- Failures and kills ----------------------------------------------------------------------------------------------


def start_and_stop(environment: dict[str, str], folder: Path) -> str:
    """Start a server without a terminal; give the link in its file, which works."""
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
            link = (folder / "denizen.admin-link").read_text().strip()
            assert opens(found[0], link) == 200
        finally:
            server.kill()
    return link


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith("denizen.db")}


@pytest.mark.slow
@pytest.mark.parametrize("there", ["a folder", "a file of somebody else"])
def test_link_that_cannot_be_kept_is_not_made_and_the_server_starts_all_the_same(
    environment: dict[str, str], tmp_path: Path, there: str
) -> None:
    link_file = tmp_path / "denizen.admin-link"
    link_file.mkdir() if there == "a folder" else link_file.write_text("-----BEGIN PRIVATE KEY-----")

    with subprocess.Popen(
        SERVE, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as server:
        assert server.stdout is not None
        said = ""
        while not re.search(URL, said):
            line = server.stdout.readline()
            assert line, said
            said += line
        server.kill()

    assert "no_administrator" in said
    assert "denizen users create --admin" in said
    assert stored_links(tmp_path) == []
    assert names_in(tmp_path) == {"denizen.admin-link"}
    if there == "a folder":
        link_file.rmdir()
    else:
        assert link_file.read_text() == "-----BEGIN PRIVATE KEY-----"
        link_file.unlink()
    start_and_stop(environment, tmp_path)
    assert len(stored_links(tmp_path)) == 1


@pytest.mark.slow
def test_link_of_the_last_start_is_given_again_within_its_hour_and_another_after(
    environment: dict[str, str], tmp_path: Path
) -> None:
    link = start_and_stop(environment, tmp_path)
    assert start_and_stop(environment, tmp_path) == link

    age_links(tmp_path, by=3700)
    assert start_and_stop(environment, tmp_path) != link


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path

from denizen.core.assembly import assemble
from denizen.core.secret import write_private
from denizen.features import FEATURES
from denizen.founder.service import offer_first_administrator
from denizen.onetime import service as onetime
from denizen.migrations.runner import create
from denizen.settings import Settings


def hand_over(link):
    if sys.argv[1] == "after the file":
        write_private(Path("denizen.admin-link"), link)
    os.kill(os.getpid(), signal.SIGKILL)


settings = Settings.load()
create(settings.database_url)
asyncio.run(offer_first_administrator(assemble(settings, FEATURES), hand_over))
"""


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before the file", "after the file"])
def test_start_that_is_killed_before_the_commit_is_followed_by_one_that_makes_a_link(
    environment: dict[str, str], tmp_path: Path, when: str
) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, when], cwd=tmp_path, env=environment, timeout=60, check=False
    )
    link_file = tmp_path / "denizen.admin-link"
    dead = link_file.read_text().strip() if link_file.exists() else None

    assert killed.returncode == -signal.SIGKILL
    assert (dead is not None) == (when == "after the file")
    assert stored_links(tmp_path) == []
    assert start_and_stop(environment, tmp_path) != dead
    assert len(stored_links(tmp_path)) == 1
    assert names_in(tmp_path) == {"denizen.admin-link"}


@pytest.mark.usefixtures("capsys")  # no terminal
async def test_commit_that_fails_is_followed_by_a_start_that_makes_a_link(
    app: FastAPI, accounts: Accounts, client: AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    issue, link_file = onetime.issue, tmp_path / "denizen.admin-link"

    async def issue_and_fail(*arguments: Any, **options: Any) -> str:
        token = await issue(*arguments, **options)
        write_private(link_file, f"http://testserver/auth/first-administrator?token={token}")
        raise Unavailable("The disk is gone.")

    monkeypatch.setattr(service, "issue", issue_and_fail)
    async with app.router.lifespan_context(app):
        dead = link_file.read_text().strip()
        assert (await client.get(dead)).status_code == 422
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)

    async with app.router.lifespan_context(app):
        link = link_file.read_text().strip()
        assert link != dead
        assert (await client.get(link)).status_code == 200


@pytest.mark.usefixtures("capsys")
async def test_dead_link_of_an_earlier_installation_is_replaced(app: FastAPI, tmp_path: Path) -> None:
    """On PostgreSQL the file is in the working folder."""
    dead = f"http://testserver/auth/first-administrator?token={new_token('dza_')}"
    (tmp_path / "denizen.admin-link").write_text(dead)

    async with app.router.lifespan_context(app):
        link = (tmp_path / "denizen.admin-link").read_text().strip()

    assert link != dead
    assert (tmp_path / "denizen.admin-link").stat().st_mode & 0o777 == 0o600


async def test_servers_share_a_link_for_its_hour_and_make_another_then(
    accounts: Accounts, settings: Settings, clock: Clock
) -> None:
    other, shown = assemble(settings, FEATURES, clock=clock), list[str]()
    try:
        assert await offer_first_administrator(accounts, shown.append)
        assert not await offer_first_administrator(other, shown.append)  # just shown by another
        clock.turn(minutes=30)
        assert await offer_first_administrator(other, shown.append)
        assert shown[0] == shown[1]
        clock.turn(minutes=31)
        assert await offer_first_administrator(other, shown.append)
        assert shown[2] != shown[0]
    finally:
        await other.close()


@pytest.mark.slow
@pytest.mark.parametrize("database_kind", ["postgresql"])
async def test_twenty_servers_on_postgresql_make_one_link(accounts: Accounts, settings: Settings, clock: Clock) -> None:
    others, shown = [assemble(settings, FEATURES, clock=clock) for _ in range(5)], list[str]()

    offered = await asyncio.gather(
        *(offer_first_administrator(each, shown.append) for each in (accounts, *others) for _ in range(4))
    )
    await asyncio.gather(*(each.close() for each in others))

    assert sum(offered) == len(shown) == 1


async def test_another_secret_makes_another_link(accounts: Accounts, settings: Settings, clock: Clock) -> None:
    shown = list[str]()
    assert await offer_first_administrator(accounts, shown.append)
    changed = settings.model_copy(update={"secret_key": SecretStr("q" * 16 + "Zr8Tn3Wc6Yb1Hd5Gf0")})
    other = assemble(changed, FEATURES, clock=clock)
    try:
        assert await offer_first_administrator(other, shown.append)
    finally:
        await other.close()
    assert len(set(shown)) == 2
