"""What the room offers to the application."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.accounts import Accounts
from denizen.core.events import INSTALL, Event
from denizen.core.feature import Cleaner, CommandGroup, Feature, Holding, Job
from denizen.keys.crud import delete_ended, describe_keys
from denizen.keys.service import KEPT_AFTER, recognise, revoke_keys_of, write_last_uses
from denizen.users.events import EmailProved, UserDeleted


def _routers() -> tuple[Any, ...]:
    from denizen.keys.routes import router

    return (router,)


def _commands() -> Any:
    from denizen.keys.cli import app

    return app


async def _end_keys(db: AsyncSession, event: Event) -> None:
    """End the keys of whoever is deleted, which stay so when he is restored, and those that somebody may have made
    before the owner of the address proved that it is his.
    """
    match event:
        case EmailProved(first=True) | UserDeleted():
            await revoke_keys_of(db, event.user_id, at=db.info[INSTALL].clock())


async def _clean(accounts: Accounts, db: AsyncSession, at: datetime, limit: int) -> int:
    return await delete_ended(db, before=at - KEPT_AFTER, limit=limit)


FEATURE = Feature(
    "keys",
    routers=_routers,
    authenticators=(recognise,),
    listeners=(_end_keys,),
    cleaners=(Cleaner("ended keys", _clean),),
    holdings=(Holding("keys", describe_keys),),
    commands=(CommandGroup("keys", _commands),),
    jobs=(Job("write last uses of keys", every=20.0, run=write_last_uses, last=True),),
)
