"""What happens to refresh tokens. That they are exchanged, every minute, is not told."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from denizen.core.events import Event


@dataclass(frozen=True, slots=True)
class RefreshIssued(Event):
    """Somebody who had signed in was given a first refresh token."""

    action = "refresh_token.created"

    user_id: UUID
    session_id: UUID


@dataclass(frozen=True, slots=True)
class RefreshReused(Event):
    """A refresh token was shown that had been spent: it is in two hands, so that its sign-in was ended."""

    action = "refresh_token.reused"

    user_id: UUID
    session_id: UUID
