"""Every SQL statement about refresh tokens, and those about the sign-ins that they belong to."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.database import Reader
from denizen.core.statements import Statement
from denizen.refresh.models import RefreshToken
from denizen.roles.models import Role, UserRole
from denizen.sessions.crud import IS_OPEN, lock_logins
from denizen.sessions.models import Session
from denizen.users.models import User

_QUIETLY: Final = {"synchronize_session": False}


class Held(NamedTuple):
    """A sign-in that is open, and what its owner may do."""

    session_id: UUID
    user_id: UUID
    expires_at: datetime
    last_used_at: datetime
    authenticated_at: datetime
    method: str
    permissions: frozenset[str]


_FAMILY = Statement(
    select(RefreshToken.session_id, Session.user_id)
    .join(Session, Session.id == RefreshToken.session_id)
    .where(RefreshToken.family_digest == bindparam("family_digest"))
    .limit(1)
)
_open = (
    select(
        Session.id,
        Session.user_id,
        Session.expires_at,
        Session.last_used_at,
        Session.authenticated_at,
        Session.method,
        Role.permissions,
    )
    .join(User, User.id == Session.user_id)
    .outerjoin(UserRole, UserRole.user_id == Session.user_id)
    .outerjoin(Role, Role.id == UserRole.role_id)
    .where(Session.id == bindparam("session_id"), *IS_OPEN)
)
_OPEN = Statement(_open)
_HOLD: Final = _open.with_for_update(of=Session)


def _held(rows: Sequence[Any]) -> Held | None:
    """Make one of a row for each role."""
    if not rows:
        return None
    session_id, user_id, expires_at, last_used_at, authenticated_at, method, _ = rows[0]
    permissions = frozenset(each for row in rows for each in row[-1] or ())
    return Held(session_id, user_id, expires_at, last_used_at, authenticated_at, method, permissions)


async def find_family(reads: Reader, family_digest: bytes) -> tuple[UUID, UUID] | None:
    """Return the sign-in of a family, and whose it is, or `None`: the hot path, one statement."""
    rows = await reads.rows(_FAMILY, family_digest=family_digest)
    return (rows[0][0], rows[0][1]) if rows else None


async def find_session(reads: Reader, session_id: UUID, *, at: datetime, idle_since: datetime) -> Held | None:
    """Return the sign-in if it is open at `at`: the hot path, one statement."""
    return _held(await reads.rows(_OPEN, session_id=session_id, at=at, idle_since=idle_since))


async def hold_session(
    db: AsyncSession, session_id: UUID, *, user_id: UUID, at: datetime, idle_since: datetime
) -> Held | None:
    """Return the sign-in if it is open at `at`, and let nobody else end it or exchange tokens of it meanwhile.

    Whoever ends a sign-in takes the row of its owner first, then its own, then those of its tokens; in the same order
    nobody waits crosswise.
    """
    await lock_logins(db, [user_id])
    found = await db.execute(_HOLD, {"session_id": session_id, "at": at, "idle_since": idle_since})
    return _held(found.all())


async def create_token(db: AsyncSession, token: RefreshToken) -> None:
    """Store a new one."""
    db.add(token)
    await db.flush()


async def spend_token(db: AsyncSession, token_digest: bytes, *, session_id: UUID, at: datetime) -> bool:
    """Spend the token unless it has been; tell whether it was spent now. Of several that try, one does it."""
    spend = update(RefreshToken).where(
        RefreshToken.token_digest == token_digest,
        RefreshToken.session_id == session_id,
        RefreshToken.spent_at.is_(None),
    )
    found = await db.execute(spend.values(spent_at=at).returning(RefreshToken.session_id).execution_options(**_QUIETLY))
    return found.one_or_none() is not None


async def list_family(db: AsyncSession, family_digest: bytes) -> dict[bytes, datetime | None]:
    """Return when each token of a family that is kept was spent, by digest."""
    query = select(RefreshToken.token_digest, RefreshToken.spent_at).where(RefreshToken.family_digest == family_digest)
    return {row.token_digest: row.spent_at for row in await db.execute(query)}


async def delete_spent(db: AsyncSession, family_digest: bytes, *, before: datetime) -> None:
    """Delete the tokens of a family that were spent before an instant."""
    old = delete(RefreshToken).where(RefreshToken.family_digest == family_digest, RefreshToken.spent_at < before)
    await db.execute(old.execution_options(**_QUIETLY))


async def delete_surplus(db: AsyncSession, session_id: UUID, *, most: int) -> None:
    """Delete the families of a sign-in that were not exchanged for longest, so that `most` are left."""
    unspent = select(RefreshToken.family_digest).where(
        RefreshToken.session_id == session_id, RefreshToken.spent_at.is_(None)
    )
    surplus = unspent.order_by(RefreshToken.issued_at.desc(), RefreshToken.token_digest).offset(most)
    gone = delete(RefreshToken).where(RefreshToken.session_id == session_id, RefreshToken.family_digest.in_(surplus))
    await db.execute(gone.execution_options(**_QUIETLY))


async def note_use(db: AsyncSession, session_id: UUID, *, at: datetime) -> None:
    """Store when a sign-in was last used."""
    used = update(Session).where(Session.id == session_id, Session.last_used_at < at).values(last_used_at=at)
    await db.execute(used.execution_options(**_QUIETLY))
