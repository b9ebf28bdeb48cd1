"""What ends sign-ins, one, some or all of somebody's."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.auth import Caller, Scope
from denizen.core.events import guard, record
from denizen.sessions import crud
from denizen.sessions.errors import SessionNotFound
from denizen.sessions.events import SessionsEnded
from denizen.users.errors import UserNotFound


async def end_session(
    db: AsyncSession,
    user_id: UUID,
    session_id: UUID,
    *,
    reason: str,
    alone: bool = False,
    caller: Caller | None = None,
) -> int:
    """End one sign-in of a person, and with it what he does in other people's places; give how many ended.

    Args:
        db: a writing session; it is not committed.
        user_id: whose.
        session_id: which.
        reason: for the audit.
        alone: leave what he does in other people's places: somebody who stands for him ends only that.
        caller: who asks, for the audit of what is not his; `None` where nobody could ask for what is not.

    Raises:
        SessionNotFound: it is unknown, has ended, or is somebody else's.
    """
    await crud.lock_logins(db, [user_id])  # before the sign-ins, as everywhere: nobody waits crosswise
    ended = await crud.delete_session(db, session_id, user_id=user_id, alone=alone)
    if not ended:
        raise await _not_found(db, session_id, caller)
    await record(db, SessionsEnded(user_id, ended, reason))
    return ended


async def _not_found(db: AsyncSession, session_id: UUID, caller: Caller | None) -> SessionNotFound:
    """Give what somebody is told of a sign-in that is not his; what he lacks, and whose it is, is for the audit."""
    hidden = SessionNotFound("Session not found")
    if caller is not None and not caller.may(Scope.USERS_WRITE):
        owner_id = await crud.find_owner(db, session_id)
        if owner_id not in {None, caller.user_id}:
            missing = caller.lacks(Scope.USERS_WRITE)
            missing.user_id = owner_id
            hidden.__cause__ = missing
    return hidden


async def end_sessions(db: AsyncSession, user_id: UUID, *, reason: str, keep: UUID | None = None) -> int:
    """End the sign-ins of one person, all but `keep`; give how many that were.

    Args:
        db: a writing session, in which the account is held; it is not committed.
        reason: for the audit: `signed out`, `password changed` ...
    """
    ended = await crud.delete_sessions(db, user_id, keep=keep)
    if ended:
        await record(db, SessionsEnded(user_id, ended, reason))
    return ended


async def end_impersonations(db: AsyncSession, user_id: UUID, *, reason: str) -> int:
    """End the sign-ins in which others act in a person's place, since he may do more from now on: whoever does was
    asked about what this person may as it was then.
    """
    ended = await crud.delete_impersonations(db, user_id)
    if ended:
        await record(db, SessionsEnded(user_id, ended, reason))
    return ended


async def end_other_sessions(db: AsyncSession, user_id: UUID, *, keep: UUID) -> None:
    """End all sign-ins of a person but one, for himself."""
    await crud.lock_logins(db, [user_id])
    await end_sessions(db, user_id, reason="ended by its owner", keep=keep)


async def end_sessions_of(db: AsyncSession, user_id: UUID, *, caller: Caller | None) -> int:
    """End all sign-ins of somebody else, for an administrator.

    Args:
        caller: who asks; `None` for the operator at the command line.

    Raises:
        UserNotFound: no such account.
        BeyondCaller: the account holds a permission that the caller lacks.
    """
    user = (await crud.lock_logins(db, [user_id])).get(user_id)
    if user is None or user.deleted_at is not None:
        raise UserNotFound("User not found")
    await guard(db, caller, [user_id])
    return await end_sessions(db, user_id, reason="ended by an administrator")
