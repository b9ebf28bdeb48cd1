"""A real mail server, which also refuses, stalls, and dies between taking a mail and saying so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from denizen.core.accounts import Accounts
from denizen.core.assembly import assemble
from denizen.core.hashers import NullHasher
from denizen.features import FEATURES
from denizen.mail import crud, service
from denizen.mail.models import Mail
from denizen.settings import Settings
from tests.conftest import Clock

LINK = "https://accounts.example.com/auth/verify?token=dzo_AbCdEfGhIjKlMnOpQrStUvWx"


@dataclass
class Postbox:
    """The server, and what came to it.

    Attributes:
        refusals: what is answered to recipients; of those that are not there, yes.
        refused_senders: what is answered to every sender.
        stalls: it takes connections and says nothing.
        cuts: how many mails it takes and then breaks off.
        password: the one it takes; without it, it asks for none.
        tls: its certificate; without it, it offers no STARTTLS.
        utf8: it takes addresses whose local part is not ASCII.
    """

    port: int = 0
    received: list[EmailMessage] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    refusals: dict[str, str] = field(default_factory=dict)
    refused_senders: str = ""
    stalls: bool = False
    cuts: int = 0
    password: str | None = None
    tls: Any = None
    utf8: bool = True
    connections: int = 0
    passwords_seen: list[bytes] = field(default_factory=list)
    server: asyncio.Server | None = None
    open: set[Any] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Listen, on the port it had before if there was one."""
        loop = asyncio.get_running_loop()
        self.server = await loop.create_server(self._protocol, "127.0.0.1", self.port)
        self.port = self.server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening, and break off every connection."""
        if self.server is not None:
            self.server.close()
            for protocol in self.open:
                if protocol.transport is not None:
                    protocol.transport.abort()
            await asyncio.sleep(0)
            self.server = None

    def _protocol(self) -> asyncio.BaseProtocol:
        self.connections += 1
        if self.stalls:
            return asyncio.Protocol()
        options: dict[str, Any] = {"enable_SMTPUTF8": self.utf8}
        if self.password is not None:
            options |= {"authenticator": self._authenticate, "auth_required": True, "auth_require_tls": True}
        protocol = _Smtp(self, loop=asyncio.get_running_loop(), tls_context=self.tls, hostname="localhost", **options)
        self.open.add(protocol)
        return protocol

    def _authenticate(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        self.passwords_seen.append(data.password)
        fits = self.password is not None and data.password == self.password.encode()
        return AuthResult(success=fits, handled=False)

    async def handle_MAIL(self, server: Any, session: Session, envelope: Envelope, address: str, options: Any) -> str:  # noqa: N802  (as aiosmtpd calls it)
        if self.refused_senders:
            return self.refused_senders
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(self, server: Any, session: Session, envelope: Envelope, address: str, options: Any) -> str:  # noqa: N802  (as aiosmtpd calls it)
        if address in self.refusals:
            return self.refusals[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Session, envelope: Envelope) -> str:  # noqa: N802  (as aiosmtpd calls it)
        content = envelope.content if isinstance(envelope.content, bytes) else b""
        self.received.append(message_from_bytes(content, policy=policy.default))
        self.recipients += envelope.rcpt_tos
        if self.cuts:
            self.cuts -= 1
            server.transport.abort()
        return "250 Queued"


class _Smtp(SMTP):
    """aiosmtpd's protocol; cut off in the middle it has nothing to complain about."""

    async def _handle_client(self) -> None:
        with suppress(ConnectionError, asyncio.CancelledError):
            await super()._handle_client()


@pytest.fixture
async def postbox() -> AsyncIterator[Postbox]:
    """A mail server that takes everything."""
    box = Postbox()
    await box.start()
    yield box
    await box.stop()


@pytest.fixture
def overrides(postbox: Postbox) -> dict[str, Any]:
    """Mails go to the test's server."""
    return {"mail_url": postbox.url, "mail_from": "Example <accounts@example.com>"}


@pytest.fixture
async def accounts(settings: Settings, clock: Clock) -> AsyncIterator[Accounts]:
    """An install without an application: nothing is sent until a test says so."""
    accounts = assemble(settings, FEATURES, hasher=NullHasher(), clock=clock)
    yield accounts
    await accounts.close()


@pytest.fixture
async def other(settings: Settings, clock: Clock) -> AsyncIterator[Accounts]:
    """Another process's, on the same database."""
    accounts = assemble(settings, FEATURES, hasher=NullHasher(), clock=clock)
    yield accounts
    await accounts.close()


Post = Callable[..., Awaitable[Mail]]


@pytest.fixture
def post(accounts: Accounts) -> Post:
    """Put a letter into the outbox."""

    async def put(to: str = "ada@example.org", template: str = "verify", **values: Any) -> Mail:
        given = {"link": LINK, "hours": 24} if template == "verify" else {}
        async with accounts.writing() as db:
            return await service.post(accounts, db, template, to=to, at=accounts.clock(), values={**given, **values})

    return put


async def until(holds: Callable[[], object]) -> None:
    """Wait until something holds; the test's own time-out ends it."""
    while not holds():  # noqa: ASYNC110  (it is the other side of a socket that makes it so)
        await asyncio.sleep(0.01)


async def read(accounts: Accounts, mail: Mail) -> Mail:
    """Read a mail as it is stored now."""
    async with accounts.database.read.session() as db:
        return await crud.get_mail(db, mail.id)
