"""What the room offers to the application."""

from __future__ import annotations

from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.events import INSTALL, Event
from denizen.core.feature import CommandGroup, Feature, Holding, Job
from denizen.keys.crud import describe_keys
from denizen.keys.service import recognise, revoke_keys_of, write_last_uses
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


FEATURE = Feature(
    "keys",
    routers=_routers,
    authenticators=(recognise,),
    listeners=(_end_keys,),
    holdings=(Holding("keys", describe_keys),),
    commands=(CommandGroup("keys", _commands),),
    jobs=(Job("write last uses of keys", every=20.0, run=write_last_uses, last=True),),
)
