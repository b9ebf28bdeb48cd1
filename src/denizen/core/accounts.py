"""One installed Denizen: its settings, its database and what its rooms share. Nothing of it lives at module level."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.auth import Authenticator
from denizen.core.database import Database
from denizen.core.events import LISTENERS, Listener
from denizen.core.feature import Feature
from denizen.core.hashing import Argon2Hasher, Hasher, HashPool
from denizen.core.options import DatabaseOptions
from denizen.core.paging import CursorSigner
from denizen.core.passwords import PasswordPolicy
from denizen.core.rates import LeakyRateLimiter, NullRateLimiter, RateLimiter
from denizen.core.secret import load_secret
from denizen.settings import Settings


def utc_now() -> datetime:
    """Give this instant, in UTC."""
    return datetime.now(UTC)  # noqa: TID251  (the one source of time; the rest takes it as an argument)


@dataclass(slots=True, kw_only=True)
class Accounts:
    """What `install` gives back.

    Attributes:
        settings: as the operator set them.
        database: this install's own.
        hashing: the threads that hash passwords.
        passwords: what a password must be.
        cursors: signs the cursors of lists.
        sign_up_limits: how often one address, and everybody together, may sign up without credentials.
        authenticators: recognise callers, in order.
        listeners: told every event.
        prefix: where the routes are, `""` or `/accounts`.
        clock: gives the present; tests turn it.
        noticed: last uses of credentials that wait to be written, by their id.
    """

    settings: Settings
    database: Database
    hashing: HashPool
    passwords: PasswordPolicy
    cursors: CursorSigner
    sign_up_limits: tuple[RateLimiter, RateLimiter]
    authenticators: tuple[Authenticator, ...]
    listeners: tuple[Listener, ...] = ()
    prefix: str = ""
    clock: Callable[[], datetime] = utc_now
    noticed: dict[Any, datetime] = field(default_factory=dict)

    def public_url(self, path: str) -> str:
        """Give the address of `path` as people reach it: from `DENIZEN_BASE_URL`, never from a request."""
        return f"{self.settings.base_url.rstrip('/')}{self.prefix}{path}"

    @asynccontextmanager
    async def writing(self, *, timeout: float | None = None) -> AsyncIterator[AsyncSession]:
        """Open a transaction whose events reach this install's listeners; see `Writer.begin`."""
        async with self.database.write.begin(timeout=timeout) as db:
            db.info[LISTENERS] = self.listeners
            yield db

    def check_password(self, password: str, *context: str | None) -> None:
        """Refuse a bad password; what the site is called counts as context too. The same on every path that sets one.

        Raises:
            PasswordRefused: one of its subclasses.
        """
        host = urlsplit(self.settings.base_url).hostname
        self.passwords.check(password, context=(self.settings.site_name, host, *context))

    async def close(self) -> None:
        """Let go of threads and connections."""
        self.hashing.close()
        await self.database.close()


def assemble(
    settings: Settings,
    features: Sequence[Feature],
    *,
    prefix: str = "",
    hasher: Hasher | None = None,
    clock: Callable[[], datetime] = utc_now,
) -> Accounts:
    """Put an install together. Nothing is opened yet: that happens at the first use.

    Args:
        settings: of this install.
        features: the rooms that take part.
        prefix: where its routes are.
        hasher: instead of argon2id.
        clock: instead of the machine's.
    """
    return Accounts(
        settings=settings,
        database=Database(settings.database_url, DatabaseOptions.of(settings)),
        hashing=HashPool(hasher or Argon2Hasher(), threads=settings.hash_threads, queue=settings.hash_queue),
        passwords=PasswordPolicy(settings.password_min_length),
        cursors=CursorSigner(lambda: load_secret(settings)),
        sign_up_limits=(_limit(settings.signup_rate_per_address), _limit(settings.signup_rate_total)),
        authenticators=tuple(each for feature in features for each in feature.authenticators),
        listeners=tuple(each for feature in features for each in feature.listeners),
        prefix=prefix,
        clock=clock,
    )


def _limit(per_minute: int) -> RateLimiter:
    return LeakyRateLimiter(per_minute, 60) if per_minute else NullRateLimiter()
