"""What the room offers to the application."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.accounts import Accounts
from denizen.core.feature import Cleaner, CommandGroup, Feature, Holding
from denizen.invitations import crud
from denizen.invitations.service import KEPT_AFTER


def _routers() -> tuple[Any, ...]:
    from denizen.invitations.routes import router

    return (router,)


def _commands() -> Any:
    from denizen.invitations.cli import app

    return app


async def _clean(accounts: Accounts, db: AsyncSession, at: datetime, limit: int) -> int:
    return await crud.delete_ended(db, before=at - KEPT_AFTER, limit=limit)


FEATURE = Feature(
    "invitations",
    routers=_routers,
    cleaners=(Cleaner("old invitations", _clean),),
    holdings=(Holding("invitations", crud.describe_invitations),),
    commands=(CommandGroup("invitations", _commands),),
)
