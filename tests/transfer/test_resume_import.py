"""An import that is cut off is gone on with: nothing twice, nothing lost, and told as if nothing had happened."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from denizen.core.accounts import Accounts
from denizen.core.assembly import assemble
from denizen.core.hashers import NullHasher
from denizen.core.ids import new_id
from denizen.housekeeping import service as housekeeping
from denizen.jobs import crud
from denizen.jobs import service as jobs
from denizen.jobs.errors import JobRunning, JobTakenOver
from denizen.jobs.models import Job
from denizen.jobs.service import Held, Work
from denizen.settings import Settings
from denizen.transfer.adapters.formats import make_reader
from denizen.transfer.schemas import ImportOptions
from denizen.transfer.service import Import
from tests.cli.conftest import Command
from tests.conftest import SECRET, Clock
from tests.transfer.conftest import Stored, in_pieces

FACTS = "line,outcome,code,message"


def people(count: int, *, start: int = 0) -> bytes:
    """Every tenth row repeats one before."""
    rows = [f"user{n - 5 if n % 10 == 9 else n},user{n}@example.org\n" for n in range(start, count)]
    return ("username,email\n" + "".join(rows)).encode()


def importing(accounts: Accounts, data: bytes, **options: Any) -> Import:
    work = Work("import", "people.csv", {}, source_digest=b"d" * 32, bytes_total=len(data))
    return Import(
        accounts,
        in_pieces(data),
        make_reader("csv"),
        ImportOptions(**options),
        work=work,
        max_batch=options.pop("batch", 50),
    )


async def job_of(accounts: Accounts, held: Held | None) -> Job:
    assert held is not None
    return await jobs.find_job(accounts, held.job_id)


async def interrupted(accounts: Accounts, data: bytes, *, batches: int, **options: Any) -> Held:
    """Import some batches, and stop without a word, as a process does that is killed."""
    running = importing(accounts, data, **options)
    await running.begin()
    held = running.held
    assert held is not None
    results = running.results()
    for _ in range(batches):
        await anext(results)
    await results.aclose()
    await running.close()
    return held


# -- the engine -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["create", "skip", "upsert"])
@pytest.mark.parametrize("batches", [0, 1, 3, 8])
async def test_what_was_cut_off_ends_as_if_it_had_not_been(
    accounts: Accounts, stored: Stored, mode: str, batches: int
) -> None:
    data = people(400)
    held = await interrupted(accounts, data, batches=batches, mode=mode)
    done = len(await stored())
    assert (done > 0) == (batches > 0)
    assert done <= 360
    assert jobs.state_of(await job_of(accounts, held), accounts.clock()) == "interrupted"

    again = importing(accounts, data, mode=mode)
    await again.begin(await job_of(accounts, held))
    results = [result async for part in again.results() for result in part]

    assert [result.line for result in results] == list(range(2, 402))
    repeated = [result for result in results if (result.line - 2) % 10 == 9]
    assert {result.code for result in repeated} == {"username_taken"}
    assert all(result.message and f"in line {result.line - 5} of" in result.message for result in repeated)
    assert len(await stored()) == 360
    assert {str(user["id"]) for user in await stored()} == {result.id for result in results if result.id}
    job = await job_of(accounts, held)
    assert (job.state, job.position, job.bytes_done) == ("done", 401, len(data))
    assert json.loads(job.counts) == again.summary.counts()
    assert again.summary.rows == 400
    parts = [part async for part in jobs.read_results(accounts, job)]
    assert [json.loads(line) for line in b"".join(parts).splitlines()] == [result._asdict() for result in results]


async def test_who_lost_the_claim_writes_nothing_more(accounts: Accounts, stored: Stored) -> None:
    data = people(400)
    slow = importing(accounts, data)
    await slow.begin()
    results = slow.results()
    await anext(results)
    written = len(await stored())
    assert slow.held is not None
    async with accounts.writing() as db:  # as if it had given no sign of life for long
        await crud.update_held(db, slow.held.job_id, slow.held.claim, claimed_until=accounts.clock())

    other = importing(accounts, data)
    await other.begin(await job_of(accounts, slow.held))
    with pytest.raises(JobTakenOver):
        await anext(results)

    assert len(await stored()) == written
    assert (await job_of(accounts, slow.held)).state == "running"
    all_results = [result async for part in other.results() for result in part]
    assert len(all_results) == 400
    assert len(await stored()) == 360


async def test_of_two_that_go_on_at_once_one_does(accounts: Accounts, stored: Stored) -> None:
    data = people(200)
    job = await job_of(accounts, await interrupted(accounts, data, batches=1))
    one, other = importing(accounts, data), importing(accounts, data)

    await one.begin(job)
    with pytest.raises(JobRunning):
        await other.begin(job)
    with pytest.raises(JobRunning):
        await importing(accounts, data).begin(await job_of(accounts, one.held))

    assert len([result async for part in one.results() for result in part]) == 200
    assert len(await stored()) == 180


async def test_an_import_that_fails_says_why_and_can_be_gone_on_with(
    accounts: Accounts, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = iter(range(10))

    async def listen(db: Any, event: Any) -> None:
        if next(count) == 2:
            raise RuntimeError("no")

    monkeypatch.setattr(accounts, "listeners", (listen,))
    data = people(400)
    running = importing(accounts, data)
    await running.begin()
    with pytest.raises(RuntimeError):
        _ = [part async for part in running.results()]
    job = await job_of(accounts, running.held)
    assert job.state == "failed"
    assert json.loads(str(job.error))["code"] == "internal_error"

    again = importing(accounts, data)
    await again.begin(job)
    _ = [part async for part in again.results()]

    assert len(await stored()) == 360
    done = await job_of(accounts, again.held)
    assert (done.state, done.error) == ("done", None)


async def test_a_dry_run_is_no_job(accounts: Accounts) -> None:
    running = importing(accounts, people(10), dry_run=True)
    await running.begin()
    _ = [part async for part in running.results()]

    assert running.held is None
    async with accounts.database.read.session() as db:
        assert await crud.list_jobs(db, limit=10) == []


async def test_a_claim_outlives_its_lease_while_its_process_gives_signs(
    accounts: Accounts, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    import asyncio
    from datetime import timedelta

    running = importing(accounts, people(200))
    await running.begin()
    results = running.results()
    monkeypatch.setattr(jobs, "LEASE", timedelta(seconds=0.3))
    await anext(results)
    clock.turn(minutes=5)
    for _ in range(100):
        await asyncio.sleep(0.05)
        if jobs.state_of(await job_of(accounts, running.held), clock()) == "running":
            break
    else:
        raise AssertionError("no sign of life")
    await results.aclose()


async def test_old_jobs_are_forgotten(accounts: Accounts, clock: Clock) -> None:
    held = await interrupted(accounts, people(400), batches=3)
    clock.turn(days=6.9)
    await housekeeping.clean_all(accounts)
    await job_of(accounts, held)

    clock.turn(days=0.2)
    await housekeeping.clean_all(accounts)

    async with accounts.database.read.session() as db:
        assert await crud.list_jobs(db, limit=10) == []
        assert await crud.find_part(db, held.job_id, 0) is None


# -- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "people.csv"
    path.write_bytes(people(300))
    return str(path)


async def cut_off(url: str, file: str, *, runner: str | None = None, options: dict[str, Any] | None = None) -> None:
    """Leave what a killed `denizen users import` leaves after two batches."""
    import hashlib

    settings = Settings(_env_file=None, database_url=url, secret_key=SECRET)
    accounts = assemble(settings, (), hasher=NullHasher())
    data = Path(file).read_bytes()  # noqa: ASYNC240  (a test's own loop, in which nothing else is)
    described: dict[str, Any] = {
        "format": "csv",
        "mode": "create",
        "match": None,
        "map": {},
        "ignore_unknown": False,
        "with_hashes": True,
    }
    work = Work(
        "import",
        file,
        options or described,
        source_digest=jobs.source_digest(accounts, hashlib.sha256(data).digest()),
        bytes_total=len(data),
    )
    running = Import(accounts, in_pieces(data), make_reader("csv"), ImportOptions(), work=work, max_batch=50)
    await running.begin()
    results = running.results()
    await anext(results)
    await anext(results)
    await results.aclose()
    if runner is not None:
        async with accounts.writing() as db:
            at = accounts.clock()
            await db.execute(update(Job).values(runner=runner, claimed_until=at + jobs.LEASE))
    await accounts.close()


def run_async(work: Any) -> None:
    import asyncio

    asyncio.run(work)


def test_resume_goes_on_and_tells_the_whole(command: Command, database_url: str, file: str, tmp_path: Path) -> None:
    run_async(cut_off(database_url, file))
    hint = command("jobs", "list", "--json").rows[0]
    assert (hint["state"], hint["rows"]) == ("interrupted", 100)
    report = tmp_path / "report.csv"

    said = command("users", "import", file, "--resume", "--report", str(report))

    assert "Going on behind line 101." in said.err
    assert "300 rows: 270 created, 30 refused" in said.out
    assert said.code == 1
    lines = report.read_text().splitlines()
    assert len(lines) == 301
    assert lines[10] == '11,refused,,username_taken,username,"Username already registered, in line 6 of this file"'
    assert command("jobs", "list", "--json").rows[0]["state"] == "done"


def test_without_resume_there_is_a_hint(command: Command, database_url: str, file: str) -> None:
    run_async(cut_off(database_url, file))

    said = command("users", "import", file)

    assert "was cut off behind line 101" in said.err
    assert "--resume" in said.err
    assert "300 rows: 180 created, 120 refused" in said.out


def test_with_nothing_to_go_on_with_it_begins_at_the_beginning(command: Command, file: str) -> None:
    said = command("users", "import", file, "--resume")

    assert "begins at its beginning" in said.err
    assert "270 created" in said.out


def test_what_was_cut_off_before_a_whole_import_is_over_with(command: Command, database_url: str, file: str) -> None:
    """To go on with it would do its rows once more, over what has changed since."""
    run_async(cut_off(database_url, file))
    assert "rows:" in command("users", "import", file, "--mode", "skip").out

    said = command("users", "import", file, "--resume", "--mode", "skip")

    assert "begins at its beginning" in said.err


def test_other_options_are_refused(command: Command, database_url: str, file: str) -> None:
    run_async(cut_off(database_url, file))

    problem = command("users", "import", file, "--resume", "--mode", "upsert", "--json").problem

    assert problem["code"] == "job_options_differ"
    assert "match, mode" in problem["detail"]


def test_another_file_is_another_import(command: Command, database_url: str, file: str) -> None:
    run_async(cut_off(database_url, file))
    with Path(file).open("ab") as more:
        more.write(b"zoe,zoe@example.org\n")

    assert "begins at its beginning" in command("users", "import", file, "--resume").err


def test_a_dead_process_of_this_machine_is_not_waited_for(command: Command, database_url: str, file: str) -> None:
    dead = jobs.this_runner().rsplit(":", 2)[0] + ":1:1"  # a process of this number there is; it was started later
    run_async(cut_off(database_url, file, runner=dead))
    began = time.monotonic()

    assert "Going on behind line 101." in command("users", "import", file, "--resume").err
    assert time.monotonic() - began < 10


def test_a_live_process_is_left_to_it(command: Command, database_url: str, file: str) -> None:
    run_async(cut_off(database_url, file, runner=jobs.this_runner()))

    problem = command("users", "import", file, "--resume", "--json").problem

    assert problem["code"] == "job_running"
    assert command("jobs", "list", "--json").rows[0]["state"] == "running"


@pytest.mark.slow
def test_a_process_elsewhere_is_waited_for(
    command: Command, database_url: str, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datetime import timedelta

    monkeypatch.setattr(jobs, "LEASE", timedelta(seconds=2))
    run_async(cut_off(database_url, file, runner="elsewhere:7:9"))

    said = command("users", "import", file, "--resume")

    assert "Process 7 on elsewhere" in said.err
    assert "300 rows: 270 created" in said.out


def test_standard_input_cannot_be_gone_on_with(command: Command) -> None:
    said = command("users", "import", "-", "--resume", stdin="username\nada\n")

    assert said.code == 2
    assert "cannot be gone on with" in " ".join(said.err.replace("│", " ").split())


def test_jobs_are_shown(command: Command, file: str) -> None:
    command("users", "import", file)
    (listed,) = command("jobs", "list", "--json").rows
    shown = command("jobs", "show", listed["id"], "--watch", "--json").row

    assert shown["state"] == "done"
    assert shown["progress"] == "100 %"
    assert (shown["counts"]["created"], shown["counts"]["codes"]) == (270, {"username_taken": 30})
    assert "people.csv" in command("jobs", "list").out
    assert command("jobs", "show", str(new_id()), "--json").problem["code"] == "job_not_found"
    assert command("jobs", "show", "1", "--json").problem["code"] == "job_not_found"
