"""What routes ask for by annotation: the person who calls; and what they ask about somebody else's account.

| annotation | gives |
| --- | --- |
| `CurrentUser` | the account of whoever calls, as `GET /users/me` shows it; 401 for nobody, 403 for an operator's key |
| `OptionalUser` | the same, or `None` for nobody and for an operator's key; bad credentials are a 401 all the same |
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Query, Request
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import HTTPConnection

from denizen.core.auth import Caller, CredentialsInvalid, Scope, ScopeMissing, SessionNeeded
from denizen.core.deps import Bearer, Which, accounts_of, home_of
from denizen.core.origin import CALLER
from denizen.users.errors import UserNotFound
from denizen.users.schemas import UserRead


class UserBearer(Bearer):
    """Recognises a person and reads his account, in one dependency.

    Args:
        scopes: all of which the caller must hold.
        which: the home whose caller he is.
        optional: `None` for nobody, and for a key that is nobody's.
    """

    def __init__(self, *scopes: str, which: Which = None, optional: bool = False) -> None:
        super().__init__(*scopes, which=which, optional=optional)
        self._of_all = optional

    async def __call__(self, request: HTTPConnection) -> Any:
        """Give the account, or refuse.

        Raises:
            SessionNeeded: the key of no person.
            CredentialsInvalid: his account went while he was recognised; else as `Bearer`.
        """
        caller = await super().__call__(request)
        if caller is None or (caller.user_id is None and self._of_all):
            return None
        own_id(caller)
        found = await home_of(request, self.which).find_user(caller)
        if found is None:
            raise CredentialsInvalid("These credentials are unknown, expired or revoked.")
        return UserRead.model_validate(found)


CurrentUser = Annotated[UserRead, Depends(UserBearer())]
OptionalUser = Annotated[UserRead | None, Depends(UserBearer(optional=True))]


class PersonBearer(Bearer):
    """Recognises a person: one who has signed in, or whose key it is. An operator's key is nobody's."""

    async def __call__(self, request: HTTPConnection) -> Any:
        """Recognise the person, or refuse.

        Raises:
            SessionNeeded: the key of no person; else as `Bearer`.
        """
        caller = await super().__call__(request)
        assert caller is not None  # noqa: S101  (it is not optional here)
        own_id(caller)
        return caller


CurrentPerson = Annotated[Caller, Depends(PersonBearer())]


def own_id(caller: Caller) -> UUID:
    """Give the id of whoever calls.

    Raises:
        SessionNeeded: an operator's key.
    """
    if caller.user_id is None:
        raise SessionNeeded("This is about the account of whoever calls: sign in for it, this key has no account.")
    return caller.user_id


def must_reach(caller: Caller, user_id: UUID, scope: Scope) -> None:
    """Let somebody come to his own account, and to others with `scope`.

    Raises:
        UserNotFound: he may not know whether there is such an account.
        ScopeMissing: he may know, and lacks the scope.
    """
    if caller.is_self(user_id) or caller.may(scope):
        return
    if not sees_others(caller):
        raise UserNotFound("User not found") from caller.lacks(scope)
    caller.must(scope)


class OneBearer(Bearer):
    """Recognises who comes to one account, that of the path. Who may see no other accounts is told that there is none,
    instead of what he lacks.
    """

    async def __call__(self, request: HTTPConnection) -> Any:
        """Recognise the caller, or refuse.

        Raises:
            UserNotFound: he lacks a scope, and may not know whether there is such an account; else as `Bearer`.
        """
        try:
            return await super().__call__(request)
        except ScopeMissing as missing:
            caller: Caller = request.scope[CALLER]
            own = caller.user_id is not None and request.path_params["user_id"] == str(caller.user_id)
            if not own and not sees_others(caller):
                raise UserNotFound("User not found") from missing
            raise


CanReadUser = Annotated[Caller, Depends(OneBearer(Scope.USERS_READ))]
CanWriteUser = Annotated[Caller, Depends(OneBearer(Scope.USERS_WRITE))]


def sees_others(caller: Caller) -> bool:
    """Whether somebody may know which accounts there are."""
    return caller.may(Scope.USERS_READ) or caller.may(Scope.USERS_WRITE)


@dataclass(frozen=True, slots=True)
class Trial:
    """The session of an act that may be tried out.

    Attributes:
        db: it reads where the act is only tried, and writes otherwise.
        dry: whether it is.
    """

    db: AsyncSession
    dry: bool


async def trial_of(
    request: Request,
    dry_run: Annotated[
        bool, Query(description="Delete nothing: a 200 that tells what would be. Takes `users:write`.")
    ] = False,
) -> AsyncIterator[Trial]:
    """Open the session; a dry run holds up nobody who writes, and its connection refuses to."""
    accounts = accounts_of(request)
    opened: AbstractAsyncContextManager[AsyncSession] = accounts.database.read.slow() if dry_run else accounts.writing()
    async with opened as db:
        accounts.adopt(db)
        yield Trial(db, dry_run)


MaybeDry = Annotated[Trial, Depends(trial_of, scope="function")]
