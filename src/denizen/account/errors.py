"""What can go wrong with what people do to their own account."""

from __future__ import annotations

from denizen.core.errors import Conflict


class EmailMissing(Conflict):
    """The account has no e-mail address, so that nothing can be sent to its owner."""

    code = "email_missing"
    title = "No e-mail address"
