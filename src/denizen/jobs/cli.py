"""`denizen jobs list | show`."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final

import typer

from denizen.core.accounts import Accounts
from denizen.core.commands import Json, Output, command, open_accounts, progress
from denizen.core.ids import parse_id
from denizen.jobs import crud, service
from denizen.jobs.errors import JobNotFound
from denizen.jobs.models import Job
from denizen.jobs.schemas import JobRead

app = typer.Typer(help="Look at long work: imports.")

COLUMNS: Final = ("id", "kind", "state", "source", "progress", "rows", "created_at")
_LOOK_EVERY_SECONDS: Final = 0.5


@app.command("list")
@command
async def list_(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, the newest first.")] = 20,
    as_json: Json = False,
) -> None:
    """List jobs, the newest first. They are kept for a week.

    Example: denizen jobs list
    """
    async with open_accounts() as accounts:
        at = accounts.clock()
        async with accounts.database.read.session() as db:
            jobs = [service.show(job, at) for job in await crud.list_jobs(db, limit=limit)]
    Output(as_json).table(map(_facts, jobs), columns=COLUMNS, empty="No jobs. Imports are jobs: denizen users import")


@app.command()
@command
async def show(
    job: Annotated[str, typer.Argument(metavar="ID", help="Of the job: denizen jobs list.", show_default=False)],
    watch: Annotated[bool, typer.Option("--watch", help="Until it has ended.")] = False,
    as_json: Json = False,
) -> None:
    """Show how far a job is, who is at it, and what became of its rows.

    Example: denizen jobs show 019a5c1e-7f00-7a11-8b22-3c33d44e55f6 --watch
    """
    job_id = parse_id(job)
    if job_id is None:
        raise JobNotFound("There is no job of this id. Look it up: denizen jobs list")
    async with open_accounts() as accounts:
        found = await _get(accounts, job_id)
        if watch:
            found = await _watch(accounts, found, quiet=as_json)
        shown = service.show(found, accounts.clock())
    Output(as_json).row(_facts(shown) | {"runner": found.runner}, title="Job")


async def _get(accounts: Accounts, job_id: Any) -> Job:
    async with accounts.database.read.session() as db:
        return await crud.get_job(db, job_id)


async def _watch(accounts: Accounts, job: Job, *, quiet: bool) -> Job:
    """Show progress until the job has ended, or nobody is at it any more."""
    with progress(f"{job.kind}: {job.source}", total=job.bytes_total, quiet=quiet) as done:
        rows = 0
        while True:
            shown = service.show(job, accounts.clock())
            now = int(shown.counts.get("rows", 0))
            done(now - rows, at=job.bytes_done if job.bytes_total else None)
            rows = now
            if shown.state != "running":
                return job
            await asyncio.sleep(_LOOK_EVERY_SECONDS)
            job = await _get(accounts, job.id)


def _facts(job: JobRead) -> dict[str, Any]:
    """Give what there is to know of a job, with what is worked out from it."""
    rows = int(job.counts.get("rows", 0))
    seconds = ((job.finished_at or job.updated_at) - job.created_at).total_seconds()
    percent = min(100.0, 100 * job.bytes_done / job.bytes_total) if job.bytes_total else None
    return job.model_dump(mode="json") | {
        "rows": rows,
        "progress": "-" if percent is None else f"{percent:.0f} %",
        "rows_a_second": round(rows / seconds) if seconds > 0 else None,
    }
