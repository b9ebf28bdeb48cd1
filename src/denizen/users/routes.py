"""Accounts over HTTP."""

import re
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Header, Path, Query, Request, Response
from pydantic import BeforeValidator
from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.accounts import Accounts
from denizen.core.auth import (
    AUTH,
    PERSON,
    BeyondCaller,
    Caller,
    CredentialsInvalid,
    CredentialsMissing,
    NotWhileImpersonating,
    ReauthenticationNeeded,
    Scope,
    ScopeMissing,
    SessionNeeded,
)
from denizen.core.bounds import MAX_VERSION
from denizen.core.deps import CurrentCaller, Db, Here, Now, OptionalCaller, Reads
from denizen.core.errors import Invalid, TooMany, UnknownParameter
from denizen.core.hashers import HashingBusy
from denizen.core.identifiers import EmailInvalid, IdentityMissing, UsernameInvalid
from denizen.core.ids import parse_id
from denizen.core.passwords import PASSWORD
from denizen.core.problems import ANY, WRITING, responses
from denizen.core.routing import Router
from denizen.idempotency.deps import REFUSALS, REPLAYED, Attempt, Once
from denizen.users import crud, service, states
from denizen.users.deps import CanWriteUser, CurrentPerson, MaybeDry, must_reach, own_id
from denizen.users.errors import (
    EmailTaken,
    ExternalIdTaken,
    OwnAccount,
    SignUpClosed,
    UserChanged,
    UserInUse,
    UsernameTaken,
    UsernameTooSimilar,
    UserNotFound,
)
from denizen.users.schemas import (
    SIGN_UP_ASKED,
    Deletion,
    OwnUpdate,
    SignUpAsked,
    Suspension,
    UserCreate,
    UserRead,
    UserUpdate,
    dump_user,
)

router = Router(tags=["users"])

_OTHERS = (BeyondCaller, NotWhileImpersonating)
_FRESH = (SessionNeeded, NotWhileImpersonating, ReauthenticationNeeded)
_TAKEN = (EmailTaken, UsernameTaken, UsernameTooSimilar, ExternalIdTaken)
_NAMES = (EmailInvalid, UsernameInvalid)

_ETAG = {"ETag": {"description": "The version of the account, for `If-Match`.", "schema": {"type": "string"}}}


def _parse_user_id(text: object) -> UUID:
    """Read the id of the path. Whatever is no id of ours names nobody: a 404, not a 422."""
    found = parse_id(text) if isinstance(text, str) else None
    if found is None:
        raise UserNotFound("User not found")
    return found


UserId = Annotated[
    UUID,
    BeforeValidator(_parse_user_id),
    Path(description="A UUIDv7.", examples=["019a5c1e-7f00-7a11-8b22-3c33d44e55f6"]),
]


_MAX_TAGS = 100
_MAX_TAGS_LENGTH = 4096
_MEMBER = r'[ \t]*+(?:(?:W/)?"[\x21\x23-\x7e\x80-\xff]*+"[ \t]*+)?+'
_TAGS = re.compile(rf"{_MEMBER}(?:,{_MEMBER})*+")
"""A list of entity tags, RFC 9110 sections 5.6.1 and 8.8.3."""


async def versions_of(
    request: Request,
    if_match: Annotated[
        str | None,
        Header(description="Change only this version: the `ETag` of an earlier answer, several of them, or `*`."),
    ] = None,
) -> frozenset[int] | None:
    """Read `If-Match`: a list of our ETags, or `*` for whichever version there is, which is `None`.

    Weak tags match nothing here, nor do those that no account of ours has had: RFC 9110 section 13.1.1. A list of which
    nothing can match, or that is none, is empty: whether there is such an account is told first (section 13.2.1).

    Raises:
        UserChanged: it has more than 100 tags.
    """
    if if_match is None:
        return None
    sent = ", ".join(request.headers.getlist("if-match"))
    if sent.strip(" \t") == "*":
        return None
    is_list = len(sent) <= _MAX_TAGS_LENGTH and _TAGS.fullmatch(sent)
    tags = re.findall(r'(W/)?"([^"]*)"', sent) if is_list else []
    if len(tags) > _MAX_TAGS:
        raise UserChanged(f"If-Match names more than {_MAX_TAGS} versions.")
    strong = [tag for weak, tag in tags if not weak and re.fullmatch(r"[1-9]\d{0,9}", tag, re.ASCII)]
    return frozenset(version for version in map(int, strong) if version <= MAX_VERSION)


