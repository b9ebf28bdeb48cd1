"""What happened, told to the rooms that care, in the transaction in which it happened.

Lower rooms reach higher ones through events only: `users` records `UserCreated` and knows nothing of whoever listens.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

LISTENERS = "denizen_listeners"
"""The key of `AsyncSession.info` under which a session carries its listeners."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. Subclasses are named in the past tense and carry ids and values, never secrets."""


Listener = Callable[[AsyncSession, Event], Awaitable[None]]


async def record(db: AsyncSession, event: Event) -> None:
    """Tell every listener of `db` about `event`.

    Called after the statement that did it and before the commit: a listener that raises undoes the whole.
    """
    listeners: tuple[Listener, ...] = db.info.get(LISTENERS, ())
    for listener in listeners:
        await listener(db, event)
