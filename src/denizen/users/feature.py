"""What the room offers to the application."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.accounts import Accounts
from denizen.core.auth import Caller
from denizen.core.feature import Cleaner, CommandGroup, Feature, Holding


def _routers() -> tuple[Any, ...]:
    from denizen.users.routes import router

    return (router,)


def _commands() -> Any:
    from denizen.users.cli import app

    return app


def _clean(accounts: Accounts, db: AsyncSession, at: datetime, limit: int) -> Awaitable[int]:
    from denizen.users.states import erase_due

    return erase_due(accounts, db, at, limit)


def _describe(db: AsyncSession, user_id: UUID) -> Awaitable[Any]:
    from denizen.users.crud import describe_user

    return describe_user(db, user_id)


def _find(accounts: Accounts, caller: Caller) -> Awaitable[Any]:
    from denizen.users.service import find_own_user

    return find_own_user(accounts, caller)


FEATURE = Feature(
    "users",
    routers=_routers,
    user_finder=_find,
    cleaners=(Cleaner("deleted accounts", _clean),),
    holdings=(Holding("account", _describe),),
    commands=(CommandGroup("users", _commands, ("suspend", "unsuspend", "delete", "restore")),),
)