Versions = Annotated[frozenset[int] | None, Depends(versions_of)]


def _answer(row: crud.Row, *, status: int = 200, location: str | None = None) -> Response:
    headers = {"ETag": f'"{row[-1]}"', "Cache-Control": "no-store"}
    if location is not None:
        headers["Location"] = location
    return Response(dump_user(row), status_code=status, media_type="application/json", headers=headers)


NEW_ACCOUNT: dict[int | str, dict[str, Any]] = {
    201: {
        "headers": {
            **_ETAG,
            "Location": {"schema": {"type": "string"}, "description": "Of the new account."},
            **REPLAYED,
        }
    },
    202: {
        "model": SignUpAsked,
        "description": "The address is to be proved first: it has been sent a letter, whether it is known here or not.",
        "headers": REPLAYED,
    },
}
"""What OpenAPI says of the answers to those who sign up."""


async def answer_sign_up(
    request: Request, accounts: Accounts, caller: Caller | None, attempt: Attempt, db: AsyncSession, data: UserCreate
) -> Response:
    """Let somebody sign up, or create an account for somebody, and tell what became of it."""
    await service.admit(accounts, data, caller=caller, address=request.client.host if request.client else None)
    if (kept := await attempt.begin(caller)) is not None:
        return kept
    user = await service.sign_up(accounts, db, data, caller=caller)
    if user is None:
        asked = Response(SIGN_UP_ASKED, 202, {"Cache-Control": "no-store"}, "application/json")
        return await attempt.keep(db, asked)
    answer = _answer(crud.row_of(user), status=201, location=accounts.public_url(f"/users/{user.id}"))
    return await attempt.keep(db, answer, user_id=user.id)


@router.post(
    "/users/",
    status_code=201,
    response_model=UserRead,
    operation_id="create_user",
    summary="Create an account",
    responses={
        **NEW_ACCOUNT,
        **responses(
            CredentialsMissing,
            CredentialsInvalid,
            SignUpClosed,
            ScopeMissing,
            *_TAKEN,
            *_NAMES,
            *PASSWORD,
            TooMany,
            HashingBusy,
            *REFUSALS,
            *WRITING,
        ),
    },
    openapi_extra={"security": [{}]},  # beside the key: credentials are optional
)
async def create_user(
    request: Request, accounts: Here, caller: OptionalCaller, attempt: Once, db: Db, data: UserCreate
) -> Response:
    """Sign up, or create an account for somebody. Needs no credentials unless sign-up is closed."""
    return await answer_sign_up(request, accounts, caller, attempt, db, data)


@router.get(
    "/users/me",
    response_model=UserRead,
    operation_id="get_me",
    summary="Read one's own account",
    responses={200: {"headers": _ETAG}, **responses(*PERSON, UserNotFound, *ANY)},
)
async def get_me(caller: CurrentPerson, reads: Reads) -> Response:
    """Read the account of whoever calls."""
    return _answer(await crud.read_user(reads, own_id(caller)))


@router.patch(
    "/users/me",
    response_model=UserRead,
    operation_id="update_me",
    summary="Change one's own account",
    responses={
        200: {"headers": _ETAG},
        **responses(*PERSON, UserNotFound, UsernameTaken, UsernameTooSimilar, UserChanged, *WRITING),
        **responses(UsernameInvalid, IdentityMissing, Invalid, UnknownParameter),
    },
)
async def update_me(caller: CurrentPerson, versions: Versions, db: Db, at: Now, data: OwnUpdate) -> Response:
    """Set the fields that the body names; the others stay. Address and password have flows of their own."""
    return _answer(await service.change_user(db, own_id(caller), data, versions=versions, at=at, caller=caller))


@router.delete(
    "/users/me",
    status_code=204,
    operation_id="delete_me",
    summary="Delete one's own account",
    responses=responses(*PERSON, *_FRESH, UserNotFound, UserChanged, UserInUse, *WRITING),
)
async def delete_me(accounts: Here, caller: CurrentPerson, versions: Versions, db: Db, at: Now) -> None:
    """Leave: the account is hidden at once, every sign-in ends, and it is erased after `DENIZEN_DELETE_GRACE`. Whoever
    calls has to have proved just now who he is.
    """
    await states.delete_user(accounts, db, own_id(caller), versions=versions, at=at, caller=caller)


