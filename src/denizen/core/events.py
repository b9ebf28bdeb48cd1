"""What happened, told to the rooms that care, in the transaction in which it happened.

Lower rooms reach higher ones through events only: `users` records `UserCreated` and knows nothing of whoever listens.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.auth import Caller

INSTALL = "denizen_install"
"""The key of `AsyncSession.info` under which stands the install that a session belongs to; see `Accounts.adopt`."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. Subclasses are named in the past tense and carry ids and values, never secrets.

    Attributes:
        action: what, for the audit and for programs: `user.updated`.
        subject: the name of the field that says what it happened to: `user_id`, `key_id` ... Fields that say something
            personal of that user are `before` and `after`; the others must not.
    """

    action: ClassVar[str]
    subject: ClassVar[str] = "user_id"


Listener = Callable[[AsyncSession, Event], Awaitable[None]]

Guard = Callable[[AsyncSession, Caller, Sequence[UUID]], Awaitable[None]]
"""Refuses, by raising `BeyondCaller`, that a caller changes one of some accounts."""


class Install(Protocol):
    """As much of an install as events need."""

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """Who is told every event."""
        ...

    @property
    def guards(self) -> tuple[Guard, ...]:
        """Who may refuse a change."""
        ...


async def record(db: AsyncSession, event: Event) -> None:
    """Tell every listener of the install that `db` belongs to about `event`.

    Called after the statement that did it and before the commit: a listener that raises undoes the whole.

    Raises:
        LookupError: it belongs to none, and nobody would hear of it.
    """
    for listener in _install_of(db, type(event).__name__).listeners:
        await listener(db, event)


async def guard(db: AsyncSession, caller: Caller | None, user_ids: Sequence[UUID]) -> None:
    """Let a caller change somebody else's accounts, or say why not; called in the transaction of the change, before it.

    Args:
        db: a session that belongs to an install.
        caller: who wants to; `None` for the operator at the command line, and for a host's own code, who may.
        user_ids: the accounts. His own is his to change.

    Raises:
        BeyondCaller: one of them holds a permission that the caller lacks.
        LookupError: as `record`.
    """
    others = [user_id for user_id in user_ids if caller is not None and not caller.is_self(user_id)]
    if caller is None or not others:
        return
    for each in _install_of(db, "a change").guards:
        await each(db, caller, others)


def _install_of(db: AsyncSession, what: str) -> Install:
    install: Install | None = db.info.get(INSTALL)
    if install is None:
        raise LookupError(
            f"This session belongs to no install, so nobody would hear of {what}. For a session of your own say "
            "`accounts.adopt(db)` first; one from `accounts.writing()` or `Db` belongs already."
        )
    return install
