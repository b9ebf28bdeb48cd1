"""One installed Denizen: its settings, its database and what its rooms share. Nothing of it lives at module level."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.auth import Caller, CredentialsInvalid
from denizen.core.database import Database
from denizen.core.events import INSTALL, Listener
from denizen.core.hashing import HashPool
from denizen.core.paging import CursorSigner
from denizen.core.passwords import PasswordPolicy
from denizen.core.rates import RateLimiter
from denizen.core.secret import Secret
from denizen.settings import Settings


def utc_now() -> datetime:
    """Give this instant, in UTC."""
    return datetime.now(UTC)  # noqa: TID251  (the one source of time; the rest takes it as an argument)


MAX_TOKEN_LENGTH = 4096


@dataclass(slots=True, weakref_slot=True, kw_only=True, eq=False)
class Accounts:
    """What `install` gives back.

    Attributes:
        settings: as the operator set them.
        database: this install's own.
        hashing: the threads that hash passwords.
        passwords: what a password must be.
        cursors: signs the cursors of lists.
        secret: derives what else only this install can make.
        sign_up_limits: how often one address, and everybody together, may sign up without credentials.
        authenticators: recognise callers, in order.
        listeners: told every event.
        prefix: where the routes are, `""` or `/accounts`.
        clock: gives the present; tests turn it.
        noticed: last uses of credentials that wait to be written, by their id.
        batching: held by the one batch that may be written at a time, so that others come in between.
        uploads: the files that are being imported over HTTP and lie on this machine's disk meanwhile.
        closing: awaited by `close`, the last first, while everything is still open.
    """

    settings: Settings
    database: Database
    hashing: HashPool
    passwords: PasswordPolicy
    cursors: CursorSigner
    secret: Secret
    sign_up_limits: tuple[RateLimiter, RateLimiter]
    authenticators: tuple[Authenticator, ...]
    listeners: tuple[Listener, ...] = ()
    prefix: str = ""
    clock: Callable[[], datetime] = utc_now
    noticed: dict[Any, datetime] = field(default_factory=dict)
    batching: asyncio.Lock = field(default_factory=asyncio.Lock)
    uploads: set[object] = field(default_factory=set)
    closing: list[Callable[[], Awaitable[None]]] = field(default_factory=list)

    def public_url(self, path: str) -> str:
        """Give the address of `path` as people reach it: from `DENIZEN_BASE_URL`, never from a request."""
        return f"{self.settings.base_url.rstrip('/')}{self.prefix}{path}"

    @asynccontextmanager
    async def writing(self, *, timeout: float | None = None) -> AsyncIterator[AsyncSession]:
        """Open a transaction whose events reach this install's listeners; see `Writer.begin`."""
        async with self.database.write.begin(timeout=timeout) as db:
            self.adopt(db)
            yield db

    def adopt(self, db: AsyncSession) -> None:
        """Bind a session that the caller made himself to this install, for as long as it lives.

        What `change_user`, `erase_user` and the rest do in it is then told to this install's listeners, which write
        into the same transaction: undone with it, and committed by whoever made the session, never by us. Sessions from
        `writing` and `Db` are bound, and `create_account` binds the one it is given. To bind twice changes nothing.

        Args:
            db: a session on this install's database, which is not checked.

        Raises:
            ValueError: it is bound to another install.
        """
        bound = db.info.setdefault(INSTALL, self)
        if bound is not self:
            raise ValueError(
                f"This session belongs to the install under {bound.prefix!r}, not to the one under {self.prefix!r}: "
                "in one transaction there is one install."
            )

    def check_password(self, password: str, *context: str | None) -> None:
        """Refuse a bad password; what the site is called counts as context too. The same on every path that sets one.

        Raises:
            PasswordRefused: one of its subclasses.
        """
        host = urlsplit(self.settings.base_url).hostname
        self.passwords.check(password, context=(self.settings.site_name, host, *context))

    async def recognise(self, authorization: str | None, at: datetime) -> Caller | None:
        """Find the caller that an `Authorization` header names.

        Args:
            authorization: the header's value; `None` where there is none.
            at: the instant to judge expiry by, in UTC.

        Returns:
            The caller, or `None` where there is no header.

        Raises:
            CredentialsInvalid: another scheme than Bearer, or a token that opens nothing.
        """
        if authorization is None:
            return None
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token or len(token) > MAX_TOKEN_LENGTH:
            raise CredentialsInvalid("Send `Authorization: Bearer` and a token.")
        for authenticator in self.authenticators:
            caller = await authenticator(self, token, at)
            if caller is not None:
                return caller
        raise CredentialsInvalid("These credentials are unknown, expired or revoked.")

    async def close(self) -> None:
        """Let jobs do what they do last, then let go of threads and connections. The next use opens them anew."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.database.close)
            stack.callback(self.hashing.close)
            for act in self.closing:
                stack.push_async_callback(act)
        self.batching = asyncio.Lock()  # a lock belongs to the event loop that waited for it


Authenticator = Callable[[Accounts, str, datetime], Awaitable[Caller | None]]
"""Recognises the bearer of a token at an instant (UTC).

Gives `None` for a token that is not of its kind (by prefix alone, without asking the database), raises
`CredentialsInvalid` for one that is and opens nothing. Reads on the reading connections only: a write lock must not be
held while a caller is recognised.
"""
