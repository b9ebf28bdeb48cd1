"""Every SQL statement that the first administrator's account takes."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from denizen.roles.models import ADMIN_ID, Role, UserRole


async def hold_first(db: AsyncSession) -> None:
    """Let nobody else make the first administrator, or the link to become one, before this transaction ends."""
    await db.execute(select(Role.id).where(Role.id == ADMIN_ID).with_for_update())


async def has_administrator(db: AsyncSession) -> bool:
    """Tell whether anybody has the role `admin`."""
    found = await db.execute(select(UserRole.user_id).where(UserRole.role_id == ADMIN_ID).limit(1))
    return found.one_or_none() is not None
