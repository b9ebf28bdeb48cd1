"""Every SQL statement about what opens once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from denizen.onetime.models import OneTimeToken

_QUIETLY = {"synchronize_session": False}


async def create_token(db: AsyncSession, token: OneTimeToken) -> None:
    """Store a new one."""
    db.add(token)
    await db.flush()


async def spend_token(
    db: AsyncSession, digest: bytes, *, purpose: str, at: datetime, code_digest: bytes | None = None
) -> Any | None:
    """Delete the token if it opens `purpose` at `at`; give its row, or `None`. Of several that try, one gets it.

    Args:
        code_digest: what has to come with it, for codes.
    """
    spend = delete(OneTimeToken).where(*_opens(digest, purpose, at))
    spend = spend.where(
        OneTimeToken.code_digest.is_(None) if code_digest is None else OneTimeToken.code_digest == code_digest
    )
    found = await db.execute(
        spend.returning(
            OneTimeToken.user_id, OneTimeToken.email, OneTimeToken.email_key, OneTimeToken.payload
        ).execution_options(**_QUIETLY)
    )
    return found.one_or_none()


async def count_try(db: AsyncSession, digest: bytes, *, purpose: str, at: datetime, most: int) -> bool:
    """Count one more try of a code; tell whether it is still to be looked at."""
    tried = update(OneTimeToken).where(*_opens(digest, purpose, at), OneTimeToken.tries < most)
    found = await db.execute(
        tried.values(tries=OneTimeToken.tries + 1).returning(OneTimeToken.id).execution_options(**_QUIETLY)
    )
    return found.one_or_none() is not None


async def find_token(db: AsyncSession, digest: bytes, *, purpose: str, at: datetime) -> OneTimeToken | None:
    """Return the token if it opens `purpose` at `at`, without spending it."""
    return (await db.scalars(select(OneTimeToken).where(*_opens(digest, purpose, at)))).one_or_none()


async def find_latest(db: AsyncSession, *, purpose: str, at: datetime) -> OneTimeToken | None:
    """Return the token that was made last for `purpose`, of those that are nobody's, if it opens anything at `at`."""
    query = select(OneTimeToken).where(OneTimeToken.user_id.is_(None), OneTimeToken.purpose == purpose)
    query = query.where(OneTimeToken.expires_at > at).order_by(OneTimeToken.id.desc()).limit(1)
    return (await db.scalars(query)).one_or_none()


def _opens(digest: bytes, purpose: str, at: datetime) -> tuple[Any, ...]:
    return OneTimeToken.token_digest == digest, OneTimeToken.purpose == purpose, OneTimeToken.expires_at > at


async def delete_token(db: AsyncSession, digest: bytes) -> None:
    """Delete one, whether it opens anything or not."""
    await db.execute(delete(OneTimeToken).where(OneTimeToken.token_digest == digest).execution_options(**_QUIETLY))


async def delete_earlier(db: AsyncSession, user_id: UUID, *, purpose: str) -> None:
    """Delete what one person has for a purpose, but for what somebody else deletes just now: to wait for that would
    take longer for those who have something than for those who have not.
    """
    earlier = select(OneTimeToken.id).where(OneTimeToken.user_id == user_id, OneTimeToken.purpose == purpose)
    gone = delete(OneTimeToken).where(OneTimeToken.id.in_(earlier.with_for_update(skip_locked=True)))
    await db.execute(gone.execution_options(**_QUIETLY))


async def delete_tokens(db: AsyncSession, user_id: UUID, *, purposes: Sequence[str] | None = None) -> None:
    """Delete what waits to be opened by one person: of some purposes, or all."""
    gone = delete(OneTimeToken).where(OneTimeToken.user_id == user_id)
    if purposes is not None:
        gone = gone.where(OneTimeToken.purpose.in_(purposes))
    await db.execute(gone.execution_options(**_QUIETLY))


async def delete_expired(db: AsyncSession, *, at: datetime, limit: int) -> int:
    """Delete what has expired, the oldest first; give how many that were, at most `limit`."""
    expired = select(OneTimeToken.id).where(OneTimeToken.expires_at <= at).order_by(OneTimeToken.expires_at)
    expired = expired.limit(limit).with_for_update(skip_locked=True)
    gone = await db.execute(
        delete(OneTimeToken)
        .where(OneTimeToken.id.in_(expired))
        .returning(OneTimeToken.id)
        .execution_options(**_QUIETLY)
    )
    return len(gone.all())
