"""What routes ask for that are about the account of whoever has signed in.

| annotation | gives |
| --- | --- |
| `CurrentSession` | the caller who has signed in; 403 for a key |
| `OwnSession` | the same, and he is himself: nobody acts in his place |
| `FreshSession` | the same, and he has proved who he is just now |
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import Depends, Request, Response

from denizen.core.accounts import Accounts
from denizen.core.auth import Caller, NotWhileImpersonating, ReauthenticationNeeded, Scope, SessionNeeded
from denizen.core.cookies import admit_cookie, cookie_of, csrf_token, set_cookie
from denizen.core.deps import Bearer, Which
from denizen.core.home import Home
from denizen.sessions.schemas import STORED_FIELDS, dump_sign_in
from denizen.sessions.service import Opened


class SessionBearer(Bearer):
    """Recognises whoever has signed in, in one dependency.

    Args:
        scopes: all of which the caller must hold.
        which: the install whose caller it is.
        own: refuse those who act in somebody else's place.
        fresh: refuse those who proved who they are longer ago than `DENIZEN_REAUTHENTICATION_TIMEOUT`.
    """

    def __init__(self, *scopes: Scope, which: Which = None, own: bool = False, fresh: bool = False) -> None:
        super().__init__(*scopes, which=which)
        self._own = own or fresh
        self._fresh = fresh

    def judge(self, caller: Caller, home: Home) -> None:
        """Refuse a caller who is known and may not.

        Raises:
            SessionNeeded: a key.
            NotWhileImpersonating: somebody in somebody else's place.
            ScopeMissing: he lacks a scope.
            ReauthenticationNeeded: he proved who he is too long ago.
        """
        if caller.kind != "session":
            raise SessionNeeded("This is about the account of whoever calls: sign in for it, a key has no account.")
        if self._own and caller.impersonator_id is not None:
            raise NotWhileImpersonating("This is for the owner of the account alone.")
        super().judge(caller, home)
        if self._fresh:
            recent = home.clock() - timedelta(seconds=home.reauthentication_timeout)
            if caller.authenticated_at is None or caller.authenticated_at < recent:
                raise ReauthenticationNeeded("Prove first who you are: POST /auth/reauthenticate.")


CurrentSession = Annotated[Caller, Depends(SessionBearer())]
OwnSession = Annotated[Caller, Depends(SessionBearer(own=True))]
FreshSession = Annotated[Caller, Depends(SessionBearer(fresh=True))]


def admit_sign_in(request: Request, accounts: Accounts, *, by_cookie: bool) -> str | None:
    """Let somebody sign in by cookie, if he wants to; give the token of the sign-in that his browser had, which ends.

    Raises:
        CookieRefused, CsrfFailed: as `core.cookies.admit_cookie`.
    """
    if not by_cookie:
        return None
    admit_cookie(request, accounts)
    return cookie_of(request, accounts)


def answer_sign_in(
    accounts: Accounts,
    opened: Opened,
    *,
    by_cookie: bool,
    at: datetime,
    status: int = 200,
    page: Response | None = None,
) -> Response:
    """Hand somebody what he signed in for: in the answer, or in a cookie, for which `admit_sign_in` was asked before.

    Args:
        accounts: where.
        opened: the sign-in and its token.
        by_cookie: keep it from scripts.
        at: now.
        status: of the answer.
        page: what people are shown instead of the answer for programs; they get it by cookie or not at all.
    """
    session, token = opened
    left = int((session.expires_at - at).total_seconds())
    shown = {"csrf_token": csrf_token(accounts, token)} if by_cookie else {"access_token": token}
    content = dump_sign_in(tuple(getattr(session, name) for name in STORED_FIELDS), expires_in=left, **shown)
    answer = page or Response(content, status, {"Cache-Control": "no-store"}, "application/json")
    if by_cookie:
        set_cookie(answer, accounts, token, max_age=left)
    return answer
