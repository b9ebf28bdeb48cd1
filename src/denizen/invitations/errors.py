"""What can go wrong with invitations."""

from __future__ import annotations

from denizen.core.errors import Conflict, Invalid, NotFound


class InvitationNotFound(NotFound):
    """No such invitation."""

    code = "invitation_not_found"
    title = "Invitation not found"


class InvitationUsed(Conflict):
    """The invitation was accepted, so that it can be neither taken back nor sent again."""

    code = "invitation_used"
    title = "Invitation already accepted"


class InvitationExpiryInvalid(Invalid):
    """The invitation would have ended before it began, or would live for more than a year."""

    code = "invitation_expiry_invalid"
    title = "Expiry not valid"


class InvitationEmailFixed(Invalid):
    """The invitation was sent to an address, which is the account's."""

    code = "invitation_email_fixed"
    title = "The invitation names the address"


class InvitationBeyondInviter(Conflict):
    """Whoever invited may not give these roles any more, or one of them is gone."""

    code = "invitation_beyond_inviter"
    title = "The inviter may not give this any more"
