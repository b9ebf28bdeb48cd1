"""The first administrator's account over HTTP."""

from typing import Annotated

from fastapi import Query, Request, Response

from denizen.core.cookies import CookieRefused, CsrfFailed
from denizen.core.deps import Db, Here, Now
from denizen.core.errors import StorageFull
from denizen.core.hashers import HashingBusy
from denizen.core.identifiers import EmailInvalid, UsernameInvalid
from denizen.core.passwords import PASSWORD
from denizen.core.problems import ANY, responses
from denizen.core.routing import Router, with_forms
from denizen.founder import service
from denizen.founder.errors import AdministratorExists
from denizen.founder.schemas import FirstAdministrator
from denizen.onetime.errors import LinkInvalid
from denizen.pages.deps import FORM, Page, page
from denizen.sessions.deps import admit_sign_in, answer_sign_in
from denizen.sessions.schemas import SignInRead
from denizen.users.errors import EmailTaken, UsernameTaken, UsernameTooSimilar

router = Router(tags=["first administrator"])

_TAKEN = (EmailTaken, UsernameTaken, UsernameTooSimilar)


@router.get(
    "/auth/first-administrator",
    operation_id="show_first_administrator",
    summary="Show the page for the first administrator",
    response_class=Response,
    responses={
        **FORM,
        **responses(LinkInvalid, AdministratorExists, *ANY),
    },
)
async def show_first_administrator(
    accounts: Here,
    at: Now,
    shown: Annotated[Page, page("first_administrator")],
    token: Annotated[str, Query(max_length=64)] = "",
) -> Response:
    """Show what the link opens that `denizen serve` gives. It spends nothing."""
    await service.find_offer(accounts, token, at=at)
    return shown.form(token=token)


@router.post(
    "/auth/first-administrator",
    status_code=201,
    response_model=SignInRead,
    operation_id="create_first_administrator",
    summary="Become the first administrator",
    responses=responses(
        LinkInvalid,
        AdministratorExists,
        CookieRefused,
        CsrfFailed,
        *_TAKEN,
        EmailInvalid,
        UsernameInvalid,
        *PASSWORD,
        HashingBusy,
        StorageFull,
        *ANY,
    ),
)
@with_forms
async def create_first_administrator(
    request: Request,
    accounts: Here,
    shown: Annotated[Page, page("first_administrator")],
    db: Db,
    at: Now,
    data: FirstAdministrator,
) -> Response:
    """Open the account of the first administrator, who may do everything, and sign him in."""
    old = admit_sign_in(request, accounts, by_cookie=data.cookie)
    opened = await service.open_first_administrator(accounts, db, data, at=at, instead_of=old)
    told = shown.done(b"", username=data.username) if shown.html else None
    return answer_sign_in(accounts, opened, by_cookie=data.cookie, at=at, status=201, page=told)
