"""What the room offers to the application."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.accounts import Accounts
from denizen.core.events import Event
from denizen.core.feature import Cleaner, CommandGroup, Feature, Holding, Job
from denizen.roles.events import RoleChanged, RoleGranted, RoleRevoked
from denizen.sessions import crud
from denizen.sessions.service import end_impersonations, end_sessions, idle_since_of, recognise, write_last_uses
from denizen.users.events import EmailProved, PasswordChanged, UserDeleted, UserSuspended, UserUpdated


async def _end(db: AsyncSession, event: Event) -> None:
    """End the sign-ins of whoever may not go on with them."""
    match event:
        case PasswordChanged():
            await end_sessions(db, event.user_id, reason="password changed", keep=event.keep)
        case EmailProved(first=True):
            await end_sessions(db, event.user_id, reason="address proved")
        case UserSuspended():
            await end_sessions(db, event.user_id, reason="suspended")
        case UserDeleted():
            await end_sessions(db, event.user_id, reason="deleted")
        case UserUpdated() if event.after.get("is_active") is False:
            await end_sessions(db, event.user_id, reason="deactivated")
        case RoleRevoked():
            await end_sessions(db, event.user_id, reason="role taken")
        case RoleGranted():
            await end_impersonations(db, event.user_id, reason="role given")
        case RoleChanged() if event.lost:
            await crud.delete_sessions_of_role(db, event.role_id)
        case RoleChanged() if event.gained:
            await crud.delete_impersonations_of_role(db, event.role_id)


async def _clean(accounts: Accounts, db: AsyncSession, at: datetime, limit: int) -> int:
    return await crud.delete_expired(db, at=at, idle_since=idle_since_of(accounts, at), limit=limit)


def _routers() -> tuple[Any, ...]:
    from denizen.sessions.routes import router

    return (router,)


def _commands() -> Any:
    from denizen.sessions.cli import app

    return app


FEATURE = Feature(
    "sessions",
    routers=_routers,
    authenticators=(recognise,),
    listeners=(_end,),
    cleaners=(Cleaner("expired sign-ins", _clean),),
    holdings=(Holding("sessions", crud.describe_sessions),),
    commands=(CommandGroup("sessions", _commands),),
    jobs=(Job("write last uses of sign-ins", every=20.0, run=write_last_uses, last=True),),
)
