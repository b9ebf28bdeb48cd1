"""Long work over HTTP: looking at it. It is begun by the routes of whatever it does."""

from typing import Annotated

from fastapi import Path, Query, Request, Response

from denizen.core.auth import AUTH, Scope
from denizen.core.deps import CanImportUsers, CurrentCaller, Here, Now, ReadDb
from denizen.core.errors import RepeatedParameter
from denizen.core.ids import parse_id
from denizen.core.paging import NEXT_PAGE, CursorInvalid, next_page
from denizen.core.problems import ANY, responses
from denizen.core.routing import Router, Stream
from denizen.jobs import crud, service
from denizen.jobs.deps import LINES, NDJSON, NdjsonResponse
from denizen.jobs.errors import JobNotFound
from denizen.jobs.models import Job
from denizen.jobs.schemas import JobQuery, JobRead

router = Router(tags=["jobs"])

JobId = Annotated[str, Path(description="A UUIDv7.")]


@router.get(
    "/jobs/",
    response_model=list[JobRead],
    operation_id="list_jobs",
    summary="List jobs",
    responses={200: {"headers": NEXT_PAGE}, **responses(*AUTH, *ANY, RepeatedParameter, CursorInvalid)},
)
async def list_jobs(
    request: Request,
    response: Response,
    accounts: Here,
    caller: CanImportUsers,
    db: ReadDb,
    at: Now,
    query: Annotated[JobQuery, Query()],
) -> list[JobRead]:
    """Page through all jobs, the newest first. They are kept for a week."""
    page = await service.list_jobs(db, accounts.cursors, query, at=at)
    address = accounts.public_url("/jobs/")
    response.headers.update(next_page(address, request.query_params.multi_items(), page.next_cursor))
    return page.jobs


@router.get(
    "/jobs/{job_id}",
    response_model=JobRead,
    operation_id="get_job",
    summary="Read a job",
    responses=responses(*AUTH, JobNotFound, *ANY),
)
async def get_job(caller: CurrentCaller, db: ReadDb, at: Now, job_id: JobId) -> JobRead:
    """Tell how far a job is. Your own needs no scope, others' need `users:import`."""
    return service.show(await _visible(db, caller, job_id), at)


@router.get(
    "/jobs/{job_id}/results",
    response_class=NdjsonResponse,
    operation_id="list_job_results",
    summary="Read the results of a job",
    responses={200: LINES, **responses(*AUTH, JobNotFound, *ANY)},
)
async def list_job_results(accounts: Here, caller: CurrentCaller, db: ReadDb, job_id: JobId) -> Response:
    """Give what became of every row so far."""
    job = await _visible(db, caller, job_id)
    return await Stream.of(service.read_results(accounts, job), headers={"Content-Type": NDJSON})


async def _visible(db: ReadDb, caller: CurrentCaller, job_id: str) -> Job:
    """Return a job that the caller may know of.

    Raises:
        JobNotFound: there is none, or it is another's.
    """
    found = parse_id(job_id)
    if found is None:
        raise JobNotFound("Job not found")
    job = await crud.get_job(db, found)
    if job.caller_id != caller.id and not caller.may(Scope.USERS_IMPORT):
        raise JobNotFound("Job not found") from caller.lacks(Scope.USERS_IMPORT)
    return job
