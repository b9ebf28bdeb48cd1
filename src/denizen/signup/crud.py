"""Every SQL statement of signing up."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.identifiers import Identity
from denizen.users.models import User


class Taken(NamedTuple):
    """What of a new account is somebody's already.

    Attributes:
        user_id: whose the address is; `None` where it is free.
        username: the username is taken.
        skeleton: the username looks like one that is taken.
    """

    user_id: UUID | None
    username: bool
    skeleton: bool


async def find_taken(db: AsyncSession, identity: Identity) -> Taken:
    """Look what of a new account is taken: one statement, whatever it finds. Nothing is reserved by it."""
    query = select(User.id, User.email_key, User.username_key, User.username_skeleton).where(
        or_(
            User.email_key == identity.email_key,
            User.username_key == identity.username_key,
            User.username_skeleton == identity.username_skeleton,
        )
    )
    rows = (await db.execute(query)).all()
    return Taken(
        next((row.id for row in rows if row.email_key == identity.email_key), None),
        any(row.username_key == identity.username_key for row in rows),
        any(row.username_skeleton == identity.username_skeleton for row in rows),
    )
