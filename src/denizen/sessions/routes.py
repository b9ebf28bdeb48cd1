"""Sign-ins over HTTP."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Path, Request, Response
from pydantic import BeforeValidator

from denizen.core.accounts import Accounts
from denizen.core.auth import (
    AUTH,
    PERSON,
    BeyondCaller,
    Caller,
    CredentialsInvalid,
    NotWhileImpersonating,
    ReauthenticationNeeded,
    Scope,
    ScopeMissing,
)
from denizen.core.cookies import (
    CookieRefused,
    CsrfFailed,
    clear_cookie,
    cookie_of,
    token_of,
)
from denizen.core.deps import Db, Here, Now, Reads
from denizen.core.errors import TooMany
from denizen.core.hashers import HashingBusy
from denizen.core.ids import parse_id
from denizen.core.problems import ANY, WRITING, responses
from denizen.core.routing import Router, with_forms
from denizen.sessions import crud, service, states
from denizen.sessions.deps import CurrentSession, FreshSession, OwnSession, SessionBearer, admit_sign_in, answer_sign_in
from denizen.sessions.errors import AccountNotInUse, SessionNotFound, SignInFailed
from denizen.sessions.schemas import (
    Reauthentication,
    SessionRead,
    SignInCreate,
    SignInRead,
    dump_sessions,
)
from denizen.users.deps import CanReadUser, CanWriteUser, OneBearer
from denizen.users.errors import UserNotFound

router = Router(tags=["sessions"])

_FRESH = (*PERSON, NotWhileImpersonating, ReauthenticationNeeded, CsrfFailed)
_GUESS = (SignInFailed, TooMany, HashingBusy)


def _parse(text: object, missing: Any) -> UUID:
    """Read the id of the path. Whatever is no id of ours names nothing: a 404, not a 422."""
    found = parse_id(text) if isinstance(text, str) else None
    if found is None:
        raise missing
    return found


_EXAMPLE = "019a5c1e-7f00-7a11-8b22-3c33d44e55f6"
UserId = Annotated[
    UUID,
    BeforeValidator(lambda text: _parse(text, UserNotFound("User not found"))),
    Path(description="A UUIDv7.", examples=[_EXAMPLE]),
]
SessionId = Annotated[
    UUID,
    BeforeValidator(lambda text: _parse(text, SessionNotFound("Session not found"))),
    Path(description="A UUIDv7.", examples=[_EXAMPLE]),
]


class _ImpersonatingBearer(OneBearer, SessionBearer):
    """Recognises who may act in the place of whoever the path names."""


CanImpersonate = Annotated[Caller, Depends(_ImpersonatingBearer(Scope.USERS_IMPERSONATE, own=True))]

_COOKIE: dict[int | str, dict[str, Any]] = {
    200: {"headers": {"Set-Cookie": {"schema": {"type": "string"}, "description": "Where a cookie was asked for."}}}
}
_FORM = {
    "requestBody": {
        "content": {
            "application/x-www-form-urlencoded": {"schema": {"$ref": f"#/components/schemas/{SignInCreate.__name__}"}}
        }
    }
}


def _person(caller: Caller) -> UUID:
    assert caller.user_id is not None  # noqa: S101  (whoever has signed in is somebody)
    return caller.user_id


@router.post(
    "/auth/login",
    response_model=SignInRead,
    operation_id="sign_in",
    summary="Sign in",
    responses={**_COOKIE, **responses(*_GUESS, CookieRefused, CsrfFailed, *WRITING)},
    openapi_extra=_FORM,
)
@with_forms
async def sign_in(request: Request, accounts: Here, db: Db, at: Now, data: SignInCreate) -> Response:
    """Sign in by username or e-mail address, in any spelling, and password: JSON, or the form of OAuth 2.0."""
    old = admit_sign_in(request, accounts, by_cookie=data.cookie)
    opened = await service.sign_in(accounts, db, data.username, data.password, at=at, instead_of=old)
    return answer_sign_in(accounts, opened, by_cookie=data.cookie, at=at)


@router.post(
    "/auth/logout",
    status_code=204,
    operation_id="sign_out",
    summary="Sign out",
    responses=responses(*PERSON, CsrfFailed, SessionNotFound, *WRITING),
)
async def sign_out(request: Request, accounts: Here, caller: CurrentSession, db: Db) -> Response:
    """End the sign-in that this request was made with, at once, and take its cookie back."""
    stands_in = caller.impersonator_id is not None
    await states.end_session(db, _person(caller), caller.id, reason="signed out", alone=stands_in)
    answer = Response(status_code=204)
    if cookie_of(request, accounts) is not None:
        clear_cookie(answer, accounts)
    return answer


@router.post(
    "/auth/reauthenticate",
    response_model=SignInRead,
    operation_id="reauthenticate_session",
    summary="Prove anew who you are",
    responses={**_COOKIE, **responses(*PERSON, NotWhileImpersonating, CsrfFailed, *_GUESS, *WRITING)},
)
async def reauthenticate_session(
    request: Request, accounts: Here, caller: OwnSession, db: Db, at: Now, data: Reauthentication
) -> Response:
    """Prove anew who you are, as sensitive acts want it; the sign-in gets another token, and the old one ends."""
    token, by_cookie = token_of(request, accounts)
    opened = await service.reauthenticate(accounts, db, caller, data.password, token=token, at=at)
    return answer_sign_in(accounts, opened, by_cookie=by_cookie, at=at)


@router.get(
    "/auth/sessions",
    response_model=list[SessionRead],
    operation_id="list_sessions",
    summary="List your sign-ins",
    responses=responses(*PERSON, *ANY),
)
async def list_sessions(caller: CurrentSession, accounts: Here, reads: Reads, at: Now) -> Response:
    """Show your open sign-ins, in the order of their making: where from, by which device, when last used."""
    rows = await _rows(accounts, reads, caller, at)
    return Response(dump_sessions(rows, current=caller.id), media_type="application/json")


async def _rows(accounts: Accounts, reads: Reads, caller: Caller, at: datetime) -> list[crud.Row]:
    return await crud.list_sessions(reads, _person(caller), at=at, idle_since=service.idle_since_of(accounts, at))


@router.get(
    "/auth/sessions/current",
    response_model=SessionRead,
    operation_id="get_current_session",
    summary="Read your sign-in",
    responses=responses(*PERSON, *ANY),
)
async def get_current_session(caller: CurrentSession, accounts: Here, reads: Reads, at: Now) -> Response:
    """Describe the sign-in that this request was made with."""
    own = [row for row in await _rows(accounts, reads, caller, at) if str(row[0]) == str(caller.id)]
    if not own:
        raise CredentialsInvalid("This sign-in is unknown or has ended.")
    return Response(dump_sessions(own, current=caller.id)[1:-1], media_type="application/json")


@router.delete(
    "/auth/sessions",
    status_code=204,
    operation_id="delete_other_sessions",
    summary="End all your other sign-ins",
    responses=responses(*_FRESH, *WRITING),
)
async def delete_other_sessions(caller: FreshSession, db: Db) -> None:
    """End all your sign-ins but the one that this request was made with, at once."""
    await states.end_other_sessions(db, _person(caller), keep=caller.id)


@router.delete(
    "/auth/sessions/{session_id}",
    status_code=204,
    operation_id="delete_session",
    summary="End one of your sign-ins",
    responses=responses(*_FRESH, SessionNotFound, *WRITING),
)
async def delete_session(caller: FreshSession, session_id: SessionId, db: Db) -> None:
    """End one of your sign-ins, at once. Other people's are not found."""
    await states.end_session(db, _person(caller), session_id, reason="ended by its owner", caller=caller)


