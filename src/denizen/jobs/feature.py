"""What the room offers to the application."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.accounts import Accounts
from denizen.core.feature import Cleaner, CommandGroup, Feature


def _routers() -> tuple[Any, ...]:
    from denizen.jobs.routes import router

    return (router,)


def _commands() -> Any:
    from denizen.jobs.cli import app

    return app


def _clean(accounts: Accounts, db: AsyncSession, at: datetime, limit: int) -> Awaitable[int]:
    from denizen.jobs.service import forget_one

    return forget_one(accounts, db, at, limit)


FEATURE = Feature(
    "jobs",
    routers=_routers,
    commands=(CommandGroup("jobs", _commands),),
    cleaners=(Cleaner("old jobs", _clean),),
)
