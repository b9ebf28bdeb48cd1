"""What happens to API keys."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from denizen.core.events import Event


@dataclass(frozen=True, slots=True)
class KeyCreated(Event):
    """A key was made.

    Attributes:
        user_id: whose it is; `None` for the operator's.
        scopes: what its holder may do.
    """

    action = "key.created"
    subject = "key_id"

    key_id: UUID
    user_id: UUID | None = None
    scopes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KeyRevoked(Event):
    """A key was ended by hand, and with it the keys made with it.

    Attributes:
        revoked: how many keys ended, itself included.
    """

    action = "key.revoked"
    subject = "key_id"

    key_id: UUID
    revoked: int
