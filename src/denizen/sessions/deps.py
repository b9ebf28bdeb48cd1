"""What routes ask for that are about the account of whoever has signed in.

| annotation | gives |
| --- | --- |
| `CurrentSession` | the caller who has signed in; 403 for a key |
| `OwnSession` | the same, and he is himself: nobody acts in his place |
| `FreshSession` | the same, and he has proved who he is just now |
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import Depends, Response

from denizen.core.accounts import Accounts
from denizen.core.auth import Caller, NotWhileImpersonating, ReauthenticationNeeded, SessionNeeded
from denizen.core.cookies import csrf_token, set_cookie
from denizen.core.deps import Bearer, Which
from denizen.sessions.models import Session
from denizen.sessions.schemas import SignInRead


class SessionBearer(Bearer):
    """Recognises whoever has signed in, in one dependency.

    Args:
        which: the install whose caller it is.
        own: refuse those who act in somebody else's place.
        fresh: refuse those who proved who they are longer ago than `DENIZEN_REAUTHENTICATION_TIMEOUT`.
    """

    def __init__(self, *, which: Which = None, own: bool = False, fresh: bool = False) -> None:
        super().__init__(which=which)
        self._own = own or fresh
        self._fresh = fresh

    def judge(self, caller: Caller, accounts: Accounts) -> None:
        """Refuse a caller who is known and may not.

        Raises:
            SessionNeeded: a key.
            NotWhileImpersonating: somebody in somebody else's place.
            ReauthenticationNeeded: he proved who he is too long ago.
        """
        if caller.kind != "session":
            raise SessionNeeded("This is about the account of whoever calls: sign in for it, a key has no account.")
        if self._own and caller.impersonator_id is not None:
            raise NotWhileImpersonating("This is for the owner of the account alone.")
        if self._fresh:
            recent = accounts.clock() - timedelta(seconds=accounts.settings.reauthentication_timeout)
            if caller.authenticated_at is None or caller.authenticated_at < recent:
                raise ReauthenticationNeeded("Prove first who you are: POST /auth/reauthenticate.")


CurrentSession = Annotated[Caller, Depends(SessionBearer())]
OwnSession = Annotated[Caller, Depends(SessionBearer(own=True))]
FreshSession = Annotated[Caller, Depends(SessionBearer(fresh=True))]


def answer_sign_in(accounts: Accounts, session: Session, token: str, *, cookie: bool, status: int = 200) -> Response:
    """PLACEHOLDER until branch signin."""
    content = SignInRead(
        access_token=None if cookie else token,
        user_id=session.user_id,
        csrf_token=csrf_token(accounts, token) if cookie else None,
    )
    answer = Response(content.model_dump_json(), status, {"Cache-Control": "no-store"}, "application/json")
    if cookie:
        set_cookie(answer, accounts, token, max_age=int(accounts.settings.session_lifetime))
    return answer
