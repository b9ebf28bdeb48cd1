"""Every SQL statement about long work.

Whoever is at a job holds its claim. Each statement that moves the job on names the claim, and hits nothing once another
process has taken over.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from denizen.jobs.errors import JobNotFound
from denizen.jobs.models import Job, JobPart


async def create_job(db: AsyncSession, job: Job) -> Job:
    """Store a new job.

    Raises:
        IntegrityError: there is one of this `key_digest`.
    """
    db.add(job)
    await db.flush()
    return job


async def get_job(db: AsyncSession, job_id: UUID) -> Job:
    """Return the job `job_id`.

    Raises:
        JobNotFound: there is none.
    """
    job = (await db.scalars(select(Job).where(Job.id == job_id))).one_or_none()
    if job is None:
        raise JobNotFound("Job not found")
    return job


async def find_job_by_key(db: AsyncSession, key_digest: bytes) -> Job | None:
    """Return the job that was asked for under an Idempotency-Key."""
    return (await db.scalars(select(Job).where(Job.key_digest == key_digest))).one_or_none()


async def find_unfinished(db: AsyncSession, kind: str, source_digest: bytes) -> Job | None:
    """Return the operator's last job over this source, unless it is done.

    One that was cut off before that is over with: whoever went on with it would do its rows once more over what has
    changed since.
    """
    query = (
        select(Job)
        .where(Job.kind == kind, Job.source_digest == source_digest, Job.caller_id.is_(None))
        .order_by(Job.id.desc())
        .limit(1)
    )
    last = (await db.scalars(query)).one_or_none()
    return None if last is None or last.state == "done" else last


async def list_jobs(db: AsyncSession, *, limit: int, before: UUID | None = None) -> Sequence[Job]:
    """Return jobs, the newest first.

    Args:
        db: any session; nothing is written.
        limit: how many at most.
        before: the id of the last one seen.
    """
    query = select(Job).order_by(Job.id.desc()).limit(limit)
    return (await db.scalars(query if before is None else query.where(Job.id < before))).all()


async def update_held(db: AsyncSession, job_id: UUID, claim: UUID, **values: Any) -> bool:
    """Set `values` if `claim` still holds the job; tell whether it does."""
    change = update(Job).where(Job.id == job_id, Job.claim == claim).values(**values).returning(Job.id)
    return (await db.execute(change.execution_options(synchronize_session=False))).one_or_none() is not None


async def take_over(db: AsyncSession, job: Job, **values: Any) -> tuple[int, int] | None:
    """Set `values`, a new claim among them, if nobody was faster and the job is not done.

    Returns:
        Its position and how many parts it has, as they are now; `None` where somebody was.
    """
    change = (
        update(Job)
        .where(Job.id == job.id, Job.claim == job.claim, Job.claimed_until == job.claimed_until, Job.state != "done")
        .values(**values)
        .returning(Job.position, Job.parts)
    )
    found = (await db.execute(change.execution_options(synchronize_session=False))).one_or_none()
    return None if found is None else (found.position, found.parts)


# --- Parts --------------------------------------------------------------------------------------------


async def create_part(db: AsyncSession, job_id: UUID, number: int, results: bytes) -> None:
    """Store what became of the rows of one batch."""
    await db.execute(insert(JobPart).values(job_id=job_id, number=number, results=results))


async def find_part(db: AsyncSession, job_id: UUID, number: int) -> bytes | None:
    """Return what became of the rows of one batch, compressed."""
    query = select(JobPart.results).where(JobPart.job_id == job_id, JobPart.number == number)
    return (await db.execute(query)).scalar_one_or_none()


def _forgotten(until: datetime) -> tuple[ColumnElement[bool], ...]:
    """Nothing was done since, and nobody gave a sign that he is at it."""
    return Job.updated_at <= until, Job.claimed_until <= until


async def delete_forgotten(db: AsyncSession, *, until: datetime) -> bool:
    """Delete one job that nothing has happened to since `until`, with its results; tell whether there was one.

    By one statement, so that who goes on with a job finds all of its results or no job.
    """
    oldest = select(Job.id).where(*_forgotten(until)).order_by(Job.updated_at, Job.id).limit(1).scalar_subquery()
    gone = delete(Job).where(Job.id == oldest, *_forgotten(until)).returning(Job.id)
    return (await db.execute(gone.execution_options(synchronize_session=False))).one_or_none() is not None
