"""Without a lifespan the first use opens an install: it checks the schema and starts what runs beside requests."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Sequence
from datetime import datetime

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient
from sqlalchemy import select

from denizen import Accounts, Settings, install
from denizen.app import create_app
from denizen.core.assembly import assemble
from denizen.core.database import Database
from denizen.core.deps import installs_of
from denizen.core.feature import Feature, Job
from denizen.core.hashers import NullHasher
from denizen.features import FEATURES
from denizen.keys.models import Key
from denizen.migrations import runner
from tests.conftest import Clock
from tests.hosts.conftest import issue, reach

EVERY = 0.01


class Ground:
    """Counts the runs of a job, and says when there were more."""

    def __init__(self, *, fails: int = 0) -> None:
        self._fails = fails
        self.runs = 0
        self.last = 0
        self._ran = asyncio.Event()

    def features(self, *, every: float = EVERY) -> Sequence[Feature]:
        """All rooms, and one with two jobs."""
        jobs = (
            Job("count", every=every, run=self._count),
            Job("count at the end", every=3600, run=self._end, last=True),
        )
        return (*FEATURES, Feature("ground", jobs=jobs))

    async def _count(self, accounts: Accounts) -> None:
        self.runs += 1
        self._ran.set()
        if self.runs <= self._fails:
            raise RuntimeError("the next run comes all the same")

    async def _end(self, accounts: Accounts) -> None:
        assert accounts.database.opened is not None
        self.last += 1

    async def more(self, *, than: int = 0) -> None:
        """Wait for more runs."""
        async with asyncio.timeout(30):
            while self.runs <= than:
                self._ran.clear()
                await self._ran.wait()


def tasks_of_jobs() -> set[str]:
    """The names of the jobs that run in this event loop."""
    jobs = {job.name for feature in Ground().features() for job in feature.jobs}
    return {task.get_name() for task in asyncio.all_tasks()} & jobs


async def test_jobs_begin_with_the_first_use_and_end_with_the_install(host: FastAPI, settings: Settings) -> None:
    ground = Ground(fails=1)
    accounts = install(host, settings=settings, features=ground.features(), hasher=NullHasher())
    assert tasks_of_jobs() == set()

    async with AsyncClient(transport=ASGITransport(host), base_url="http://host") as client:
        answer = await client.get("/keys/current")
        assert answer.status_code == 401
        assert tasks_of_jobs() == set()  # nobody has tried anything: nothing was opened
        await client.get("/keys/current", headers=await issue(accounts))
    await ground.more(than=1)
    await accounts.close()

    assert tasks_of_jobs() == set()
    assert ground.last == 1


async def test_last_uses_are_written_when_an_install_is_closed(host: FastAPI, settings: Settings, clock: Clock) -> None:
    accounts = install(host, settings=settings, hasher=NullHasher(), clock=clock)
    headers = await issue(accounts)
    async with reach(host) as client:
        assert (await client.get("/keys/current", headers=headers)).json()["last_used_at"] is None

    assert await last_use(settings) == clock.at


async def last_use(settings: Settings) -> datetime | None:
    """What stands in the database, read past the install."""
    database = Database(settings.database_url)
    async with database.read.session() as db:
        found: datetime | None = await db.scalar(select(Key.last_used_at))
    await database.close()
    return found


async def test_closing_what_was_never_used_opens_nothing(host: FastAPI, settings: Settings) -> None:
    ground = Ground()
    accounts = install(host, settings=settings, features=ground.features(), hasher=NullHasher())

    await accounts.close()
    await accounts.close()

    assert accounts.database.opened is None
    assert (ground.runs, ground.last) == (0, 0)


async def test_an_install_that_is_used_again_after_its_end_begins_again(host: FastAPI, settings: Settings) -> None:
    ground = Ground()
    accounts = install(host, settings=settings, features=ground.features(), hasher=NullHasher())
    for number in range(1, 3):
        ran = ground.runs
        await issue(accounts)
        await ground.more(than=ran)
        await accounts.close()
        assert ground.last == number


async def test_jobs_run_once_each_where_there_is_a_lifespan(host: FastAPI, settings: Settings) -> None:
    ground = Ground()
    accounts = install(host, settings=settings, features=ground.features(), hasher=NullHasher())
    names = [job.name for feature in ground.features() for job in feature.jobs]

    async with host.router.lifespan_context(host):
        await issue(accounts)
        running = [task.get_name() for task in asyncio.all_tasks() if task.get_name() in names]
        await ground.more()

    assert sorted(running) == sorted(names)
    assert tasks_of_jobs() == set()
    assert ground.last == 1


async def test_many_first_uses_at_once_begin_jobs_once(host: FastAPI, settings: Settings) -> None:
    accounts = install(host, settings=settings, features=Ground().features(every=3600), hasher=NullHasher())

    await asyncio.gather(*(accounts.database.ping() for _ in range(20)))

    running = [task.get_name() for task in asyncio.all_tasks()]
    await accounts.close()
    assert running.count("count") == 1


async def test_a_command_runs_no_jobs(settings: Settings) -> None:
    ground = Ground()
    accounts = assemble(settings, ground.features())

    await accounts.database.ping()
    await asyncio.sleep(5 * EVERY)
    running = tasks_of_jobs()
    await accounts.close()

    assert running == set()
    assert (ground.runs, ground.last) == (0, 0)


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_jobs_do_not_keep_an_install_alive(settings: Settings) -> None:
    """A host that drops an application without a word, as test suites do, is left with no task of it."""
    ground = Ground()
    app = FastAPI()
    install(app, settings=settings, features=ground.features(), hasher=NullHasher())
    dropped = weakref.ref(installs_of(app)[0])
    await installs_of(app)[0].database.ping()
    await ground.more()
    database = installs_of(app)[0].database

    del app
    async with asyncio.timeout(30):
        while dropped() is not None or "count" in tasks_of_jobs():
            gc.collect()
            await asyncio.sleep(EVERY)
    await database.close()


# --- The schema ----------------------------------------------------------------------------------------


@pytest.fixture
async def unready(host: FastAPI, settings: Settings) -> AsyncIterator[AsyncClient]:
    """A client of a host whose database has no schema."""
    runner.downgrade(settings.database_url, "base")
    install(host, settings=settings, features=Ground().features(), hasher=NullHasher())
    async with reach(host) as client:
        yield client


async def test_a_schema_that_is_not_there_is_told_at_first_use_and_can_be_mended(
    unready: AsyncClient, host: FastAPI, settings: Settings
) -> None:
    ada = {"username": "ada", "email": "ada@example.org", "password": "correct horse battery"}

    refused = await asyncio.gather(*(unready.post("/users/", json=ada) for _ in range(5)))
    begun, opened = tasks_of_jobs(), installs_of(host)[0].database.opened
    runner.upgrade(settings.database_url)
    made = await unready.post("/users/", json=ada)

    for answer in refused:
        assert (answer.status_code, answer.json()["code"]) == (503, "schema_not_ready")
        assert "Make them with `denizen migrate up`." in answer.json()["detail"]
        assert answer.headers["retry-after"] == "1"
    assert (begun, opened) == (set(), None)
    assert made.status_code == 201


async def test_readiness_says_that_the_schema_is_at_fault(settings: Settings) -> None:
    runner.downgrade(settings.database_url, "base")
    app = create_app(settings, hasher=NullHasher())

    async with reach(app) as client:
        answer = await client.get("/readyz")

    assert answer.status_code == 503
    assert answer.json()["checks"] == [
        {"name": "database", "ok": True, "detail": ""},
        {"name": "schema", "ok": False, "detail": "not ready: see `denizen migrate status`"},
    ]


async def test_opening_costs_a_request_nothing_later(host: FastAPI, settings: Settings) -> None:
    accounts = install(host, settings=settings, hasher=NullHasher())
    headers = await issue(accounts)
    ran: list[str] = []
    accounts.database.observers.append(ran.append)

    async with reach(host) as client:
        await client.get("/keys/current", headers=headers)
        statements = list(ran)

    assert len(statements) == 2  # who calls, and the key
