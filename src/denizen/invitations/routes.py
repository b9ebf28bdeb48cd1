"""Invitations over HTTP."""

from typing import Annotated, Any

from fastapi import Query, Request, Response

from denizen.core.auth import (
    AUTH,
    BeyondCaller,
    NotWhileImpersonating,
)
from denizen.core.cookies import CookieRefused, CsrfFailed, takes_cookies
from denizen.core.deps import Db, Here, Now, Reads
from denizen.core.errors import RepeatedParameter
from denizen.core.hashers import HashingBusy
from denizen.core.identifiers import EmailInvalid, UsernameInvalid
from denizen.core.paging import NEXT_PAGE, CursorInvalid, next_page
from denizen.core.passwords import PASSWORD
from denizen.core.problems import ANY, WRITING, responses
from denizen.core.routing import Router, with_forms
from denizen.idempotency.deps import REFUSALS, REPLAYED, Once
from denizen.invitations import crud, service
from denizen.invitations.deps import CanInvite, CanReachInvitation, InvitationId
from denizen.invitations.errors import (
    InvitationBeyondInviter,
    InvitationEmailFixed,
    InvitationExpiryInvalid,
    InvitationNotFound,
    InvitationUsed,
)
from denizen.invitations.schemas import (
    InvitationAccept,
    InvitationCreate,
    InvitationMade,
    InvitationQuery,
    InvitationRead,
    add_link,
    dump_invitation,
    dump_invitations,
)
from denizen.onetime.errors import LinkInvalid
from denizen.pages.deps import FORM, Page, page
from denizen.roles.errors import RoleNotFound
from denizen.sessions.deps import admit_sign_in, answer_sign_in
from denizen.sessions.schemas import SignInRead
from denizen.users.errors import EmailTaken, UsernameTaken, UsernameTooSimilar

router = Router(tags=["invitations"])

_GIVING = (BeyondCaller, NotWhileImpersonating, RoleNotFound)
_TAKEN = (EmailTaken, UsernameTaken, UsernameTooSimilar)


def _with_link(answer: Response, link: str | None) -> Response:
    """Give the answer with the link in it, which is never kept."""
    headers = {name: value for name, value in answer.headers.items() if name != "content-length"}
    return Response(add_link(bytes(answer.body), link), answer.status_code, headers)


def _answer(row: crud.Row, status: int = 200, **headers: Any) -> Response:
    return Response(dump_invitation(row), status, {"Cache-Control": "no-store", **headers}, "application/json")


@router.post(
    "/invitations/",
    status_code=201,
    response_model=InvitationMade,
    operation_id="create_invitation",
    summary="Invite somebody",
    responses={
        201: {"headers": {"Location": {"schema": {"type": "string"}}, **REPLAYED}},
        **responses(*AUTH, *_GIVING, EmailInvalid, InvitationExpiryInvalid, *REFUSALS, *WRITING),
    },
)
async def create_invitation(
    accounts: Here, caller: CanInvite, attempt: Once, db: Db, at: Now, data: InvitationCreate
) -> Response:
    """Ask somebody in: by mail, or without an address by a link in the answer, which is shown once."""
    answer = await attempt.begin(caller)
    token = attempt.token("dzi_")
    if answer is None:
        made, _ = await service.invite(accounts, db, caller=caller, at=at, token=token, **dict(data))
        location = accounts.public_url(f"/invitations/{made.id}")
        answer = await attempt.keep(db, _answer(crud.row_of(made), 201, Location=location))
    return _with_link(answer, None if data.email else service.invitation_link(accounts, token))