@router.get(
    "/users/{user_id}",
    response_model=UserRead,
    operation_id="get_user",
    summary="Read an account",
    responses={200: {"headers": _ETAG}, **responses(*AUTH, UserNotFound, *ANY)},
)
async def get_user(caller: CurrentCaller, user_id: UserId, reads: Reads) -> Response:
    """Read one account: one's own, or anybody's with `users:read`."""
    must_reach(caller, user_id, Scope.USERS_READ)
    return _answer(await crud.read_user(reads, user_id))


@router.patch(
    "/users/{user_id}",
    response_model=UserRead,
    operation_id="update_user",
    summary="Change an account",
    responses={
        200: {"headers": _ETAG},
        **responses(*AUTH, *_OTHERS, UserNotFound, *_TAKEN, UserChanged, *_NAMES, IdentityMissing, *WRITING),
    },
)
async def update_user(
    caller: CurrentCaller, user_id: UserId, versions: Versions, db: Db, at: Now, data: UserUpdate
) -> Response:
    """Set the fields that the body names; the others stay. With `If-Match`, only if nobody changed it meanwhile.

    Takes `users:write` for the account of somebody else, and of one's own sets `username` and `full_name` alone.
    """
    must_reach(caller, user_id, Scope.USERS_WRITE)
    return _answer(await service.change_user(db, user_id, data, versions=versions, at=at, caller=caller))


@router.delete(
    "/users/{user_id}",
    status_code=204,
    operation_id="delete_user",
    summary="Delete an account",
    responses={
        200: {"model": Deletion, "description": "What would be deleted: the answer to `dry_run`."},
        **responses(*AUTH, *_OTHERS, *_FRESH, UserNotFound, UserChanged, UserInUse, *WRITING),
    },
)
async def delete_user(
    accounts: Here,
    caller: CurrentCaller,
    user_id: UserId,
    versions: Versions,
    trial: MaybeDry,
    at: Now,
    erase: Annotated[bool, Query(description="At once and for good; also an account that is deleted already.")] = False,
) -> Response:
    """Hide an account, end its sign-ins, and erase it once `DENIZEN_DELETE_GRACE` is over; until then it can be
    restored and its names stay taken. One's own as `DELETE /users/me`.

    With `dry_run` nothing is done: the answer is which rows of which tables it would reach, those of other
    applications in the same database too, and what would happen to them.
    """
    must_reach(caller, user_id, Scope.USERS_WRITE)
    if erase or trial.dry:
        caller.must(Scope.USERS_WRITE)
    asked: dict[str, Any] = {"versions": versions, "at": at, "caller": caller, "erase": erase}
    if trial.dry:
        plan = await states.plan_deletion(accounts, trial.db, user_id, **asked)
        return Response(plan.model_dump_json(), media_type="application/json")
    await states.delete_user(accounts, trial.db, user_id, **asked)
    return Response(status_code=204)


@router.post(
    "/users/{user_id}/suspend",
    response_model=UserRead,
    operation_id="suspend_user",
    summary="Suspend an account",
    responses={200: {"headers": _ETAG}, **responses(*AUTH, *_OTHERS, OwnAccount, UserNotFound, *WRITING)},
)
async def suspend_user(
    caller: CanWriteUser, user_id: UserId, db: Db, at: Now, data: Suspension | None = None
) -> Response:
    """Let nobody sign in to it, and end its sign-ins, until somebody ends that or `until` has come."""
    said = data or Suspension()
    row = await states.suspend_user(db, user_id, reason=said.reason, until=said.until, at=at, caller=caller)
    return _answer(row)


@router.post(
    "/users/{user_id}/unsuspend",
    response_model=UserRead,
    operation_id="unsuspend_user",
    summary="End a suspension",
    responses={200: {"headers": _ETAG}, **responses(*AUTH, *_OTHERS, OwnAccount, UserNotFound, *WRITING)},
)
async def unsuspend_user(caller: CanWriteUser, user_id: UserId, db: Db, at: Now) -> Response:
    """Let its owner sign in again. Of an account that is not suspended nothing changes."""
    return _answer(await states.unsuspend_user(db, user_id, at=at, caller=caller))


@router.post(
    "/users/{user_id}/restore",
    response_model=UserRead,
    operation_id="restore_user",
    summary="Restore a deleted account",
    responses={200: {"headers": _ETAG}, **responses(*AUTH, *_OTHERS, UserNotFound, *WRITING)},
)
async def restore_user(caller: CanWriteUser, user_id: UserId, db: Db, at: Now) -> Response:
    """Let an account that waits for its erasure be there again. Of one that is not deleted nothing changes."""
    return _answer(await states.restore_user(db, user_id, at=at, caller=caller))
