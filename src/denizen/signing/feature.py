"""What the room offers to the application."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.accounts import Accounts
from denizen.core.feature import Cleaner, CommandGroup, Feature, Job


def _routers() -> tuple[Any, ...]:
    from denizen.signing.routes import router

    return (router,)


def _commands() -> Any:
    from denizen.signing.cli import app

    return app


def _rotate(accounts: Accounts) -> Awaitable[None]:
    from denizen.signing.service import rotate_when_due

    return rotate_when_due(accounts)


def _clean(accounts: Accounts, db: AsyncSession, at: datetime, limit: int) -> Awaitable[int]:
    from denizen.signing.crud import delete_withdrawn

    return delete_withdrawn(db, at=at, limit=limit)


FEATURE = Feature(
    "signing",
    routers=_routers,
    cleaners=(Cleaner("withdrawn signing keys", _clean),),
    commands=(CommandGroup("signing-keys", _commands),),
    jobs=(Job("rotate signing keys", every=600.0, run=_rotate),),
)
