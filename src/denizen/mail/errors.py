"""What can go wrong with mails."""

from __future__ import annotations

from typing import Literal

from denizen.core.errors import Conflict, NotFound, Unavailable


class MailNotFound(NotFound):
    """There is no mail of this id, or it is no longer kept."""

    code = "mail_not_found"
    title = "Mail not found"


class MailServerMissing(Conflict):
    """`DENIZEN_MAIL_URL` is not set, so that there is nobody to hand mails to."""

    code = "mail_server_missing"
    title = "No mail server"


class MailForgotten(Conflict):
    """The mail was sent, and what it said is forgotten."""

    code = "mail_forgotten"
    title = "Mail already sent"


class MailNotSent(Unavailable):
    """The mail server could not be reached, or did not take a mail.

    Args:
        detail: without what the server said, which may repeat addresses.
        private: with it.
        fault: who is to blame: the `server` (others' mails would fare alike), a `chance` (once more may do), or the
            `letter` itself (once more never does).
        reply: the server's code, where it gave one.
    """

    code = "mail_not_sent"
    title = "Mail not sent"

    def __init__(
        self, detail: str, *, private: str, fault: Literal["server", "chance", "letter"], reply: int | None = None
    ) -> None:
        super().__init__(detail, private=private)
        self.fault = fault
        self.reply = reply
