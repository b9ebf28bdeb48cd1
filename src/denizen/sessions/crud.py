"""Every SQL statement about sign-ins."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, delete, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.database import Reader
from denizen.core.statements import Statement
from denizen.core.types import UtcDateTime
from denizen.roles.models import Role, UserRole
from denizen.sessions.models import Session
from denizen.users.models import User

_at = bindparam("at", type_=UtcDateTime())
_OPEN = Statement(
    select(
        Session.id,
        Session.user_id,
        Session.expires_at,
        Session.authenticated_at,
        Session.last_used_at,
        Session.impersonator_id,
        Role.permissions,
    )
    .join(User, User.id == Session.user_id)
    .outerjoin(UserRole, UserRole.user_id == Session.user_id)
    .outerjoin(Role, Role.id == UserRole.role_id)
    .where(
        Session.token_digest == bindparam("token_digest"),
        Session.expires_at > _at,
        Session.last_used_at > bindparam("idle_since", type_=UtcDateTime()),
        User.is_active,
        User.deleted_at.is_(None),
        or_(User.suspended_at.is_(None), User.suspended_until <= _at),
    )
)


async def find_open_session(
    reads: Reader, token_digest: bytes, *, at: datetime, idle_since: datetime
) -> list[tuple[Any, ...]]:
    """Return what is known of the sign-in that opens at `at`, of its owner and of his permissions: the hot path, one
    statement, a row for each of his roles and one where he has none; nothing where nothing opens.
    """
    return await reads.rows(_OPEN, token_digest=token_digest, at=at, idle_since=idle_since)


async def create_session(db: AsyncSession, session: Session) -> Session:
    """Store a new sign-in."""
    db.add(session)
    await db.flush()
    return session


async def delete_sessions(db: AsyncSession, user_id: UUID, *, keep: UUID | None = None) -> int:
    """End the sign-ins of one person, and those in which he acts in somebody's place; give how many that were.

    Args:
        keep: one that goes on.
    """
    gone = delete(Session).where(or_(Session.user_id == user_id, Session.impersonator_id == user_id))
    if keep is not None:
        gone = gone.where(Session.id != keep)
    ended = await db.execute(gone.returning(Session.id).execution_options(synchronize_session=False))
    return len(ended.all())


async def delete_sessions_of_role(db: AsyncSession, role_id: UUID) -> None:
    """End the sign-ins of all who have a role, and those in which they act in somebody's place."""
    having = select(UserRole.user_id).where(UserRole.role_id == role_id)
    gone = delete(Session).where(or_(Session.user_id.in_(having), Session.impersonator_id.in_(having)))
    await db.execute(gone.execution_options(synchronize_session=False))
