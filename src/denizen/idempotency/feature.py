"""What the room offers to the application."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.accounts import Accounts
from denizen.core.feature import Cleaner, Feature


def _clean(accounts: Accounts, db: AsyncSession, at: datetime, limit: int) -> Awaitable[int]:
    from denizen.idempotency.crud import delete_expired

    return delete_expired(db, at=at, limit=limit)


FEATURE = Feature("idempotency", cleaners=(Cleaner("kept answers", _clean),))
