"""What can go wrong with sign-ins."""

from __future__ import annotations

from denizen.core.errors import Conflict, NotFound, Unauthorized


class SignInFailed(Unauthorized):
    """The name and the password do not fit, or nobody signs in to this account just now; which of them is not said."""

    code = "sign_in_failed"
    title = "Sign-in failed"


class SessionNotFound(NotFound):
    """There is no such sign-in, or it is somebody else's."""

    code = "session_not_found"
    title = "Session not found"


class AccountNotInUse(Conflict):
    """Nobody signs in to this account just now: it is suspended, or not active."""

    code = "account_not_in_use"
    title = "Account not in use"
