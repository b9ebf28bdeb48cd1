"""Looking at long work: who may, what is told, and how a process that died is told from one that works."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from httpx import AsyncClient

from denizen.core.accounts import Accounts
from denizen.core.auth import Scope
from denizen.jobs import service
from denizen.jobs.errors import JobRunning
from denizen.jobs.service import Work, is_gone, this_runner
from tests.conftest import Clock, MakeKey

CSV = {"Content-Type": "text/csv"}
GOOD = "username,email\nada,ada@example.org\ngrace,grace@example.org\n"


async def test_jobs_are_listed_the_newest_first(admin: AsyncClient) -> None:
    made = []
    for n in range(5):
        answer = await admin.post("/users/import", content=f"username\nuser{n}\n", headers=CSV)
        made.append(answer.headers["location"].rpartition("/")[2])

    seen, address = [], "/jobs/?limit=2"
    while address:
        page = await admin.get(address)
        seen += [job["id"] for job in page.json()]
        address = page.links.get("next", {}).get("url", "")

    assert seen == made[::-1]
    assert (await admin.get("/jobs/?cursor=nonsense")).json()["code"] == "cursor_invalid"


async def test_a_job_is_its_callers_or_those_who_import(client: AsyncClient, make_key: MakeKey) -> None:
    importer = await make_key(Scope.USERS_IMPORT)
    other = await make_key(Scope.USERS_IMPORT)
    reader = await make_key(Scope.USERS_READ)
    made = await client.post("/users/import", content=GOOD, headers=CSV | importer)
    path = made.headers["location"]

    for suffix in ("", "/results"):
        assert (await client.get(path + suffix, headers=importer)).status_code == 200
        assert (await client.get(path + suffix, headers=other)).status_code == 200
        for stranger in (
            await client.get(path + suffix, headers=reader),
            await client.get("/jobs/019a5c1e-7f00-7a11-8b22-3c33d44e55f6" + suffix, headers=importer),
            await client.get("/jobs/1" + suffix, headers=importer),
        ):
            assert (stranger.status_code, stranger.json()["code"]) == (404, "job_not_found")
        assert (await client.get(path + suffix)).status_code == 401
    assert (await client.get("/jobs/", headers=reader)).status_code == 403


# -- who is at it -----------------------------------------------------------------------------------------------------


async def test_a_job_is_interrupted_once_its_claim_is_over(accounts: Accounts, clock: Clock) -> None:
    held = await service.begin(accounts, Work("import", "people.csv", {}))
    job = await service.find_job(accounts, held.job_id)

    assert service.state_of(job, clock()) == "running"
    with pytest.raises(JobRunning):
        await service.take_over(accounts, job)
    clock.turn(seconds=service.LEASE.total_seconds())
    assert service.state_of(job, clock()) == "interrupted"
    again = await service.take_over(accounts, job)
    assert again.claim != held.claim


async def test_it_is_interrupted_at_once_where_its_process_is_gone(accounts: Accounts, clock: Clock) -> None:
    held = await service.begin(accounts, Work("import", "people.csv", {}))
    job = await service.find_job(accounts, held.job_id)
    host = this_runner().rsplit(":", 2)[0]

    job.runner = f"{host}:999999999:1"
    assert service.state_of(job, clock()) == "interrupted"
    job.runner = "elsewhere:999999999:1"
    assert service.state_of(job, clock()) == "running"
    assert service.state_of(job, clock() + timedelta(seconds=31)) == "interrupted"


async def test_a_claim_of_a_clock_that_was_ahead_is_over(accounts: Accounts, clock: Clock) -> None:
    clock.turn(days=1)
    held = await service.begin(accounts, Work("import", "people.csv", {}))
    clock.turn(days=-1)

    job = await service.find_job(accounts, held.job_id)

    assert service.state_of(job, clock()) == "interrupted"
    assert (await service.take_over(accounts, job)).claim != held.claim


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only Linux tells when a process was started")
def test_a_process_that_ended_is_gone_before_anybody_has_asked_how() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        host = this_runner().rsplit(":", 2)[0]
        started = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19]
        runner = f"{host}:{process.pid}:{started}"
        assert not is_gone(runner)
        assert is_gone(f"{host}:{process.pid}:{int(started) + 1}")  # the number is another's by now

        process.kill()
        while Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
            pass
        assert is_gone(runner)


def test_this_process_is_not_gone() -> None:
    assert not is_gone(this_runner())
