"""What can go wrong with signing in without a password."""

from __future__ import annotations

from denizen.core.errors import NotFound


class PasswordlessOff(NotFound):
    """Nobody signs in by links and codes here: `DENIZEN_PASSWORDLESS`."""

    code = "passwordless_off"
    title = "Not offered here"
