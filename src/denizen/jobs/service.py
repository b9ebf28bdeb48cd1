"""Acts on long work: beginning it, holding on to it, going on with it, telling of it (ADR 0019).

Who works on a job holds its claim, a new id for each attempt. Every batch moves the job on in its own transaction, by a
statement that names the claim: where another process has taken over it hits nothing, and the batch is undone. So the
lease decides only when somebody *may* take over, and never whether a row is written twice.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import zlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.accounts import Accounts
from denizen.core.errors import DenizenError, Unavailable
from denizen.core.ids import new_id
from denizen.core.paging import CursorSigner
from denizen.jobs import crud
from denizen.jobs.errors import JobNotFound, JobOptionsDiffer, JobRunning, JobTakenOver
from denizen.jobs.models import Job
from denizen.jobs.schemas import JobQuery, JobRead, State

LEASE: Final = timedelta(seconds=30)
"""How long a claim holds without a sign of life; one comes three times as often, and with every batch."""

KEPT: Final = timedelta(days=7)
_LISTING: Final = "jobs order=-id"


@dataclass(frozen=True, slots=True)
class Work:
    """What a new job is to do; see `Job`."""

    kind: str
    source: str
    options: Mapping[str, Any]
    source_digest: bytes | None = None
    bytes_total: int | None = None
    caller_id: UUID | None = None
    key_digest: bytes | None = None


@dataclass(slots=True)
class Held:
    """A job that this process works on.

    Attributes:
        claim: this attempt's.
        position: the line behind which it goes on.
        parts: how many there are, of earlier attempts too.
    """

    job_id: UUID
    claim: UUID
    position: int = 0
    parts: int = 0


# --- Who is at it --------------------------------------------------------------------------------------


def this_runner() -> str:
    """Name this process: its host, its number, and when it was started, since numbers are used again."""
    return f"{socket.gethostname()[:200]}:{os.getpid()}:{_started(os.getpid()) or ''}"


def _started(pid: int) -> str | None:
    """Give when a process was started, in the system's ticks; `None` for one that is gone, or where nobody tells.

    Source: proc(5), fields 3 and 22 of /proc/PID/stat.
    """
    try:
        state, *others = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return None
    return None if state in {"Z", "X"} else others[18]


def is_gone(runner: str) -> bool:
    """Tell whether a process was one of this host and is no more. Of other hosts nothing is known."""
    host, pid, started = runner.rsplit(":", 2)
    if host != socket.gethostname()[:200]:
        return False
    if Path("/proc/self/stat").exists():
        return _started(int(pid)) != started
    try:
        if os.name == "posix":  # elsewhere this would be no question
            os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass
    return False


def state_of(job: Job, at: datetime) -> State:
    """Say how a job stands."""
    # A claim longer than any was made by a clock that was ahead, and would hardly ever be over.
    is_over = not at < job.claimed_until <= at + 2 * LEASE
    if job.state == "running" and (is_over or is_gone(job.runner)):
        return "interrupted"
    state: State = job.state  # type: ignore[assignment]  # a `str` to the table
    return state


def source_digest(accounts: Accounts, sha256: bytes) -> bytes:
    """Give what a source is known by: keyed, since there are passwords in some, and a plain hash of a short file would
    be tried out far faster than theirs.
    """
    return accounts.secret.digest("job source 1", sha256)


async def find_job(accounts: Accounts, job_id: UUID) -> Job:
    """Return a job as it is now.

    Raises:
        JobNotFound: there is none.
    """
    async with accounts.database.read.session() as db:
        return await crud.get_job(db, job_id)


async def find_job_by_key(accounts: Accounts, key_digest: bytes) -> Job | None:
    """Return the job that was asked for under an Idempotency-Key."""
    async with accounts.database.read.session() as db:
        return await crud.find_job_by_key(db, key_digest)


async def find_unfinished(accounts: Accounts, work: Work) -> Job | None:
    """Return the operator's last job over the same source, unless it is done."""
    if work.source_digest is None:
        return None
    async with accounts.database.read.session() as db:
        return await crud.find_unfinished(db, work.kind, work.source_digest)


