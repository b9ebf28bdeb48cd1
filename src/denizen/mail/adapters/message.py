"""A letter as RFC 5322 wants it written down.

Headers are set through `email.message.EmailMessage`, which refuses line breaks in them: nothing that a letter says can
add a header or a recipient.
"""

from __future__ import annotations

from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import parseaddr
from typing import Final, NamedTuple
from urllib.parse import urlsplit
from uuid import UUID

from email_validator import EmailNotValidError, validate_email

from denizen.mail.errors import MailNotSent
from denizen.mail.values import Letter
from denizen.settings import Settings

_SEVEN_BITS: Final = SMTP.clone(cte_type="7bit")
_EIGHT_BITS: Final = _SEVEN_BITS.clone(utf8=True)


class Envelope(NamedTuple):
    """A message and the way it goes.

    Attributes:
        needs_utf8: an address has a local part beyond ASCII, which the server must take (SMTPUTF8, RFC 6531).
    """

    sender: str
    recipient: str
    content: bytes
    needs_utf8: bool


def sender_of(settings: Settings) -> Address:
    """Give who mails come from."""
    if settings.mail_from is None:
        host = urlsplit(settings.base_url).hostname or "localhost"
        domain = "localhost" if ":" in host or host.replace(".", "").isdigit() else host
        return Address(settings.site_name, "no-reply", domain)
    name, address = parseaddr(settings.mail_from)
    local, _, domain = address.rpartition("@")
    return Address(name, local, _in_ascii(domain))


def compose(letter: Letter, *, mail_id: UUID, to: str, written_at: datetime, settings: Settings) -> Envelope:
    """Write a letter down. The same one always gives the same `Message-ID` and `Date`: who gets it twice, because a
    server broke off before it answered, can tell.

    Raises:
        MailNotSent: no mail goes to this address.
    """
    sender = sender_of(settings)
    recipient = _recipient(to)
    needs_utf8 = not (recipient.isascii() and sender.addr_spec.isascii())
    message = EmailMessage(_EIGHT_BITS if needs_utf8 else _SEVEN_BITS)
    message["From"] = sender
    message["To"] = recipient
    message["Subject"] = letter.subject
    message["Date"] = written_at
    message["Message-ID"] = f"<{mail_id}@{sender.domain}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's holiday notice comes back
    message.set_content(letter.text)
    if letter.html is not None:
        message.add_alternative(letter.html, subtype="html")
    return Envelope(sender.addr_spec, recipient, message.as_bytes(), needs_utf8)


def _recipient(address: str) -> str:
    """Give an address as it is sent to: in ASCII where that can be."""
    try:
        found = validate_email(address, check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        sentence = "No mail can be sent to this address."
        raise MailNotSent(sentence, private=sentence, fault="letter") from None
    return found.ascii_email or f"{found.local_part}@{found.ascii_domain}"


def _in_ascii(domain: str) -> str:
    if domain.isascii():
        return domain
    return validate_email(f"a@{domain}", check_deliverability=False).ascii_domain
