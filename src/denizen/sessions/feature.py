"""What the room offers to the application."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.events import Event
from denizen.core.feature import Feature
from denizen.roles.events import RoleChanged, RoleRevoked
from denizen.sessions import crud
from denizen.sessions.service import end_sessions, recognise
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
        case RoleChanged() if event.lost:
            await crud.delete_sessions_of_role(db, event.role_id)


FEATURE = Feature("sessions", authenticators=(recognise,), listeners=(_end,))
