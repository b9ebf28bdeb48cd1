"""What the room offers to the application."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.accounts import Accounts
from denizen.core.feature import Cleaner, Feature
from denizen.idempotency import crud


async def _clean(accounts: Accounts, db: AsyncSession, at: datetime, limit: int) -> int:
    return await crud.delete_expired(db, at=at, limit=limit)


FEATURE = Feature("idempotency", cleaners=(Cleaner("kept answers", _clean),))
