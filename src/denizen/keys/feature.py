"""What the room offers to the application."""

from __future__ import annotations

from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.accounts import Accounts
from denizen.core.events import INSTALL, Event
from denizen.core.feature import CommandGroup, Feature, Holding, Job
from denizen.keys.crud import describe_keys
from denizen.keys.service import recognise, revoke_keys_of, write_last_uses
from denizen.users.events import EmailProved


def _routers() -> tuple[Any, ...]:
    from denizen.keys.routes import router

    return (router,)


def _commands() -> Any:
    from denizen.keys.cli import app

    return app


async def _end(db: AsyncSession, event: Event) -> None:
    """End what may have been made by somebody else than the owner of the address."""
    if isinstance(event, EmailProved) and event.first:
        install: Accounts = db.info[INSTALL]
        await revoke_keys_of(db, event.user_id, at=install.clock())


FEATURE = Feature(
    "keys",
    routers=_routers,
    authenticators=(recognise,),
    listeners=(_end,),
    holdings=(Holding("keys", describe_keys),),
    commands=(CommandGroup("keys", _commands),),
    jobs=(Job("write last uses of keys", every=20.0, run=write_last_uses, last=True),),
)
