"""`/healthz`: does the process turn? `/readyz`: can it serve? For load balancers, containers and people."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Literal

from fastapi import Request, Response
from pydantic import BaseModel, Field

from denizen.core.logs import logger
from denizen.core.routing import Router

log = logger(__name__)

PATIENCE: Final = 2.0
"""Seconds that all checks together may take."""


class CheckResult(BaseModel):
    """What one check found. Anybody may read it: no addresses, no versions of what is behind, no secrets."""

    name: str = Field(description="What was checked.", examples=["database"])
    ok: bool
    detail: str = Field(default="", description="What is wrong, in a few words that anybody may read.")


class Health(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """Whether requests can be served now."""

    status: Literal["ready", "not ready"]
    checks: list[CheckResult]


Check = Callable[[], Awaitable[Sequence[CheckResult]]]


class _Readiness:
    """Runs the checks, one run at a time: who asks meanwhile gets the same result.

    A run that hangs is answered for after `patience` and left alone: a driver may not notice that it is cancelled
    (psycopg does not while PostgreSQL is frozen), and a second run would hang behind it.
    """

    def __init__(self, check: Check, patience: float) -> None:
        self._check = check
        self._patience = patience
        self._run: asyncio.Future[Sequence[CheckResult]] | None = None

    async def read(self) -> Readiness:
        """Check, or wait for the check that runs."""
        if self._run is None or self._run.done():
            self._run = asyncio.ensure_future(self._check())
        run = self._run
        await asyncio.wait({run}, timeout=self._patience)
        if not run.done():
            checks: list[CheckResult] = [CheckResult(name="checks", ok=False, detail="no answer in time")]
        elif run.cancelled() or run.exception() is not None:
            log.error("check_failed", exc_info=None if run.cancelled() else run.exception())
            checks = [CheckResult(name="checks", ok=False, detail="failed")]
        else:
            checks = list(run.result())
        ready = all(check.ok for check in checks)
        return Readiness(status="ready" if ready else "not ready", checks=checks)


def health_router(check: Check, *, patience: float = PATIENCE) -> Router:
    """Give the routes.

    Args:
        check: looks at whatever serving needs; an exception counts as not ready.
        patience: seconds after which it counts as not ready.
    """
    return _router.bound({_READINESS: _Readiness(check, patience)})


# The endpoints stand at the top, and find what they check in the request: FastAPI remembers every function that it has
# looked at, and with one that knows an install it would keep that install for ever.

_READINESS: Final = "denizen.readiness"
_router = Router(tags=["health"])


@_router.get("/healthz", operation_id="read_health", summary="Is the process alive?")
async def read_health() -> Health:
    """Answer as long as the event loop turns. Looks at nothing."""
    return Health()


@_router.get(
    "/readyz",
    operation_id="read_readiness",
    summary="Can it serve?",
    responses={503: {"model": Readiness, "description": "Something that serving needs is away."}},
)
async def read_readiness(request: Request, response: Response) -> Readiness:
    """Tell whether the database answers and its schema is one that this release can serve."""
    found: Readiness = await request.scope[_READINESS].read()
    if found.status != "ready":
        response.status_code = 503
        response.headers["retry-after"] = "1"
    return found
