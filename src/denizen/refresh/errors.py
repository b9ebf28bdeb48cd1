"""What can go wrong with refresh tokens."""

from __future__ import annotations

from denizen.core.errors import Unauthorized


class RefreshFailed(Unauthorized):
    """The refresh token is unknown or spent, or its sign-in is over; which of them is not said."""

    code = "refresh_failed"
    title = "Sign in again"
