"""`POST /auth/tokens`, `/auth/refresh` and `/auth/introspect`."""

from typing import Annotated, Any

from pydantic_core import to_json
from starlette.responses import Response

from denizen.core.auth import Caller, CredentialsInvalid, CredentialsMissing, Scope, ScopeMissing, SessionNeeded
from denizen.core.bodies import FORM
from denizen.core.cookies import CsrfFailed
from denizen.core.deps import Here, Now, requires
from denizen.core.errors import Invalid, StorageFull, Unavailable
from denizen.core.problems import responses
from denizen.core.routing import Router, with_forms
from denizen.core.secret import Unreadable
from denizen.refresh import service
from denizen.refresh.errors import RefreshFailed
from denizen.refresh.schemas import IntrospectRead, IntrospectRequest, RefreshRequest, TokensRead
from denizen.sessions.deps import CurrentSession

router = Router(tags=["tokens"])

CanIntrospect = Annotated[Caller, requires(Scope.TOKENS_INTROSPECT)]
_AUTH = (CredentialsMissing, CredentialsInvalid)
_WRITING = (Invalid, Unavailable, Unreadable, StorageFull)


def _form(model: type) -> dict[str, Any]:
    """Describe that a body may come as a form too."""
    reference = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {"requestBody": {"content": {FORM: {"schema": reference}}}}


@router.post(
    "/auth/tokens",
    response_model=TokensRead,
    operation_id="create_tokens",
    summary="Get an access token for other services",
    responses=responses(*_AUTH, SessionNeeded, CsrfFailed, *_WRITING),
)
async def create_tokens(accounts: Here, caller: CurrentSession, at: Now) -> service.Tokens:
    """Give whoever has signed in a short-lived JWT for other services, and a refresh token that renews it for as long
    as the session goes on.
    """
    return await service.issue_tokens(accounts, caller, at=at)


@router.post(
    "/auth/refresh",
    response_model=TokensRead,
    operation_id="refresh_tokens",
    summary="Renew an access token",
    responses=responses(RefreshFailed, *_WRITING),
    openapi_extra=_form(RefreshRequest),
)
@with_forms
async def refresh_tokens(accounts: Here, at: Now, data: RefreshRequest) -> service.Tokens:
    """Exchange a refresh token for a new pair. For ten seconds the same token gives the same next one; shown later, it
    ends the session that it came from.
    """
    return await service.refresh_tokens(accounts, data.refresh_token, at=at)


@router.post(
    "/auth/introspect",
    response_model=IntrospectRead,
    operation_id="introspect_token",
    summary="Ask what a token is good for",
    responses=responses(*_AUTH, ScopeMissing, CsrfFailed, Invalid, Unavailable),
    openapi_extra=_form(IntrospectRequest),
)
@with_forms
async def introspect_token(accounts: Here, _: CanIntrospect, at: Now, data: IntrospectRequest) -> Response:
    """Tell a service whose a token is and what its holder may do at this moment; for `tokens:introspect`."""
    told = await service.introspect_token(accounts, data.token, at=at)
    return Response(to_json(told), media_type="application/json")
