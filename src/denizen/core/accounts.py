"""One installed Denizen: its settings, its database and what its rooms share. Nothing of it lives at module level."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.auth import Authenticator
from denizen.core.database import Database
from denizen.core.events import LISTENERS, Listener
from denizen.core.paging import CursorSigner
from denizen.core.passwords import HashPool, PasswordPolicy
from denizen.core.rates import RateLimiter
from denizen.settings import Settings


def utc_now() -> datetime:
    """Give this instant, in UTC."""
    return datetime.now(UTC)


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

    @asynccontextmanager
    async def writing(self, *, timeout: float | None = None) -> AsyncIterator[AsyncSession]:
        """Open a transaction whose events reach this install's listeners; see `Writer.begin`."""
        async with self.database.write.begin(timeout=timeout) as db:
            db.info[LISTENERS] = self.listeners
            yield db

    async def close(self) -> None:
        """Let go of threads and connections."""
        self.hashing.close()
        await self.database.close()
