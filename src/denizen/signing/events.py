"""What happens to signing keys."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from denizen.core.events import Event


@dataclass(frozen=True, slots=True)
class SigningKeyMade(Event):
    """There is a new key to sign access tokens.

    Attributes:
        signing_key_id: its `kid`.
        at_once: it signs from now on, and what its predecessors signed is not valid any more.
    """

    action = "signing_key.created"
    subject = "signing_key_id"

    signing_key_id: UUID
    at_once: bool
