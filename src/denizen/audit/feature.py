"""What the room offers to the application."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.accounts import Accounts
from denizen.core.errors import DenizenError
from denizen.core.events import Event
from denizen.core.feature import Cleaner, CommandGroup, Feature, Holding, Job


def _routers() -> tuple[Any, ...]:
    from denizen.audit.routes import router

    return (router,)


def _commands() -> Any:
    from denizen.audit.cli import app

    return app


def _hear(db: AsyncSession, event: Event) -> Awaitable[None]:
    from denizen.audit.service import hear

    return hear(db, event)


def _hear_refusal(accounts: Accounts, error: DenizenError) -> Awaitable[None]:
    from denizen.audit.service import hear_refusal

    return hear_refusal(accounts, error)


def _write_counts(accounts: Accounts) -> Awaitable[None]:
    from denizen.audit.service import write_counts

    return write_counts(accounts)


def _clean(accounts: Accounts, db: AsyncSession, at: datetime, limit: int) -> Awaitable[int]:
    from denizen.audit.service import delete_old

    return delete_old(accounts, db, at, limit)


def _describe(db: AsyncSession, user_id: UUID) -> Awaitable[Any]:
    from denizen.audit.crud import describe_entries

    return describe_entries(db, user_id)


FEATURE = Feature(
    "audit",
    routers=_routers,
    listeners=(_hear,),
    refusals=(_hear_refusal,),
    cleaners=(Cleaner("old entries of the audit", _clean),),
    holdings=(Holding("audit", _describe),),
    commands=(CommandGroup("audit", _commands),),
    jobs=(Job("count refusals in the audit", every=5.0, run=_write_counts, last=True),),
)
