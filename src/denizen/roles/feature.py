"""What the room offers to the application."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.auth import Caller
from denizen.core.events import INSTALL, Event
from denizen.core.feature import CommandGroup, Feature, Holding
from denizen.users.events import UserDeleted, UserSuspended, UserUpdated


def _routers() -> tuple[Any, ...]:
    from denizen.roles.routes import router

    return (router,)


def _commands() -> Any:
    from denizen.roles.cli import app

    return app


def _commands_of_users() -> Any:
    from denizen.roles.cli import users

    return users


async def _leave_an_administrator(db: AsyncSession, event: Event) -> None:
    """Undo, by raising, what would leave nobody with the role `admin`."""
    match event:
        case UserDeleted() | UserSuspended():
            going = event.user_id
        case UserUpdated() if event.after.get("is_active") is False:
            going = event.user_id
        case _:
            return
    from denizen.roles.service import check_administrator_may_go

    await check_administrator_may_go(db, going, at=db.info[INSTALL].clock())


def _guard(db: AsyncSession, caller: Caller, user_ids: Sequence[UUID]) -> Awaitable[None]:
    from denizen.roles.service import guard_people

    return guard_people(db, caller, user_ids)


def _describe(db: AsyncSession, user_id: UUID) -> Awaitable[Any]:
    from denizen.roles.crud import describe_roles

    return describe_roles(db, user_id)


FEATURE = Feature(
    "roles",
    routers=_routers,
    listeners=(_leave_an_administrator,),
    guards=(_guard,),
    holdings=(Holding("roles", _describe),),
    commands=(CommandGroup("roles", _commands), CommandGroup("users", _commands_of_users, ("create", "show"))),
)
