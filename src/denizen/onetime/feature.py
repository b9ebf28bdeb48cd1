"""What the room offers to the application."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.accounts import Accounts
from denizen.core.events import Event
from denizen.core.feature import Cleaner, Feature
from denizen.users.events import EmailChanged, EmailProved, PasswordChanged, UserDeleted, UserSuspended


async def _forget_pending(db: AsyncSession, event: Event) -> None:
    """What was sent before opens nothing after: a link left in a mailbox must not undo what its owner did since."""
    match event:
        case EmailProved(first=True) | UserDeleted() | UserSuspended():
            purposes = None
        case PasswordChanged():
            purposes = ["reset", "magic_link", "mailed_code", "change_email"]
        case EmailChanged():
            purposes = ["reset", "magic_link", "mailed_code", "verify"]
        case _:
            return
    from denizen.onetime.crud import delete_tokens

    await delete_tokens(db, event.user_id, purposes=purposes)


def _clean(accounts: Accounts, db: AsyncSession, at: datetime, limit: int) -> Awaitable[int]:
    from denizen.onetime.crud import delete_expired

    return delete_expired(db, at=at, limit=limit)


FEATURE = Feature("onetime", listeners=(_forget_pending,), cleaners=(Cleaner("expired links and codes", _clean),))
