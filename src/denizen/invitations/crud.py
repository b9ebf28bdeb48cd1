"""Every SQL statement about invitations."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Integer, bindparam, delete, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.database import Reader
from denizen.core.statements import Statement
from denizen.invitations.errors import InvitationNotFound
from denizen.invitations.models import Invitation
from denizen.invitations.schemas import READ_FIELDS
from denizen.keys.models import Key
from denizen.users.models import User

Row = tuple[Any, ...]
"""Values in the order of `READ_FIELDS`."""

_QUIETLY = {"synchronize_session": False}
_COLUMNS = tuple(getattr(Invitation, name) for name in READ_FIELDS)
_BY_ID = Statement(select(*_COLUMNS).where(Invitation.id == bindparam("id")), shown=True)
_page = select(*_COLUMNS).order_by(Invitation.id).limit(bindparam("limit", type_=Integer()))
_FIRST_PAGE = Statement(_page, shown=True)
_LATER_PAGE = Statement(_page.where(Invitation.id > bindparam("after")), shown=True)


def row_of(invitation: Invitation) -> Row:
    """Give the row that a list would show."""
    return tuple(getattr(invitation, name) for name in READ_FIELDS)


async def create_invitation(db: AsyncSession, invitation: Invitation) -> Invitation:
    """Store a new one."""
    db.add(invitation)
    await db.flush()
    return invitation


async def read_invitation(reads: Reader, invitation_id: UUID) -> Row:
    """Return the row of `invitation_id`.

    Raises:
        InvitationNotFound: there is none.
    """
    rows = await reads.rows(_BY_ID, id=invitation_id)
    if not rows:
        raise InvitationNotFound("Invitation not found")
    return rows[0]


async def list_invitations(reads: Reader, *, limit: int, after: UUID | None = None) -> list[Row]:
    """Return invitations in the order of their making, those that have ended too.

    Args:
        reads: where.
        limit: how many at most.
        after: the id of the last one seen.
    """
    if after is None:
        return await reads.rows(_FIRST_PAGE, limit=limit)
    return await reads.rows(_LATER_PAGE, limit=limit, after=after)


async def get_invitation(db: AsyncSession, invitation_id: UUID) -> Invitation:
    """Return the invitation `invitation_id`, and let nobody else change it before this transaction ends.

    Raises:
        InvitationNotFound: there is none.
    """
    query = select(Invitation).where(Invitation.id == invitation_id).with_for_update()
    found = (await db.scalars(query)).one_or_none()
    if found is None:
        raise InvitationNotFound("Invitation not found")
    return found


async def find_open_invitation(db: AsyncSession, digest: bytes, *, at: datetime) -> Invitation | None:
    """Return the invitation that a token opens at `at`, without using it up."""
    return (await db.scalars(select(Invitation).where(*_opens(digest, at)))).one_or_none()


async def spend_invitation(db: AsyncSession, digest: bytes, *, at: datetime) -> Any | None:
    """Mark an invitation as accepted if it opens at `at`; give its row, or `None`. Of several that try, one gets it."""
    spend = update(Invitation).where(*_opens(digest, at)).values(accepted_at=at)
    columns = (
        Invitation.id,
        Invitation.email,
        Invitation.roles,
        Invitation.inviter_id,
        Invitation.inviter_key_id,
    )
    return (await db.execute(spend.returning(*columns).execution_options(**_QUIETLY))).one_or_none()


async def update_invitation(db: AsyncSession, invitation_id: UUID, values: Mapping[str, Any]) -> None:
    """Set columns of an invitation."""
    change = update(Invitation).where(Invitation.id == invitation_id).values(**values)
    await db.execute(change.execution_options(**_QUIETLY))


async def delete_ended(db: AsyncSession, *, before: datetime, limit: int) -> int:
    """Delete invitations that expired before `before`, the oldest first; give how many that were, at most `limit`."""
    ended = select(Invitation.id).where(Invitation.expires_at <= before).order_by(Invitation.expires_at)
    ended = ended.limit(limit).with_for_update(skip_locked=True)
    gone = delete(Invitation).where(Invitation.id.in_(ended)).returning(Invitation.id)
    return len((await db.execute(gone.execution_options(**_QUIETLY))).all())


async def describe_invitations(db: AsyncSession, user_id: UUID) -> list[dict[str, Any]]:
    """Give all that is stored of the invitation that one person accepted, but for what opened it."""
    query = select(*_COLUMNS).where(Invitation.user_id == user_id).order_by(Invitation.id)
    return [row._asdict() for row in await db.execute(query)]


def _opens(digest: bytes, at: datetime) -> tuple[ColumnElement[bool], ...]:
    return (
        Invitation.token_digest == digest,
        Invitation.accepted_at.is_(None),
        Invitation.revoked_at.is_(None),
        Invitation.expires_at > at,
    )


async def find_scopes(db: AsyncSession, key_id: UUID, *, at: datetime) -> frozenset[str] | None:
    """Return the scopes of a key, `None` if it was revoked or has expired by `at`."""
    open_then = Key.revoked_at.is_(None), or_(Key.expires_at.is_(None), Key.expires_at > at)
    found = (await db.execute(select(Key.scopes).where(Key.id == key_id, *open_then))).one_or_none()
    return None if found is None else frozenset(found[0])


async def is_open(db: AsyncSession, user_id: UUID, condition: ColumnElement[bool]) -> bool:
    """Tell whether an account meets a condition."""
    return (await db.execute(select(User.id).where(User.id == user_id, condition))).one_or_none() is not None
