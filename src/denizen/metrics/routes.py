"""`GET /metrics`."""

from __future__ import annotations

from typing import Any

from fastapi import Response
from prometheus_client import CONTENT_TYPE_LATEST

from denizen.core.auth import CredentialsInvalid, CredentialsMissing, ScopeMissing
from denizen.core.deps import CanReadMetrics, Here
from denizen.core.errors import Unavailable
from denizen.core.problems import responses
from denizen.core.routing import Router

router = Router(tags=["metrics"])

_EXAMPLE = """# HELP denizen_statements_total Statements sent to the database.
# TYPE denizen_statements_total counter
denizen_statements_total 1287.0
"""
_FILE = {"schema": {"type": "string"}, "example": _EXAMPLE}
_TEXT: dict[int | str, dict[str, Any]] = {
    200: {"description": "Figures in Prometheus' text format.", "content": {"text/plain": _FILE}}
}


@router.get(
    "/metrics",
    operation_id="read_metrics",
    summary="Read the figures of the server",
    response_class=Response,
    responses={**_TEXT, **responses(CredentialsMissing, CredentialsInvalid, ScopeMissing, Unavailable)},
)
async def read_metrics(accounts: Here, caller: CanReadMetrics) -> Response:
    """Give requests, statements, queues, mails, sign-ins and refusals, summed over all processes of this server."""
    return Response(await accounts.figures.expose(), media_type=CONTENT_TYPE_LATEST)
