"""One's own account over HTTP, and the pages that links in letters lead to."""

from typing import Annotated, Any

from fastapi import Path, Query, Request, Response
from fastapi.responses import HTMLResponse
from pydantic_core import to_json

from denizen.account import plans, service
from denizen.account.errors import EmailMissing
from denizen.account.schemas import (
    Accepted,
    EmailAsked,
    OwnData,
    OwnEmailAsked,
    PasswordChange,
    PasswordReset,
    Proof,
    Undoing,
)
from denizen.core.auth import (
    BeyondCaller,
    CredentialsInvalid,
    CredentialsMissing,
    NotWhileImpersonating,
    ReauthenticationNeeded,
    ScopeMissing,
    SessionNeeded,
)
from denizen.core.cookies import CsrfFailed
from denizen.core.deps import Db, Here, Now, OptionalCaller
from denizen.core.errors import TooMany
from denizen.core.hashers import HashingBusy
from denizen.core.identifiers import EmailInvalid
from denizen.core.ids import parse_id
from denizen.core.passwords import PasswordCommon, PasswordContextual, PasswordTooLong, PasswordTooShort
from denizen.core.problems import ANY, WRITING, responses
from denizen.core.routing import Router, with_forms
from denizen.onetime.errors import LinkInvalid
from denizen.pages.deps import Page, language_of, page
from denizen.sessions.deps import FreshSession, OwnSession
from denizen.sessions.errors import SignInFailed
from denizen.users.deps import CanWriteUser
from denizen.users.errors import EmailTaken, UserNotFound
from denizen.users.schemas import UserRead, dump_user

router = Router(tags=["account"])

_PASSWORD = (PasswordTooShort, PasswordTooLong, PasswordCommon, PasswordContextual, HashingBusy)
_OWN = (CredentialsMissing, CredentialsInvalid, CsrfFailed, SessionNeeded, NotWhileImpersonating)

VerifyPage = Annotated[Page, page("verify")]
ResetPage = Annotated[Page, page("reset_password")]
ConfirmPage = Annotated[Page, page("confirm_email")]
UndoPage = Annotated[Page, page("undo_email")]
LinkToken = Annotated[str, Query(max_length=100, description="Of the letter.")]

_ON_ITS_WAY = "If there is an account to which this applies, a letter is on its way to its address."


def _accepted(detail: str = _ON_ITS_WAY) -> Response:
    return Response(Accepted(detail=detail).model_dump_json(), 202, media_type="application/json")


def _address(request: Request) -> str | None:
    return request.client.host if request.client else None


def _shown(title: str) -> dict[str, Any]:
    """Give what a page's route has in common with the others."""
    return {"summary": title, "response_class": HTMLResponse, "responses": responses(LinkInvalid, *ANY)}


# ----------------------------------------------------------------------------------------------------------- an address


@router.post(
    "/auth/request-verify-token",
    status_code=202,
    response_model=Accepted,
    operation_id="request_verify_token",
    summary="Ask for a link that proves an address",
    responses=responses(EmailInvalid, EmailMissing, CredentialsInvalid, CsrfFailed, TooMany, *WRITING),
    openapi_extra={"security": [{}]},  # beside the sign-in: credentials are optional
)
@with_forms
async def request_verify_token(
    request: Request, accounts: Here, caller: OptionalCaller, data: OwnEmailAsked
) -> Response:
    """Send a link to the address, if it is that of an account and not proved yet. The answer is the same for all."""
    email = data.email if data.email is not None else await service.own_email(accounts, caller)
    await service.ask_for_link(accounts, "verify", email, address=_address(request), language=language_of(request))
    return _accepted()


@router.get(
    "/auth/verify", operation_id="show_verify_page", **_shown("The page that a link proving an address leads to")
)
async def show_verify_page(accounts: Here, at: Now, shown: VerifyPage, token: LinkToken) -> Response:
    """Show a form. It spends nothing: what the link is for is done by POST."""
    opened, user = await plans.look(accounts, "verify", token, at=at)
    return shown.form(token=token, email=opened.email, choose=user.email_verified_at is None)


@router.post(
    "/auth/verify",
    response_model=UserRead,
    operation_id="verify_email",
    summary="Prove an address",
    responses=responses(LinkInvalid, *_PASSWORD, *WRITING),
)
@with_forms
async def verify_email(accounts: Here, shown: VerifyPage, db: Db, at: Now, data: Proof) -> Response:
    """Spend the token of a letter. The first proof of an account ends every password, session, key and pending change
    from before: bring the password that is to hold from now on.
    """
    row = await service.verify_email(accounts, db, data.token, data.password, at=at)
    return shown.done(dump_user(row), email=row[service.EMAIL])


# ----------------------------------------------------------------------------------------------------------- a password


@router.post(
    "/auth/forgot-password",
    status_code=202,
    response_model=Accepted,
    operation_id="forgot_password",
    summary="Ask for a link for a new password",
    responses=responses(EmailInvalid, TooMany, *WRITING),
)
@with_forms
async def forgot_password(request: Request, accounts: Here, data: EmailAsked) -> Response:
    """Send a link to the address, if it is that of an account. The answer is the same for all."""
    await service.ask_for_link(accounts, "reset", data.email, address=_address(request), language=language_of(request))
    return _accepted()


@router.get(
    "/auth/reset-password",
    operation_id="show_reset_page",
    **_shown("The page that a link for a new password leads to"),
)
async def show_reset_page(accounts: Here, at: Now, shown: ResetPage, token: LinkToken) -> Response:
    """Show a form. It spends nothing: what the link is for is done by POST."""
    opened, _ = await plans.look(accounts, "reset", token, at=at)
    return shown.form(token=token, email=opened.email)


