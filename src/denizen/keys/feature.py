"""What the room offers to the application."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.accounts import Accounts
from denizen.core.auth import Caller
from denizen.core.events import INSTALL, Event
from denizen.core.feature import Cleaner, CommandGroup, Feature, Holding, Job
from denizen.users.events import EmailProved, UserDeleted


def _routers() -> tuple[Any, ...]:
    from denizen.keys.routes import router

    return (router,)


def _commands() -> Any:
    from denizen.keys.cli import app

    return app


def _recognise(accounts: Accounts, token: str, at: datetime) -> Awaitable[Caller | None]:
    from denizen.keys.service import recognise

    return recognise(accounts, token, at)


async def _end_keys(db: AsyncSession, event: Event) -> None:
    """End the keys of whoever is deleted, which stay so when he is restored, and those that somebody may have made
    before the owner of the address proved that it is his.
    """
    match event:
        case EmailProved(first=True) | UserDeleted():
            from denizen.keys.service import revoke_keys_of

            await revoke_keys_of(db, event.user_id, at=db.info[INSTALL].clock())


def _write_last_uses(accounts: Accounts) -> Awaitable[None]:
    from denizen.keys.service import write_last_uses

    return write_last_uses(accounts)


def _clean(accounts: Accounts, db: AsyncSession, at: datetime, limit: int) -> Awaitable[int]:
    from denizen.keys.crud import delete_ended
    from denizen.keys.service import KEPT_AFTER

    return delete_ended(db, before=at - KEPT_AFTER, limit=limit)


def _describe(db: AsyncSession, user_id: UUID) -> Awaitable[Any]:
    from denizen.keys.crud import describe_keys

    return describe_keys(db, user_id)


FEATURE = Feature(
    "keys",
    routers=_routers,
    authenticators=(_recognise,),
    listeners=(_end_keys,),
    cleaners=(Cleaner("ended keys", _clean),),
    holdings=(Holding("keys", _describe),),
    commands=(CommandGroup("keys", _commands),),
    jobs=(Job("write last uses of keys", every=20.0, run=_write_last_uses, last=True),),
)
