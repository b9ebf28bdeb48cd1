"""Every SQL statement about kept answers."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.types import UtcDateTime
from denizen.idempotency.models import KeptAnswer


class Kept(NamedTuple):
    """What is known of a request under an Idempotency-Key; see `KeptAnswer`."""

    body_digest: bytes
    claim: UUID
    expires_at: datetime
    status: int | None
    headers: str | None
    body: bytes | None


def _claiming(insert: Any) -> Any:
    """Build the one statement that takes a key which is free or expired: of several that try, one gets a row back."""
    new = insert(KeptAnswer).values(
        {name: bindparam(name) for name in ("digest", "body_digest", "claim", "expires_at")}
    )
    taken = {name: new.excluded[name] for name in ("body_digest", "claim", "expires_at")}
    return new.on_conflict_do_update(
        index_elements=[KeptAnswer.digest],
        set_={**taken, "status": None, "headers": None, "body": None, "user_id": None},
        where=KeptAnswer.expires_at <= bindparam("at", type_=UtcDateTime()),
    ).returning(KeptAnswer.claim)


_CLAIM: Final = {"sqlite": _claiming(sqlite.insert), "postgresql": _claiming(postgresql.insert)}
_KEPT: Final = select(*(getattr(KeptAnswer, name) for name in Kept._fields)).where(
    KeptAnswer.digest == bindparam("digest")
)


async def claim_key(
    db: AsyncSession, digest: bytes, *, body_digest: bytes, claim: UUID, at: datetime, until: datetime
) -> bool:
    """Take a key for one attempt, until it keeps its answer, lets go or `until` has come.

    Args:
        db: a writing session of its own, committed before the work begins: others are to see it.
        digest: of the key.
        body_digest: of what was sent with it.
        claim: the new attempt's id.
        at: now; what has expired may be taken over.
        until: when this claim may be taken over in turn.

    Returns:
        Whether it was free.
    """
    values = {"digest": digest, "body_digest": body_digest, "claim": claim, "expires_at": until, "at": at}
    statement = _CLAIM[(await db.connection()).dialect.name]
    return (await db.execute(statement, values)).one_or_none() is not None


async def find_kept(db: AsyncSession, digest: bytes) -> Kept | None:
    """Return what is known under a key."""
    row = (await db.execute(_KEPT, {"digest": digest})).one_or_none()
    return None if row is None else Kept(*row)


async def keep_answer(db: AsyncSession, digest: bytes, claim: UUID, **values: Any) -> bool:
    """Store the answer of an attempt, in the transaction of its work, if the claim is still its own.

    Args:
        values: columns of `KeptAnswer`.

    Returns:
        Whether it was.
    """
    change = update(KeptAnswer).where(*_held(digest, claim)).values(**values).returning(KeptAnswer.claim)
    done = await db.execute(change.execution_options(synchronize_session=False))
    return done.one_or_none() is not None


async def let_go(db: AsyncSession, digest: bytes, claim: UUID) -> None:
    """Free a key whose attempt came to nothing. An answer that was kept stays."""
    await db.execute(delete(KeptAnswer).where(*_held(digest, claim)).execution_options(synchronize_session=False))


def _held(digest: bytes, claim: UUID) -> tuple[Any, ...]:
    return KeptAnswer.digest == digest, KeptAnswer.claim == claim, KeptAnswer.status.is_(None)


async def delete_expired(db: AsyncSession, *, at: datetime, limit: int) -> int:
    """Delete what has expired, the oldest first; give how many that were, at most `limit`."""
    expired = select(KeptAnswer.digest).where(KeptAnswer.expires_at <= at).order_by(KeptAnswer.expires_at).limit(limit)
    expired = expired.with_for_update(skip_locked=True)  # other servers do the same, and need not be waited for
    # Asked once more of the row itself: it may have been taken over since the inner statement saw it.
    gone = await db.execute(
        delete(KeptAnswer)
        .where(KeptAnswer.digest.in_(expired), KeptAnswer.expires_at <= at)
        .returning(KeptAnswer.claim)
        .execution_options(synchronize_session=False)
    )
    return len(gone.all())
