"""The mail server that `DENIZEN_MAIL_URL` names, spoken to through aiosmtplib."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import unquote, urlsplit

from denizen.mail.adapters.message import Envelope, sender_of
from denizen.mail.errors import MailNotSent, MailServerMissing
from denizen.settings import Settings

if TYPE_CHECKING:
    from aiosmtplib import SMTP

ANSWER_SECONDS: Final = 15.0
"""For a connection, and for each answer of the server. RFC 5321 section 4.5.3.2 would wait for minutes, and it may: a
mail that was given up here is tried again."""

LETTER_SECONDS: Final = 60.0
"""For one letter, connection included."""

_CLOSING: Final = 421
_MAX_SAID: Final = 300


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mails are handed over.

    Attributes:
        tls: from the first byte (`smtps://`). Otherwise STARTTLS, where it is offered or there is a password: then a
            server that does not offer it gets neither.
        name: what this side calls itself.
    """

    host: str
    port: int
    tls: bool
    user: str | None
    password: str | None = field(repr=False)
    name: str

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Read the setting.

        Raises:
            MailServerMissing: it is not set.
        """
        if settings.mail_url is None:
            raise MailServerMissing("There is no mail server: DENIZEN_MAIL_URL is not set.")
        parts = urlsplit(settings.mail_url)
        tls = parts.scheme == "smtps"
        user = unquote(parts.username) if parts.username else None
        port = parts.port or (465 if tls else 25 if user is None else 587)
        password = None if parts.password is None else unquote(parts.password)
        return cls(parts.hostname or "", port, tls, user, password, sender_of(settings).domain)

    @property
    def where(self) -> str:
        """Host and port."""
        return f"{self.host}:{self.port}"


class Connection:
    """A connection to the mail server, opened for the first letter and kept for those after it."""

    def __init__(self, server: MailServer) -> None:
        self._server = server
        self._smtp: SMTP | None = None

    async def open(self) -> SMTP:
        """Connect, encrypt and sign in, unless that is done.

        Raises:
            MailNotSent: the server cannot be used.
        """
        from aiosmtplib import SMTP, SMTPException  # 40 ms, and only where mails are sent

        if self._smtp is not None and self._smtp.is_connected:
            return self._smtp
        server = self._server
        smtp = SMTP(
            hostname=server.host,
            port=server.port,
            username=server.user,
            password=server.password,
            use_tls=server.tls,
            start_tls=None if server.tls or server.user is None else True,
            local_hostname=server.name,  # by itself the library asks the DNS
            timeout=ANSWER_SECONDS,
        )
        try:
            async with asyncio.timeout(LETTER_SECONDS):
                await smtp.connect()
                if smtp.is_ehlo_or_helo_needed:
                    await smtp.ehlo()
        except (SMTPException, OSError, TimeoutError) as error:
            smtp.close()
            raise _server_fault(server, error) from None
        self._smtp = smtp
        return smtp

    async def send(self, envelope: Envelope) -> str:
        """Hand a letter over; give what the server said.

        Raises:
            MailNotSent: it did not take the letter, or nobody knows whether it did.
        """
        from aiosmtplib import SMTPException

        try:
            async with asyncio.timeout(LETTER_SECONDS):
                smtp = await self.open()
                options = ["SMTPUTF8"] if envelope.needs_utf8 else []
                _, said = await smtp.sendmail(
                    envelope.sender, [envelope.recipient], envelope.content, mail_options=options
                )
        except (SMTPException, OSError, TimeoutError, ValueError) as error:
            failure = _letter_fault(error)
            if failure.reply is None or failure.reply == _CLOSING:
                self.drop()  # after a time-out nobody knows which answer would come next
            raise failure from None
        except BaseException:
            self.drop()
            raise
        return _cut(said)

    def drop(self) -> None:
        """Close it without a word."""
        if self._smtp is not None:
            self._smtp.close()
            self._smtp = None

    async def close(self) -> None:
        """Take leave, as far as the server listens."""
        from aiosmtplib import SMTPException

        if self._smtp is not None and self._smtp.is_connected:
            with suppress(SMTPException, OSError, TimeoutError):
                await self._smtp.quit(timeout=2)
        self.drop()


def _server_fault(server: MailServer, error: Exception) -> MailNotSent:
    """Say why a server cannot be used. aiosmtplib's sentences name host and port, and never the password."""
    reply = getattr(error, "code", None)
    said = "no answer in time" if isinstance(error, TimeoutError) and not str(error) else _said(error)
    return MailNotSent(
        "The mail server cannot be used.",
        private=f"The mail server {server.where} cannot be used: {said}",
        fault="server",
        reply=reply if isinstance(reply, int) else None,
    )


def _letter_fault(error: Exception) -> MailNotSent:
    """Say why a letter did not go. A refusal of the recipient or of the letter is final, one of the sender is not:
    its reason is in the settings, which can be mended while the letters wait.
    """
    from aiosmtplib import SMTPDataError, SMTPNotSupported, SMTPRecipientsRefused, SMTPResponseException

    if isinstance(error, MailNotSent):
        return error
    if isinstance(error, SMTPRecipientsRefused):
        error = error.recipients[0]
        final = error.code >= 500
    else:
        final = isinstance(error, SMTPNotSupported | ValueError) or (
            isinstance(error, SMTPDataError) and error.code >= 500
        )
    reply = error.code if isinstance(error, SMTPResponseException) else None
    return MailNotSent(
        "The mail server did not take this mail.",
        private=f"The mail server did not take this mail: {_said(error)}",
        fault="letter" if final else "chance",
        reply=reply,
    )


def _said(error: Exception) -> str:
    code, message = getattr(error, "code", None), getattr(error, "message", None) or str(error)
    words = f"{code} {message}" if isinstance(code, int) and code > 0 else message or type(error).__name__
    return _cut(words)


def _cut(words: str) -> str:
    return " ".join(words.split())[:_MAX_SAID]
