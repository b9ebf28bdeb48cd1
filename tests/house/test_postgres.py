"""The PostgreSQL that tests run on: killed, frozen and orphaned on purpose, since other tests rely on just that."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import psycopg
import pytest

from tests.postgres import Postgres

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with Postgres() as server:
        yield server


def test_databases_are_made_copied_and_dropped(server: Postgres) -> None:
    address = server.create_database("original")
    with psycopg.connect(address) as connection:
        connection.execute("CREATE TABLE things (name text)")
        connection.execute("INSERT INTO things VALUES ('one')")

    copy = server.create_database("copy of it", template="original")

    assert server.execute("SELECT name FROM things", database="copy of it") == [("one",)]
    with contextlib.closing(psycopg.connect(copy)) as guest:
        server.drop_database("copy of it")
        with pytest.raises(psycopg.OperationalError):
            guest.execute("SELECT 1")
    names = [name for (name,) in server.execute("SELECT datname FROM pg_database")]
    assert "original" in names
    assert "copy of it" not in names


def test_a_wrong_password_is_refused(server: Postgres) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(server.url().replace(server.password, "wrong"))


def test_it_comes_back_on_the_same_port_after_a_kill(server: Postgres) -> None:
    address = server.create_database("survivor")
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("CREATE TABLE things AS SELECT 1 AS one")
        connection.execute("CHECKPOINT")
        server.kill9()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(address)

    server.start()

    with psycopg.connect(address) as connection:
        assert connection.execute("SELECT one FROM things").fetchone() == (1,)


def test_a_frozen_server_keeps_connections_and_answers_after_the_thaw(server: Postgres) -> None:
    with contextlib.closing(psycopg.connect(server.url(), autocommit=True)) as connection, ThreadPoolExecutor() as pool:
        with server.frozen():
            answer = pool.submit(connection.execute, "SELECT 42")
            with pytest.raises(TimeoutError):
                answer.result(timeout=0.2)

        assert answer.result(timeout=5).fetchone() == (42,)


def test_nothing_is_left_when_the_process_that_made_it_is_killed() -> None:
    script = (
        "import time; from tests.postgres import Postgres; server = Postgres(); "
        "[(data,)] = server.execute('SHOW data_directory'); "
        "print(server.pid, server.socket_url(), data, flush=True); server.freeze(); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pid, address, data = process.stdout.readline().split()
        folders = [Path(address.partition("host=")[2].partition("&")[0]), Path(data)]
        assert all(folder.is_dir() for folder in folders)

        process.kill()

    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and (any(folder.exists() for folder in folders) or _runs(int(pid))):
        time.sleep(0.05)
    assert not any(folder.exists() for folder in folders)
    assert not _runs(int(pid))


def _runs(pid: int) -> bool:
    """Tell whether a process is alive; one that only waits for somebody to reap it is not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
