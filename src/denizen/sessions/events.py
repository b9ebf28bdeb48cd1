"""What happens to sign-ins."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from denizen.core.events import Event


@dataclass(frozen=True, slots=True)
class SignedIn(Event):
    """Somebody signed in.

    Attributes:
        session_id: the new sign-in.
        method: how: `password`, `magic_link` ...
    """

    action = "session.created"

    user_id: UUID
    session_id: UUID
    method: str


@dataclass(frozen=True, slots=True)
class SessionsEnded(Event):
    """Sign-ins of one person ended before their time.

    Attributes:
        ended: how many.
        reason: why: `signed out`, `password changed`, `suspended` ...
    """

    action = "session.ended"

    user_id: UUID
    ended: int
    reason: str