@router.post(
    "/auth/reset-password",
    response_model=UserRead,
    operation_id="reset_password",
    summary="Set a new password",
    responses=responses(LinkInvalid, *_PASSWORD, *WRITING),
)
@with_forms
async def reset_password(
    request: Request, accounts: Here, shown: ResetPage, db: Db, at: Now, data: PasswordReset
) -> Response:
    """Spend the token of a letter. All sessions end, and the address counts as proved."""
    row = await service.reset_password(accounts, db, data.token, data.password, at=at, language=language_of(request))
    return shown.done(dump_user(row), email=row[service.EMAIL])


@router.post(
    "/auth/change-password",
    status_code=204,
    operation_id="change_password",
    summary="Change your password",
    responses=responses(*_OWN, SignInFailed, ReauthenticationNeeded, TooMany, *_PASSWORD, *WRITING),
)
async def change_password(
    request: Request, accounts: Here, caller: OwnSession, db: Db, at: Now, data: PasswordChange
) -> None:
    """Change it, knowing the present one. Your other sessions end; this one goes on."""
    await service.change_password(
        accounts, db, caller, data.current_password, data.new_password, address=_address(request), at=at
    )


@router.post(
    "/users/{user_id}/password-link",
    status_code=202,
    response_model=Accepted,
    operation_id="send_password_link",
    summary="Send somebody a link for a new password",
    responses=responses(
        CredentialsMissing,
        CredentialsInvalid,
        CsrfFailed,
        ScopeMissing,
        BeyondCaller,
        NotWhileImpersonating,
        UserNotFound,
        EmailMissing,
        *WRITING,
    ),
)
async def send_password_link(
    accounts: Here, caller: CanWriteUser, user_id: Annotated[str, Path(description="A UUIDv7.")], db: Db, at: Now
) -> Response:
    """Mail the owner of an account a link; nobody else sees it. When it is used, all his sessions end."""
    found = parse_id(user_id)
    if found is None:
        raise UserNotFound("User not found")
    await service.send_password_link(accounts, db, found, caller=caller, at=at)
    return _accepted("A letter is on its way to the owner of the account.")


# ------------------------------------------------------------------------------------------------------ another address


@router.post(
    "/auth/change-email",
    status_code=202,
    response_model=Accepted,
    operation_id="change_email",
    summary="Ask for another address",
    responses=responses(*_OWN, ReauthenticationNeeded, EmailInvalid, TooMany, *WRITING),
)
async def change_email(request: Request, accounts: Here, caller: FreshSession, data: EmailAsked) -> Response:
    """Send a link to the new address. Nothing changes before it is opened; the answer is the same for all addresses."""
    await service.ask_for_email(accounts, caller, data.email, address=_address(request), language=language_of(request))
    return _accepted("A letter is on its way to the new address. Open its link to confirm it.")


@router.get(
    "/auth/confirm-email",
    operation_id="show_confirm_page",
    **_shown("The page that a link confirming a new address leads to"),
)
async def show_confirm_page(accounts: Here, at: Now, shown: ConfirmPage, token: LinkToken) -> Response:
    """Show a form. It spends nothing: what the link is for is done by POST."""
    opened, user = await plans.look(accounts, "change_email", token, at=at)
    return shown.form(token=token, email=opened.email, choose=user.email_verified_at is None)


@router.post(
    "/auth/confirm-email",
    response_model=UserRead,
    operation_id="confirm_email",
    summary="Confirm another address",
    responses=responses(LinkInvalid, EmailTaken, *_PASSWORD, *WRITING),
)
@with_forms
async def confirm_email(request: Request, accounts: Here, shown: ConfirmPage, db: Db, at: Now, data: Proof) -> Response:
    """Spend the token of a letter: the account has the new address. The old one is told, and can undo it for 7 days."""
    row = await service.confirm_email(accounts, db, data.token, data.password, at=at, language=language_of(request))
    return shown.done(dump_user(row), email=row[service.EMAIL])


@router.get(
    "/auth/undo-email",
    operation_id="show_undo_page",
    **_shown("The page that a link undoing a change of address leads to"),
)
async def show_undo_page(accounts: Here, at: Now, shown: UndoPage, token: LinkToken) -> Response:
    """Show a form. It spends nothing: what the link is for is done by POST."""
    opened, _ = await plans.look(accounts, "undo_email", token, at=at)
    return shown.form(token=token, email=opened.email)


@router.post(
    "/auth/undo-email",
    response_model=UserRead,
    operation_id="undo_email",
    summary="Undo a change of address",
    responses=responses(LinkInvalid, EmailTaken, *WRITING),
)
@with_forms
async def undo_email(request: Request, accounts: Here, shown: UndoPage, db: Db, at: Now, data: Undoing) -> Response:
    """Spend the token of a letter: the account has its old address again. Its sessions, keys and password end, and a
    link for a new password is sent to that address.
    """
    row = await service.undo_email(accounts, db, data.token, at=at, language=language_of(request))
    return shown.done(dump_user(row), email=row[service.EMAIL])


# ------------------------------------------------------------------------------------------------------------ own data


@router.get(
    "/users/me/data",
    response_model=OwnData,
    operation_id="download_own_data",
    summary="Download all that is stored about you",
    responses=responses(*_OWN, ReauthenticationNeeded, *ANY),
)
async def download_own_data(accounts: Here, caller: FreshSession) -> Response:
    """Give everything that is stored about your account, but for passwords, tokens and their digests."""
    held = await service.own_data(accounts, caller)
    headers = {"Content-Disposition": 'attachment; filename="my-data.json"'}
    return Response(to_json(held, indent=2), media_type="application/json", headers=headers)
