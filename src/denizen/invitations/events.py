"""What happens to invitations."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from denizen.core.events import Event


@dataclass(frozen=True, slots=True)
class InvitationCreated(Event):
    """Somebody was asked in.

    Attributes:
        roles: what accepting it gives.
    """

    action = "invitation.created"
    subject = "invitation_id"

    invitation_id: UUID
    roles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class InvitationSentAgain(Event):
    """An invitation has another link; the one before opens nothing any more."""

    action = "invitation.sent_again"
    subject = "invitation_id"

    invitation_id: UUID


@dataclass(frozen=True, slots=True)
class InvitationRevoked(Event):
    """An invitation was taken back."""

    action = "invitation.revoked"
    subject = "invitation_id"

    invitation_id: UUID


@dataclass(frozen=True, slots=True)
class InvitationAccepted(Event):
    """An account came of an invitation.

    Attributes:
        invitation_id: which.
        user_id: of the account.
    """

    action = "invitation.accepted"
    subject = "invitation_id"

    invitation_id: UUID
    user_id: UUID
