"""What the room offers to the application."""

from __future__ import annotations

from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.events import Event
from denizen.core.feature import CommandGroup, Feature
from denizen.users.events import UserDeleted, UserSuspended


def _routers() -> tuple[Any, ...]:
    from denizen.account.routes import router

    return (router,)


def _commands() -> Any:
    from denizen.account.cli import app

    return app


async def _tell(db: AsyncSession, event: Event) -> None:
    """Confirm to whoever leaves that he has left, and tell whose account was suspended."""
    match event:
        case UserDeleted():
            from denizen.account.service import tell_of_leaving

            await tell_of_leaving(db, event)
        case UserSuspended(again=False):
            from denizen.account.service import tell_of_suspension

            await tell_of_suspension(db, event)


FEATURE = Feature(
    "account", routers=_routers, listeners=(_tell,), commands=(CommandGroup("users", _commands, ("password-link",)),)
)
