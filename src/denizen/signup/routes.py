"""Signing up over HTTP."""

from typing import Annotated

from fastapi import Query, Request, Response

from denizen.core.deps import Db, Here, Now
from denizen.core.errors import TooMany
from denizen.core.hashers import HashingBusy
from denizen.core.identifiers import EmailInvalid, UsernameInvalid
from denizen.core.passwords import PASSWORD
from denizen.core.problems import ANY, WRITING, responses
from denizen.core.routing import Router, with_forms
from denizen.idempotency.deps import REFUSALS, Once
from denizen.onetime.errors import LinkInvalid
from denizen.pages.deps import FORM, Page, page
from denizen.signup import service
from denizen.signup.schemas import Registration, SignUpConfirm
from denizen.users.crud import row_of
from denizen.users.errors import EmailTaken, SignUpClosed, UsernameTaken, UsernameTooSimilar
from denizen.users.routes import NEW_ACCOUNT, answer_sign_up
from denizen.users.schemas import UserCreate, UserRead, dump_user

router = Router(tags=["signing up"])

_TAKEN = (EmailTaken, UsernameTaken, UsernameTooSimilar)


@router.post(
    "/auth/register",
    status_code=201,
    response_model=UserRead,
    operation_id="register",
    summary="Sign up",
    responses={
        **NEW_ACCOUNT,
        **responses(
            SignUpClosed, *_TAKEN, EmailInvalid, UsernameInvalid, *PASSWORD, TooMany, HashingBusy, *REFUSALS, *WRITING
        ),
    },
)
async def register(request: Request, accounts: Here, attempt: Once, db: Db, data: Registration) -> Response:
    """Open an account of one's own: as `POST /users/` does for those who bring no credentials."""
    if accounts.settings.signup == "closed":
        raise SignUpClosed("Nobody signs up here by himself: ask for an invitation.")
    return await answer_sign_up(request, accounts, None, attempt, db, UserCreate(**data.model_dump()))


@router.get(
    "/auth/register/confirm",
    operation_id="show_sign_up",
    summary="Show the page that finishes a sign-up",
    response_class=Response,
    responses={
        **FORM,
        **responses(LinkInvalid, *ANY),
    },
)
async def show_sign_up(
    accounts: Here,
    at: Now,
    shown: Annotated[Page, page("confirm_sign_up")],
    token: Annotated[str, Query(max_length=64)] = "",
) -> Response:
    """Show what the link of a letter opens. It spends nothing."""
    username, email = await service.find_sign_up(accounts, token, at=at)
    return shown.form(token=token, username=username, email=email)


@router.post(
    "/auth/register/confirm",
    status_code=201,
    response_model=UserRead,
    operation_id="confirm_sign_up",
    summary="Finish signing up",
    responses=responses(LinkInvalid, *_TAKEN, UsernameInvalid, *PASSWORD, HashingBusy, *WRITING),
)
@with_forms
async def confirm_sign_up(
    accounts: Here, shown: Annotated[Page, page("confirm_sign_up")], db: Db, at: Now, data: SignUpConfirm
) -> Response:
    """Open the account, whose address is proved by this. Where its name was taken meanwhile, send another one."""
    user = await service.confirm_sign_up(accounts, db, data, at=at)
    answer = shown.done(dump_user(row_of(user)), username=user.username, email=user.email)
    answer.status_code = 201
    answer.headers["location"] = accounts.public_url(f"/users/{user.id}")
    return answer
