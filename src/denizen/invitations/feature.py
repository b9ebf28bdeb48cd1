"""What the room offers to the application."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.accounts import Accounts
from denizen.core.feature import Cleaner, CommandGroup, Feature, Holding


def _routers() -> tuple[Any, ...]:
    from denizen.invitations.routes import router

    return (router,)


def _commands() -> Any:
    from denizen.invitations.cli import app

    return app


def _clean(accounts: Accounts, db: AsyncSession, at: datetime, limit: int) -> Awaitable[int]:
    from denizen.invitations.crud import delete_ended
    from denizen.invitations.service import KEPT_AFTER

    return delete_ended(db, before=at - KEPT_AFTER, limit=limit)


def _describe(db: AsyncSession, user_id: UUID) -> Awaitable[Any]:
    from denizen.invitations.crud import describe_invitations

    return describe_invitations(db, user_id)


FEATURE = Feature(
    "invitations",
    routers=_routers,
    cleaners=(Cleaner("old invitations", _clean),),
    holdings=(Holding("invitations", _describe),),
    commands=(CommandGroup("invitations", _commands),),
)
