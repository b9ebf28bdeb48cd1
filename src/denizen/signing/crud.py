"""Every SQL statement about signing keys."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import bindparam, delete, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.database import Reader
from denizen.core.statements import Statement
from denizen.core.types import UtcDateTime
from denizen.signing.models import SigningKey

_QUIETLY: Final = {"synchronize_session": False}


class Known(NamedTuple):
    """What a process has to know of a key that is published; see `SigningKey`."""

    id: UUID
    public: str
    private: bytes
    signs_from: datetime


_published = or_(
    SigningKey.published_until.is_(None), SigningKey.published_until > bindparam("at", type_=UtcDateTime())
)
_oldest_first = (SigningKey.signs_from, SigningKey.id)
_PUBLIC = Statement(select(SigningKey.public).where(_published).order_by(*_oldest_first))
_known = select(*(getattr(SigningKey, name) for name in Known._fields)).where(_published).order_by(*_oldest_first)
_KNOWN = Statement(_known)


async def list_public(reads: Reader, *, at: datetime) -> list[str]:
    """Return the public halves of the keys that are published at `at`, as JWKs in JSON; one statement."""
    return [public for (public,) in await reads.rows(_PUBLIC, at=at)]


async def list_known(reads: Reader, *, at: datetime) -> list[Known]:
    """Return the keys that are published at `at`, in the order in which they sign; one statement."""
    return [Known(*row) for row in await reads.rows(_KNOWN, at=at)]


async def list_known_here(db: AsyncSession, *, at: datetime) -> list[Known]:
    """The same as this transaction sees it."""
    return [Known(*row) for row in (await db.execute(_known, {"at": at})).all()]


async def list_keys(db: AsyncSession) -> Sequence[SigningKey]:
    """Return all keys that are kept, the oldest first."""
    return (await db.scalars(select(SigningKey).order_by(*_oldest_first))).all()


async def find_newest(db: AsyncSession) -> SigningKey | None:
    """Return the key that none takes over from yet."""
    query = select(SigningKey).where(SigningKey.signs_until.is_(None)).execution_options(populate_existing=True)
    return (await db.scalars(query)).one_or_none()


async def create_key(db: AsyncSession, key: SigningKey) -> bool:
    """Store a key, unless its predecessor has a successor already; tell whether it was stored.

    Whoever comes second waits until the first has committed, and sees that one's key with his next statement.
    """
    insert: Any = (sqlite if db.get_bind().dialect.name == "sqlite" else postgresql).insert
    columns = [column.key for column in SigningKey.__table__.columns]
    new = insert(SigningKey).values({name: getattr(key, name) for name in columns})
    new = new.on_conflict_do_nothing(index_elements=[SigningKey.predecessor_id]).returning(SigningKey.id)
    return (await db.execute(new)).one_or_none() is not None


async def retire_key(db: AsyncSession, key_id: UUID, *, signs_until: datetime, published_until: datetime) -> None:
    """Write down until when a key that has a successor signs, and is published."""
    change = update(SigningKey).where(SigningKey.id == key_id)
    await db.execute(
        change.values(signs_until=signs_until, published_until=published_until).execution_options(**_QUIETLY)
    )


async def withdraw_keys(db: AsyncSession, *, but: UUID, at: datetime) -> None:
    """Publish no key any longer than until `at`, nor let it sign, except `but`."""
    others = update(SigningKey).where(SigningKey.id != but)
    late = or_(SigningKey.signs_until.is_(None), SigningKey.signs_until > at)
    shown = or_(SigningKey.published_until.is_(None), SigningKey.published_until > at)
    await db.execute(others.where(late).values(signs_until=at).execution_options(**_QUIETLY))
    await db.execute(others.where(shown).values(published_until=at).execution_options(**_QUIETLY))


async def delete_withdrawn(db: AsyncSession, *, at: datetime, limit: int) -> int:
    """Delete keys that are published no longer, private halves and all; give how many, at most `limit`.

    The table holds a handful of rows, so that no index helps.
    """
    gone = select(SigningKey.id).where(SigningKey.published_until <= at).order_by(SigningKey.published_until)
    gone = gone.limit(limit).with_for_update(skip_locked=True)
    deleted = await db.execute(
        delete(SigningKey).where(SigningKey.id.in_(gone)).returning(SigningKey.id).execution_options(**_QUIETLY)
    )
    return len(deleted.all())
