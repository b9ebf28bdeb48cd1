"""The jobs of an install, which run beside requests."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import weakref
from collections.abc import Sequence

from denizen.core import logs
from denizen.core.accounts import Accounts
from denizen.core.database import Backend
from denizen.core.feature import Job
from denizen.core.origin import Origin, coming_from

log = logs.logger(__name__)


class Jobs:
    """The jobs of an install. They run from when its database is opened, by a lifespan or by the first use, until
    `Accounts.close`.

    They hold the install weakly: a host that drops one without a word gets no task that keeps it alive.
    """

    def __init__(self, accounts: Accounts, jobs: Sequence[Job]) -> None:
        self._accounts = weakref.ref(accounts)
        self._jobs = jobs
        self._running: list[asyncio.Task[None]] = []

    async def start(self, _: Backend) -> None:
        """Begin, unless they run already: the database alone may have been closed and opened again."""
        if self._here():
            return
        # In a context of their own: what the first request put into its log lines is not theirs.
        self._running = [
            asyncio.create_task(
                _repeat(job, self._accounts, self._bell(job)), name=job.name, context=contextvars.Context()
            )
            for job in self._jobs
        ]

    async def stop(self) -> None:
        """End them, and run once more those that want it. Nothing to do where nothing was opened."""
        running, self._running = self._here(), []
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        accounts = self._accounts()
        if running and accounts is not None:
            for job in reversed(self._jobs):
                if job.last:
                    await _run_once(accounts, job)

    def _bell(self, job: Job) -> asyncio.Event:
        """Give what `Accounts.wake` rings: a new one each time, since it belongs to the loop that waits for it."""
        bell, accounts = asyncio.Event(), self._accounts()
        if accounts is not None:
            accounts.wakers[job.name] = bell.set
        return bell

    def _here(self) -> list[asyncio.Task[None]]:
        """Give those of this event loop: tasks end with their loop, and cannot be cancelled from another."""
        loop = asyncio.get_running_loop()
        return [task for task in self._running if task.get_loop() is loop and not task.done()]


async def _repeat(job: Job, install: weakref.ref[Accounts], bell: asyncio.Event) -> None:
    while True:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(job.every):
                await bell.wait()
        bell.clear()
        accounts = install()
        if accounts is None:
            return
        await _run_once(accounts, job)
        del accounts  # not held while it sleeps


async def _run_once(accounts: Accounts, job: Job) -> None:
    try:
        with coming_from(Origin("job")):
            await job.run(accounts)
    except Exception as error:  # noqa: BLE001  (whatever a job raises, the server goes on and the job comes again)
        logs.report(log, "job_failed", error, job=job.name)