def differing(job: Job, work: Work) -> list[str]:
    """Give the names of the options that a job was begun otherwise with."""
    before = json.loads(job.options)
    return sorted(name for name in before.keys() | work.options.keys() if before.get(name) != work.options.get(name))


def require_same_options(job: Job, work: Work) -> None:
    """Refuse to go on with a job otherwise than it was begun.

    Raises:
        JobOptionsDiffer: with the names of what differs.
    """
    names = differing(job, work)
    if names:
        raise JobOptionsDiffer(
            f"It was begun with another {', '.join(names)}. Go on with the same options, or begin anew."
        )


# --- Working -------------------------------------------------------------------------------------------


async def begin(accounts: Accounts, work: Work) -> Held:
    """Store a new job, held by this process.

    Raises:
        JobRunning: another one of its `key_digest` was begun at the same time.
    """
    at = accounts.clock()
    job = Job(
        kind=work.kind,
        state="running",
        source=work.source[:1024],
        options=json.dumps(work.options),
        counts="{}",
        runner=this_runner(),
        claim=new_id(),
        claimed_until=at + LEASE,
        created_at=at,
        updated_at=at,
        caller_id=work.caller_id,
        key_digest=work.key_digest,
        source_digest=work.source_digest,
        bytes_total=work.bytes_total,
    )
    held = Held(job.id, job.claim)
    async with accounts.writing() as db:
        try:
            await crud.create_job(db, job)
        except IntegrityError:
            raise JobRunning("Another request has just begun this job.") from None
    return held


async def take_over(accounts: Accounts, job: Job) -> Held:
    """Go on with a job that nobody is at.

    Raises:
        JobRunning: somebody is, or was faster.
    """
    at = accounts.clock()
    if state_of(job, at) == "running":
        host, pid, _ = job.runner.rsplit(":", 2)
        raise JobRunning(
            "Another process works on this job.",
            private=f"Process {pid} on {host} works on this. Wait until it is done.",
        )
    claim = new_id()
    async with accounts.writing() as db:
        values = {"state": "running", "claim": claim, "claimed_until": at + LEASE, "runner": this_runner()}
        found = await crud.take_over(db, job, **values, error=None, finished_at=None, updated_at=at)
        if found is None:
            raise JobRunning("Another process was faster and goes on with this job.")
    return Held(job.id, claim, *found)


async def advance(
    db: AsyncSession, held: Held, *, at: datetime, position: int, bytes_done: int, counts: str, results: bytes
) -> None:
    """Move a job on by one batch, in the transaction of the batch.

    Args:
        db: the session in which the batch is written.
        held: the job; whoever commits counts its `parts` on afterwards.
        at: now.
        position: the last line of the batch.
        bytes_done: so many bytes have been read.
        counts: of all batches, this one included.
        results: as `packed` gives them.

    Raises:
        JobTakenOver: the claim is another's; the batch must not be committed.
    """
    values = {"position": position, "bytes_done": bytes_done, "counts": counts, "parts": held.parts + 1}
    if not await crud.update_held(db, held.job_id, held.claim, **values, updated_at=at, claimed_until=at + LEASE):
        raise JobTakenOver("Another process has taken over this job. What it had done is kept, and it goes on there.")
    await crud.create_part(db, held.job_id, held.parts, results)


async def give_signs(accounts: Accounts, held: Held) -> None:
    """Prolong a claim again and again, until cancelled: however long the work waits, for its source or for whoever
    takes its results.
    """
    while True:
        await asyncio.sleep(LEASE.total_seconds() / 3)
        with suppress(Unavailable):
            async with accounts.writing() as db:
                await crud.update_held(db, held.job_id, held.claim, claimed_until=accounts.clock() + LEASE)


