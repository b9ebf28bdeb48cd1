"""Signing in without a password over HTTP."""

from typing import Annotated

from fastapi import Query, Request, Response

from denizen.core.cookies import CookieRefused, CsrfFailed, takes_cookies
from denizen.core.deps import Db, Now
from denizen.core.errors import Invalid, StorageFull, TooMany, Unavailable, UnknownParameter
from denizen.core.identifiers import EmailInvalid
from denizen.core.problems import responses
from denizen.core.routing import Router, with_forms
from denizen.onetime.errors import LinkInvalid
from denizen.pages.deps import FORM, Page, language_of, page
from denizen.passwordless import service
from denizen.passwordless.deps import Offered
from denizen.passwordless.errors import PasswordlessOff
from denizen.passwordless.schemas import LINK_ASKED, CodeAsked, CodeSignIn, LinkAsked, LinkSignIn, SignInAsk
from denizen.sessions.deps import admit_sign_in, answer_sign_in
from denizen.sessions.schemas import SignInRead

router = Router(tags=["signing in without a password"])

_ANY = (PasswordlessOff, Invalid, UnknownParameter, Unavailable)
_WRITING = (*_ANY, StorageFull)


def _address(request: Request) -> str | None:
    return request.client.host if request.client else None


@router.post(
    "/auth/magic-link",
    status_code=202,
    response_model=LinkAsked,
    operation_id="ask_for_magic_link",
    summary="Have a link to sign in mailed",
    responses=responses(EmailInvalid, TooMany, *_WRITING),
)
@with_forms
async def ask_for_link(request: Request, accounts: Offered, data: SignInAsk) -> Response:
    """Mail a link that signs in, once. The answer is the same for every address."""
    await service.ask_for_link(accounts, data.email, address=_address(request), language=language_of(request))
    return Response(LINK_ASKED, 202, media_type="application/json")


@router.get(
    "/auth/magic-link/sign-in",
    operation_id="show_magic_link",
    summary="Show the page that signs in",
    response_class=Response,
    responses={
        **FORM,
        **responses(LinkInvalid, *_ANY),
    },
)
async def show_link(
    accounts: Offered, at: Now, shown: Annotated[Page, page("magic_link")], token: Annotated[str, Query(max_length=64)]
) -> Response:
    """Show what the link of a letter opens. It spends nothing: programs that look into mail open links too."""
    email = await service.find_link(accounts, token, at=at)
    return shown.form(token=token, email=email, cookie=takes_cookies(accounts))


@router.post(
    "/auth/magic-link/sign-in",
    response_model=SignInRead,
    operation_id="sign_in_by_link",
    summary="Sign in by a link",
    responses=responses(LinkInvalid, CookieRefused, CsrfFailed, *_WRITING),
)
@with_forms
async def sign_in_by_link(
    request: Request, accounts: Offered, shown: Annotated[Page, page("magic_link")], db: Db, at: Now, data: LinkSignIn
) -> Response:
    """Sign in by the link of a letter, which proves the address."""
    old = admit_sign_in(request, accounts, by_cookie=data.cookie)
    opened = await service.sign_in_by_link(accounts, db, data.token, at=at, instead_of=old)
    told = shown.done(b"", signed_in=data.cookie) if shown.html else None
    return answer_sign_in(accounts, opened, by_cookie=data.cookie, at=at, page=told)


@router.post(
    "/auth/code",
    status_code=202,
    response_model=CodeAsked,
    operation_id="ask_for_code",
    summary="Have a code to sign in mailed",
    responses=responses(EmailInvalid, TooMany, *_WRITING),
)
@with_forms
async def ask_for_code(request: Request, accounts: Offered, data: SignInAsk) -> Response:
    """Mail six digits that sign in, together with the ticket in this answer. It is the same for every address."""
    ticket = await service.ask_for_code(accounts, data.email, address=_address(request), language=language_of(request))
    return Response(CodeAsked(ticket=ticket).model_dump_json(), 202, media_type="application/json")


@router.post(
    "/auth/code/sign-in",
    response_model=SignInRead,
    operation_id="sign_in_by_code",
    summary="Sign in by a code",
    responses=responses(LinkInvalid, CookieRefused, CsrfFailed, TooMany, *_WRITING),
)
@with_forms
async def sign_in_by_code(request: Request, accounts: Offered, at: Now, data: CodeSignIn) -> Response:
    """Sign in by the code of a letter and the ticket of whoever asked for it, which proves the address."""
    old = admit_sign_in(request, accounts, by_cookie=data.cookie)
    opened = await service.sign_in_by_code(
        accounts, data.ticket, data.code, address=_address(request), at=at, instead_of=old
    )
    return answer_sign_in(accounts, opened, by_cookie=data.cookie, at=at)
