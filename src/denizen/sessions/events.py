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


@dataclass(frozen=True, slots=True)
class Reauthenticated(Event):
    """Somebody who had signed in proved anew who he is, and got another token.

    Attributes:
        session_id: his sign-in.
    """

    action = "session.reauthenticated"

    user_id: UUID
    session_id: UUID


@dataclass(frozen=True, slots=True)
class Impersonated(Event):
    """Somebody began to act in somebody else's place.

    Attributes:
        user_id: in whose.
        session_id: the sign-in by which he does.
        impersonator_id: who.
    """

    action = "session.impersonated"

    user_id: UUID
    session_id: UUID
    impersonator_id: UUID
