"""The audit over HTTP."""

from typing import Annotated

from fastapi import Query, Request, Response
from pydantic_core import to_json

from denizen.audit import service
from denizen.audit.schemas import AuditQuery, AuditRead
from denizen.core.auth import AUTH
from denizen.core.deps import CanReadAudit, Here
from denizen.core.errors import Invalid, RepeatedParameter, Unavailable, UnknownParameter
from denizen.core.paging import NEXT_PAGE, CursorInvalid, next_page
from denizen.core.problems import responses
from denizen.core.routing import Router

router = Router(tags=["audit"])


@router.get(
    "/audit",
    response_model=list[AuditRead],
    operation_id="list_audit",
    summary="Read what happened",
    responses={
        200: {"headers": NEXT_PAGE},
        **responses(*AUTH, Invalid, UnknownParameter, RepeatedParameter, CursorInvalid, Unavailable),
    },
)
async def list_audit(
    request: Request, accounts: Here, caller: CanReadAudit, query: Annotated[AuditQuery, Query()]
) -> Response:
    """Page through what happened and what was refused, the newest first."""
    page = await service.list_entries(accounts, query)
    headers = next_page(accounts.public_url("/audit"), request.query_params.multi_items(), page.next_cursor)
    return Response(to_json(page.rows), media_type="application/json", headers=headers)
