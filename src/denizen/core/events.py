"""What happened, told to the rooms that care, in the transaction in which it happened.

Lower rooms reach higher ones through events only: `users` records `UserCreated` and knows nothing of whoever listens.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncSession

INSTALL = "denizen_install"
"""The key of `AsyncSession.info` under which stands the install that a session belongs to; see `Accounts.adopt`."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. Subclasses are named in the past tense and carry ids and values, never secrets."""


Listener = Callable[[AsyncSession, Event], Awaitable[None]]


class Install(Protocol):
    """As much of an install as events need."""

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """Who is told every event."""
        ...


async def record(db: AsyncSession, event: Event) -> None:
    """Tell every listener of the install that `db` belongs to about `event`.

    Called after the statement that did it and before the commit: a listener that raises undoes the whole.

    Raises:
        LookupError: it belongs to none, and nobody would hear of it.
    """
    install: Install | None = db.info.get(INSTALL)
    if install is None:
        raise LookupError(
            f"This session belongs to no install, so nobody would hear of {type(event).__name__}. For a session of "
            "your own say `accounts.adopt(db)` first; one from `accounts.writing()` or `Db` belongs already."
        )
    for listener in install.listeners:
        await listener(db, event)
