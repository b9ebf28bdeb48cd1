"""Imports in processes of their own, killed in the middle; and the databases and clients under them going away."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from denizen.core.database import Database
from denizen.jobs.models import Job
from denizen.migrations import runner
from denizen.transfer.schemas import STORED
from denizen.users.models import User
from tests.conftest import SECRET
from tests.faults.serving import Served, serving, until
from tests.postgres import Postgres
from tests.server.running import ROOT

ROWS = 20_000


def write_people(path: Path) -> None:
    """Every tenth row repeats an address from before, every hundredth has none that is one."""
    with path.open("w", encoding="utf-8") as file:
        file.write("username,email,full_name,external_id\n")
        for n in range(ROWS):
            email = f"user{n - 7 if n % 10 == 9 else n}@example.org" if n % 100 != 50 else "nowhere"
            file.write(f"user{n},{email},Person {n} Ünïcøde,x{n}\n")


def environment(url: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DENIZEN_")}
    return kept | {"DENIZEN_DATABASE_URL": url, "DENIZEN_SECRET_KEY": SECRET, "PYTHONPATH": str(ROOT)}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "denizen", "users", "import", *arguments]


def run(url: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), cwd=folder, env=environment(url), capture_output=True, text=True, check=False, timeout=100
    )


@contextmanager
def started(url: str, folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        command(*arguments), cwd=folder, env=environment(url), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


async def accounts_in(url: str) -> list[list[Any]]:
    """All accounts without what is another one each time: ids and times."""
    database = Database(url)
    async with database.read.slow() as db:
        users = (await db.scalars(select(User))).all()
        found = [
            [getattr(user, name) for name in STORED if name not in {"id", "created_at", "updated_at"}] for user in users
        ]
    await database.close()
    return sorted(found, key=str)


async def jobs_in(url: str) -> list[Job]:
    database = Database(url)
    async with database.read.slow() as db:
        found = list((await db.scalars(select(Job).order_by(Job.id))).all())
    await database.close()
    return found


def report_in(path: Path) -> list[list[str]]:
    """A report, with `id` told as there or not there."""
    with path.open(encoding="utf-8", newline="") as file:
        return [[line, outcome, str(bool(user_id)), *rest] for line, outcome, user_id, *rest in csv.reader(file)]


async def beyond(url: str, position: int) -> None:
    """Wait until the last job is beyond a line."""

    async def there() -> bool:
        found = await jobs_in(url)
        return bool(found) and found[-1].position > position

    await until(there, within=60)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("mode", ["create", "upsert"])
async def test_killed_again_and_again_it_ends_as_if_nothing_had_been(
    database_url: str, sqlite_template: Path, tmp_path: Path, mode: str
) -> None:
    write_people(tmp_path / "people.csv")
    quiet = f"sqlite:///{tmp_path}/quiet.db"
    await asyncio.to_thread(shutil.copy, sqlite_template, tmp_path / "quiet.db")
    options = ["people.csv", "--mode", mode, "--batch", "500", "--report"]
    undisturbed = await asyncio.to_thread(run, quiet, tmp_path, *options, "quiet.csv", "--json")

    for number in range(4):
        more = ("--resume",) if number else ()
        before = (await jobs_in(database_url))[-1].position if number else 0
        with started(database_url, tmp_path, *options, "killed.csv", *more) as process:
            await beyond(database_url, before + random.randrange(2000))
            process.send_signal(signal.SIGKILL)
    last = await asyncio.to_thread(run, database_url, tmp_path, *options, "killed.csv", "--resume", "--json")

    assert last.returncode == 1, last.stderr
    told, quietly = json.loads(last.stdout), json.loads(undisturbed.stdout)
    for name in ("seconds", "job"):
        told.pop(name)
        quietly.pop(name)
    assert told == quietly
    assert await accounts_in(database_url) == await accounts_in(quiet)
    assert report_in(tmp_path / "killed.csv") == report_in(tmp_path / "quiet.csv")
    (job,) = await jobs_in(database_url)
    assert (job.state, job.position) == ("done", ROWS + 1)


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_of_two_processes_that_go_on_one_does(database_url: str, tmp_path: Path) -> None:
    write_people(tmp_path / "people.csv")
    with started(database_url, tmp_path, "people.csv", "--batch", "500") as process:
        await beyond(database_url, 1000)
        process.send_signal(signal.SIGKILL)

    arguments = ("people.csv", "--batch", "500", "--resume", "--json")
    ended = await asyncio.gather(*(asyncio.to_thread(run, database_url, tmp_path, *arguments) for _ in range(3)))

    done = [json.loads(each.stdout) for each in ended if each.stdout]
    refused = [json.loads(each.stderr)["code"] for each in ended if not each.stdout]
    whole = [each for each in done if each["rows"] == ROWS and each["created"] > ROWS / 2]
    assert len(whole) == 1  # one that came late may have found the job done, and begun anew
    assert set(refused) <= {"job_running"}
    assert len(await accounts_in(database_url)) == whole[0]["created"]


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_database_that_goes_away_is_gone_on_in(tmp_path: Path) -> None:
    write_people(tmp_path / "people.csv")
    with Postgres(durable=True) as server:
        url = server.create_database("people")
        await asyncio.to_thread(runner.upgrade, url)
        with started(url, tmp_path, "people.csv", "--batch", "500", "--report", "report.csv") as process:
            await beyond(url, 3000)
            await asyncio.to_thread(server.kill9)
            said = await asyncio.to_thread(process.communicate)
            assert process.returncode == 1, said
            assert "--resume" in said[1]
        await asyncio.to_thread(server.start)
        there = len(await accounts_in(url))
        assert 0 < there < ROWS

        last = await asyncio.to_thread(run, url, tmp_path, "people.csv", "--resume", "--json", "--report", "report.csv")

        summary = json.loads(last.stdout)
        assert (summary["rows"], summary["created"]) == (ROWS, len(await accounts_in(url)))
        assert len(report_in(tmp_path / "report.csv")) == ROWS + 1
        assert set(summary["codes"]) == {"email_taken", "email_invalid"}


# -- over HTTP --------------------------------------------------------------------------------------------------------

HEADERS = {"Content-Type": "text/csv", "Idempotency-Key": "people"}


async def cut(server: Served, content: bytes) -> AsyncGenerator[bytes]:
    """Send a file, and give what comes back."""
    client = server.client()
    async with client.stream("POST", "/users/import", content=content, headers=HEADERS) as answer:
        assert answer.status_code == 200
        async for piece in answer.aiter_bytes():
            yield piece


def results_in(answer: httpx.Response) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    *rows, last = [json.loads(line) for line in answer.text.splitlines()]
    return rows, last["summary"]


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_killed_server_goes_on_under_the_key(database_url: str, tmp_path: Path) -> None:
    write_people(tmp_path / "people.csv")
    content = await asyncio.to_thread((tmp_path / "people.csv").read_bytes)
    async with serving(tmp_path, database_url) as server:
        pieces = cut(server, content)
        seen = await anext(pieces)
        server.kill()
        with suppress(httpx.TransportError):
            async for piece in pieces:
                seen += piece
        before = [json.loads(line) for line in seen.splitlines()[:-1]]
        assert 0 < len(before) < ROWS
        await server.start()

        rows, summary = results_in(
            await server.client(timeout=60).post("/users/import", content=content, headers=HEADERS)
        )

        assert rows[: len(before)] == before
        assert [row["line"] for row in rows] == list(range(2, ROWS + 2))
        assert len(await accounts_in(database_url)) == summary["created"]
        assert "unexpected_error" not in server.log


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_client_that_goes_away_stops_the_import_and_comes_back(database_url: str, tmp_path: Path) -> None:
    write_people(tmp_path / "people.csv")
    content = await asyncio.to_thread((tmp_path / "people.csv").read_bytes)
    async with serving(tmp_path, database_url) as server:
        pieces = cut(server, content)
        await anext(pieces)
        await pieces.aclose()
        await server.clients[-1].aclose()

        async def stopped() -> bool:
            (job,) = (await server.client().get("/jobs/")).json()
            return bool(job["state"] == "interrupted")

        await until(stopped, within=10)
        assert len(await accounts_in(database_url)) < ROWS * 0.8

        rows, summary = results_in(
            await server.client(timeout=60).post("/users/import", content=content, headers=HEADERS)
        )

        assert len(rows) == ROWS
        assert len(await accounts_in(database_url)) == summary["created"]
        assert "unexpected_error" not in server.log


@pytest.mark.slow
async def test_a_slow_and_honest_upload_arrives(database_url: str, tmp_path: Path) -> None:
    async def slowly() -> AsyncIterator[bytes]:
        yield b"username\n"
        for n in range(12):
            yield b"".join(b"user%d\n" % (n * 100 + m) for m in range(100))
            await asyncio.sleep(0.2)

    async with serving(tmp_path, database_url, body_timeout=1) as server:
        answer = await server.client().post("/users/import", content=slowly(), headers=HEADERS)

    assert results_in(answer)[1]["created"] == 1200


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_others_are_answered_while_an_import_runs(database_url: str, tmp_path: Path) -> None:
    write_people(tmp_path / "people.csv")
    content = await asyncio.to_thread((tmp_path / "people.csv").read_bytes)
    async with serving(tmp_path, database_url) as server:
        client, waits = server.client(timeout=60), []
        user = await client.post(
            "/users/", json={"username": "ada", "email": "ada@x.org", "password": "correct horse battery"}
        )
        importing = asyncio.create_task(client.post("/users/import", content=content, headers=HEADERS))
        while not importing.done():
            began = time.monotonic()
            answer = await client.get(user.headers["location"])
            waits.append(time.monotonic() - began)
            assert answer.status_code == 200
            await asyncio.sleep(0.01)
        results_in(await importing)

    waits.sort()
    assert len(waits) > 20
    assert waits[len(waits) * 95 // 100] < 0.25, f"p50 {waits[len(waits) // 2]:.3f}, worst {waits[-1]:.3f}"