async def finish(accounts: Accounts, held: Held) -> None:
    """Note that a job is done.

    Raises:
        JobTakenOver: the claim is another's.
    """
    at = accounts.clock()
    async with accounts.writing() as db:
        values = {"state": "done", "finished_at": at, "updated_at": at, "claimed_until": at}
        if not await crud.update_held(db, held.job_id, held.claim, **values):
            raise JobTakenOver("Another process has taken over this job, and goes on with it.")


async def fail(accounts: Accounts, held: Held, error: BaseException) -> None:
    """Note why a job ended, where the database can still be written to. It can be gone on with."""
    told = {"code": "internal_error", "detail": "Something went wrong here. The logs tell more."}
    if isinstance(error, DenizenError):
        told = {"code": error.code, "detail": error.detail}
    at = accounts.clock()
    values = {"state": "failed", "error": json.dumps(told), "finished_at": at, "updated_at": at, "claimed_until": at}
    await _settle(accounts, held, values)


async def let_go(accounts: Accounts, held: Held) -> None:
    """End the claim of a job that was stopped: another process may go on with it at once."""
    await _settle(accounts, held, {"claimed_until": accounts.clock()})


async def _settle(accounts: Accounts, held: Held, values: Mapping[str, Any]) -> None:
    with suppress(Unavailable):
        async with accounts.writing() as db:
            await crud.update_held(db, held.job_id, held.claim, **values)


# --- Results -------------------------------------------------------------------------------------------


def packed(results: str) -> bytes:
    """Compress NDJSON. Level 1: the ids in it cannot be made smaller by any."""
    return zlib.compress(results.encode(), 1)


async def read_part(accounts: Accounts, job_id: UUID, number: int) -> bytes:
    """Give the results of one batch, as NDJSON.

    Raises:
        JobNotFound: it has been removed meanwhile.
    """
    async with accounts.database.read.slow() as db:
        found = await crud.find_part(db, job_id, number)
    if found is None:
        raise JobNotFound("The results of this job have been removed.")
    return await asyncio.to_thread(zlib.decompress, found)


async def read_results(accounts: Accounts, job: Job) -> AsyncGenerator[bytes]:
    """Give all results that there were when `job` was read, as NDJSON, batch by batch."""
    for number in range(job.parts):
        yield await read_part(accounts, job.id, number)


# --- Telling -------------------------------------------------------------------------------------------


def show(job: Job, at: datetime) -> JobRead:
    """Give what is shown of a job."""
    return JobRead(
        state=state_of(job, at),
        options=json.loads(job.options),
        counts=json.loads(job.counts),
        error=None if job.error is None else json.loads(job.error),
        **{name: getattr(job, name) for name in _AS_STORED},
    )


_AS_STORED: Final = tuple(JobRead.model_fields.keys() - {"state", "options", "counts", "error"})


@dataclass(frozen=True, slots=True)
class Page:
    """A part of the list of jobs; `next_cursor` is `None` at its end."""

    jobs: list[JobRead]
    next_cursor: str | None


async def list_jobs(db: AsyncSession, cursors: CursorSigner, query: JobQuery, *, at: datetime) -> Page:
    """Serve a page of the list of jobs, the newest first.

    Raises:
        CursorInvalid: the cursor is not one of this list.
    """
    before = None if query.cursor is None else UUID(cursors.read(_LISTING, query.cursor)[0])
    found = await crud.list_jobs(db, limit=query.limit + 1, before=before)
    shown = [show(job, at) for job in found[: query.limit]]
    more = len(found) > query.limit
    return Page(shown, cursors.make(_LISTING, [str(shown[-1].id)]) if more else None)


async def forget_one(accounts: Accounts, db: AsyncSession, at: datetime, limit: int) -> int:
    """Remove one job that nothing has happened to for a week, with its results, of which it may have thousands; tell
    whether there was one. Housekeeping calls this.
    """
    return int(await crud.delete_forgotten(db, until=at - KEPT))


async def forget_old(accounts: Accounts) -> None:
    """Remove all such jobs, in short transactions."""
    more = 1
    while more:
        async with accounts.writing() as db:
            more = await forget_one(accounts, db, accounts.clock(), 1)