@router.get(
    "/invitations/",
    response_model=list[InvitationRead],
    operation_id="list_invitations",
    summary="List invitations",
    responses={200: {"headers": NEXT_PAGE}, **responses(*AUTH, *ANY, RepeatedParameter, CursorInvalid)},
)
async def list_invitations(
    request: Request, accounts: Here, caller: CanInvite, reads: Reads, query: Annotated[InvitationQuery, Query()]
) -> Response:
    """Page through all invitations, those that have ended too, in the order of their making."""
    found = await service.list_invitations(reads, accounts.cursors, query)
    headers = next_page(accounts.public_url("/invitations/"), request.query_params.multi_items(), found.next_cursor)
    return Response(dump_invitations(found.rows), media_type="application/json", headers=headers)


@router.get(
    "/invitations/{invitation_id}",
    response_model=InvitationRead,
    operation_id="get_invitation",
    summary="Read an invitation",
    responses=responses(*AUTH, InvitationNotFound, *ANY),
)
async def get_invitation(caller: CanReachInvitation, invitation_id: InvitationId, reads: Reads) -> Response:
    """Read one invitation."""
    return _answer(await crud.read_invitation(reads, invitation_id))


@router.post(
    "/invitations/{invitation_id}/resend",
    response_model=InvitationMade,
    operation_id="resend_invitation",
    summary="Send an invitation again",
    responses=responses(*AUTH, *_GIVING, InvitationNotFound, InvitationUsed, *WRITING),
)
async def send_again(
    accounts: Here, caller: CanReachInvitation, invitation_id: InvitationId, db: Db, at: Now
) -> Response:
    """Make another link and let it live as long as a new one; the one before opens nothing any more."""
    made, token = await service.send_again(accounts, db, invitation_id, caller=caller, at=at)
    link = None if made.email else service.invitation_link(accounts, token)
    return _with_link(_answer(crud.row_of(made)), link)


@router.delete(
    "/invitations/{invitation_id}",
    status_code=204,
    operation_id="revoke_invitation",
    summary="Take an invitation back",
    responses=responses(*AUTH, InvitationNotFound, InvitationUsed, *WRITING),
)
async def revoke_invitation(caller: CanReachInvitation, invitation_id: InvitationId, db: Db, at: Now) -> None:
    """End an invitation at once. It stays listed for a while."""
    await service.revoke_invitation(db, invitation_id, at=at)


# -- for whoever was asked in -----------------------------------------------------------------------------------------


@router.get(
    "/auth/accept-invitation",
    operation_id="show_invitation",
    summary="Show the page of an invitation",
    response_class=Response,
    responses={
        **FORM,
        **responses(LinkInvalid, *ANY),
    },
)
async def show_invitation(
    accounts: Here,
    at: Now,
    shown: Annotated[Page, page("accept_invitation")],
    token: Annotated[str, Query(max_length=64)] = "",
) -> Response:
    """Show what the link of an invitation opens. It spends nothing."""
    found = await service.find_invitation(accounts, token, at=at)
    return shown.form(token=token, email=found.email, fixed=found.email is not None, cookie=takes_cookies(accounts))


@router.post(
    "/auth/accept-invitation",
    status_code=201,
    response_model=SignInRead,
    operation_id="accept_invitation",
    summary="Accept an invitation",
    responses=responses(
        LinkInvalid,
        InvitationEmailFixed,
        InvitationBeyondInviter,
        CookieRefused,
        CsrfFailed,
        *_TAKEN,
        EmailInvalid,
        UsernameInvalid,
        *PASSWORD,
        HashingBusy,
        *WRITING,
    ),
)
@with_forms
async def accept_invitation(
    request: Request,
    accounts: Here,
    shown: Annotated[Page, page("accept_invitation")],
    db: Db,
    at: Now,
    data: InvitationAccept,
) -> Response:
    """Open an account for whoever was asked in, with the roles he was promised, and sign him in."""
    old = admit_sign_in(request, accounts, by_cookie=data.cookie)
    opened = await service.accept_invitation(accounts, db, data, at=at, instead_of=old)
    told = shown.done(b"", username=data.username, signed_in=data.cookie) if shown.html else None
    return answer_sign_in(accounts, opened, by_cookie=data.cookie, at=at, status=201, page=told)
