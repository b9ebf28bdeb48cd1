"""Who knows the callers of an application: an install in it, a standalone Denizen elsewhere, or a test.

What routes ask for (`CurrentCaller`, `CurrentUser`, `requires`) asks a `Home` and does not know which of them it is, so
that one application runs with each. Only what needs our tables (`Db`, `ReadDb`, `Here`) wants an install.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, Protocol

from denizen.core.auth import Caller

STATE: Final = "denizen_installs"
"""The name in `app.state` under which an application keeps its homes."""


class Home(Protocol):
    """As much as the dependencies of routes ask of whoever knows the callers."""

    @property
    def prefix(self) -> str:
        """What tells it from others in one application: `""`, or `/accounts`."""
        ...

    @property
    def clock(self) -> Callable[[], datetime]:
        """Gives the present, in UTC."""
        ...

    @property
    def reauthentication_timeout(self) -> float:
        """Seconds for which somebody who proved who he is may do what `FreshSession` guards."""
        ...

    async def recognise(self, authorization: str | None, at: datetime) -> Caller | None:
        """Find the caller that an `Authorization` header names; `None` where there is no header.

        Raises:
            CredentialsInvalid: it opens nothing.
            Unavailable: whoever knows is away.
        """
        ...

    async def find_user(self, caller: Caller) -> Mapping[str, Any] | None:
        """Give the account of a caller who is a person, as the fields that `GET /users/me` answers with (`UserRead`);
        `None` where there is none any more.

        Raises:
            Unavailable: whoever knows is away.
        """
        ...


def homes_of(app: Any) -> list[Home]:
    """Give what knows the callers of `app`: its installs, or what stands for one."""
    found: list[Home] = getattr(app.state, STATE, [])
    return found


def add_home(app: Any, home: Home) -> None:
    """Let the routes of `app` ask `home`.

    Raises:
        ValueError: there is one under its prefix already.
    """
    homes = homes_of(app)
    if any(other.prefix == home.prefix for other in homes):
        raise ValueError(f"Denizen is already installed in this application under {home.prefix or '/'!r}")
    setattr(app.state, STATE, [*homes, home])
