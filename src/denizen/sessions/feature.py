"""What the room offers to the application."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.accounts import Accounts
from denizen.core.auth import Caller
from denizen.core.events import Event
from denizen.core.feature import Cleaner, CommandGroup, Feature, Holding, Job
from denizen.roles.events import RoleChanged, RoleGranted, RoleRevoked
from denizen.users.events import EmailProved, PasswordChanged, UserDeleted, UserSuspended, UserUpdated


async def _end(db: AsyncSession, event: Event) -> None:
    """End the sign-ins of whoever may not go on with them."""
    match event:
        case PasswordChanged():
            reason = "password changed"
        case EmailProved(first=True):
            reason = "address proved"
        case UserSuspended():
            reason = "suspended"
        case UserDeleted():
            reason = "deleted"
        case UserUpdated() if event.after.get("is_active") is False:
            reason = "deactivated"
        case RoleRevoked():
            reason = "role taken"
        case _:
            return
    from denizen.sessions.states import end_sessions

    keep = event.keep if isinstance(event, PasswordChanged) else None
    await end_sessions(db, event.user_id, reason=reason, keep=keep)


async def _end_by_role(db: AsyncSession, event: Event) -> None:
    """End the sign-ins of all who lose by a change of a role, and impersonations of those who gain by one."""
    match event:
        case RoleGranted():
            from denizen.sessions.states import end_impersonations

            await end_impersonations(db, event.user_id, reason="role given")
        case RoleChanged() if event.lost:
            from denizen.sessions.crud import delete_sessions_of_role

            await delete_sessions_of_role(db, event.role_id)
        case RoleChanged() if event.gained:
            from denizen.sessions.crud import delete_impersonations_of_role

            await delete_impersonations_of_role(db, event.role_id)


def _routers() -> tuple[Any, ...]:
    from denizen.sessions.routes import router

    return (router,)


def _commands() -> Any:
    from denizen.sessions.cli import app

    return app


def _recognise(accounts: Accounts, token: str, at: datetime) -> Awaitable[Caller | None]:
    from denizen.sessions.service import recognise

    return recognise(accounts, token, at)


def _write_last_uses(accounts: Accounts) -> Awaitable[None]:
    from denizen.sessions.service import write_last_uses

    return write_last_uses(accounts)


def _clean(accounts: Accounts, db: AsyncSession, at: datetime, limit: int) -> Awaitable[int]:
    from denizen.sessions.crud import delete_expired
    from denizen.sessions.service import idle_since_of

    return delete_expired(db, at=at, idle_since=idle_since_of(accounts, at), limit=limit)


def _describe(db: AsyncSession, user_id: UUID) -> Awaitable[Any]:
    from denizen.sessions.crud import describe_sessions

    return describe_sessions(db, user_id)


FEATURE = Feature(
    "sessions",
    routers=_routers,
    authenticators=(_recognise,),
    listeners=(_end, _end_by_role),
    cleaners=(Cleaner("expired sign-ins", _clean),),
    holdings=(Holding("sessions", _describe),),
    commands=(CommandGroup("sessions", _commands),),
    jobs=(Job("write last uses of sign-ins", every=20.0, run=_write_last_uses, last=True),),
)