# ------------------------------------------------------------------------------------------------------ administrators


@router.get(
    "/users/{user_id}/sessions",
    response_model=list[SessionRead],
    operation_id="list_user_sessions",
    summary="List somebody's sign-ins",
    responses=responses(*AUTH, UserNotFound, *ANY),
)
async def list_user_sessions(caller: CanReadUser, user_id: UserId, accounts: Here, reads: Reads, at: Now) -> Response:
    """Show the open sign-ins of one person."""
    rows = await crud.list_sessions(reads, user_id, at=at, idle_since=service.idle_since_of(accounts, at))
    if not rows and not await crud.has_user(reads, user_id):
        raise UserNotFound("User not found")
    return Response(dump_sessions(rows, current=caller.id), media_type="application/json")


@router.delete(
    "/users/{user_id}/sessions",
    status_code=204,
    operation_id="delete_user_sessions",
    summary="End all sign-ins of somebody",
    responses=responses(*AUTH, BeyondCaller, CsrfFailed, UserNotFound, *WRITING),
)
async def delete_user_sessions(caller: CanWriteUser, user_id: UserId, db: Db) -> None:
    """End all sign-ins of one person, at once."""
    await states.end_sessions_of(db, user_id, caller=caller)


@router.post(
    "/users/{user_id}/impersonate",
    response_model=SignInRead,
    operation_id="impersonate_user",
    summary="Act in somebody's place",
    responses=responses(
        *PERSON,
        ScopeMissing,
        NotWhileImpersonating,
        BeyondCaller,
        CsrfFailed,
        UserNotFound,
        AccountNotInUse,
        *WRITING,
    ),
)
async def impersonate_user(caller: CanImpersonate, user_id: UserId, accounts: Here, db: Db, at: Now) -> Response:
    """Sign in as somebody else, for a quarter of an hour, with his permissions; his credentials stay out of reach."""
    opened = await service.impersonate(accounts, db, user_id, caller=caller, at=at)
    return answer_sign_in(accounts, opened, by_cookie=False, at=at)
