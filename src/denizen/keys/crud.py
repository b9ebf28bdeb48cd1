"""Every SQL statement about API keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Integer, and_, bindparam, delete, func, not_, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.database import Reader
from denizen.core.statements import Statement
from denizen.core.types import UtcDateTime
from denizen.keys.errors import KeyNotFound
from denizen.keys.models import Key
from denizen.keys.schemas import READ_FIELDS
from denizen.roles.models import Role, UserRole
from denizen.users.models import User

Row = tuple[Any, ...]
"""Values in the order of `READ_FIELDS`."""


def row_of(key: Key) -> Row:
    """Give the row that a list would show."""
    return tuple(getattr(key, name) for name in READ_FIELDS)


_at = bindparam("at", type_=UtcDateTime())
_OPEN = Statement(
    select(Key.id, Key.scopes, Key.expires_at, Key.last_used_at, Key.user_id, Role.permissions)
    .outerjoin(User, User.id == Key.user_id)
    .outerjoin(UserRole, UserRole.user_id == Key.user_id)
    .outerjoin(Role, Role.id == UserRole.role_id)
    .where(
        Key.token_digest == bindparam("token_digest"),
        Key.revoked_at.is_(None),
        or_(Key.expires_at.is_(None), Key.expires_at > _at),
        or_(
            Key.user_id.is_(None),
            and_(
                User.is_active,
                User.deleted_at.is_(None),
                or_(User.suspended_at.is_(None), User.suspended_until <= _at),
            ),
        ),
    )
)

_BY_ID = Statement(select(*(getattr(Key, name) for name in READ_FIELDS)).where(Key.id == bindparam("id")))
_page = (
    select(*(getattr(Key, name) for name in READ_FIELDS)).order_by(Key.id).limit(bindparam("limit", type_=Integer()))
)
_behind = Key.id > bindparam("after")
_of_one = Key.user_id == bindparam("user_id")
_PAGES = {
    (False, False): Statement(_page, shown=True),
    (False, True): Statement(_page.where(_behind), shown=True),
    (True, False): Statement(_page.where(_of_one), shown=True),
    (True, True): Statement(_page.where(_of_one, _behind), shown=True),
}
"""By whether the keys are those of one person, and whether others were seen already."""


async def find_open_key(reads: Reader, token_digest: bytes, *, at: datetime) -> list[tuple[Any, ...]]:
    """Return `(id, scopes, expires_at, last_used_at, user_id, permissions)` of the key that opens at `at`, a row for
    each role of its owner and one where he has none, or where it has no owner; nothing where nothing opens, or where
    nobody could sign in to the owner's account. The hot path, one statement.
    """
    return await reads.rows(_OPEN, token_digest=token_digest, at=at)


async def read_key(reads: Reader, key_id: UUID) -> Row:
    """Return the row of `key_id`: the hot path.

    Raises:
        KeyNotFound: there is none.
    """
    rows = await reads.rows(_BY_ID, id=key_id)
    if not rows:
        raise KeyNotFound("API key not found")
    return rows[0]


async def create_key(db: AsyncSession, key: Key) -> Key:
    """Store a new key."""
    db.add(key)
    await db.flush()
    return key


async def get_key(db: AsyncSession, key_id: UUID, *, for_update: bool = False) -> Key:
    """Return the key `key_id`, ended or not.

    Args:
        db: any session; nothing is written.
        key_id: which.
        for_update: let nobody else change it before this transaction ends.

    Raises:
        KeyNotFound: there is none.
    """
    query = select(Key).where(Key.id == key_id)
    key = (await db.scalars(query.with_for_update() if for_update else query)).one_or_none()
    if key is None:
        raise KeyNotFound("API key not found")
    return key


async def list_keys(reads: Reader, *, limit: int, after: UUID | None = None, user_id: UUID | None = None) -> list[Row]:
    """Return keys in the order of their making, ended ones too: the hot path.

    Args:
        reads: where.
        limit: how many at most.
        after: the id of the last one seen.
        user_id: whose; `None` for everybody's and the operator's.
    """
    statement = _PAGES[user_id is not None, after is not None]
    return await reads.rows(statement, limit=limit, after=after, user_id=user_id)


async def list_descendants(db: AsyncSession, key_id: UUID) -> Sequence[Key]:
    """Return the open keys that were made with `key_id`, or with such a one, and so on; itself first."""
    family = select(Key.id).where(Key.id == key_id).cte("family", recursive=True)
    family = family.union(select(Key.id).join(family, Key.maker_id == family.c.id))
    query = (
        select(Key).where(Key.id.in_(select(family.c.id)), Key.revoked_at.is_(None)).order_by(Key.id).with_for_update()
    )
    return (await db.scalars(query)).all()


async def hold_owner(db: AsyncSession, user_id: UUID, *, deleted: bool = False) -> tuple[datetime | None] | None:
    """Return when a person's address was proved, `None` for nobody; new keys of his and what ends them wait for each
    other from here to the end of this transaction.

    Args:
        deleted: whether it may be somebody whose account is hidden.
    """
    query = select(User.email_verified_at).where(User.id == user_id).with_for_update(key_share=True)
    if not deleted:
        query = query.where(User.deleted_at.is_(None))
    found = (await db.execute(query)).one_or_none()
    return None if found is None else (found[0],)


async def list_open_keys_of(db: AsyncSession, user_id: UUID) -> Sequence[UUID]:
    """Return the keys of a person that were not revoked."""
    return (await db.scalars(select(Key.id).where(Key.user_id == user_id, Key.revoked_at.is_(None)))).all()


async def count_open_keys(db: AsyncSession, user_id: UUID, *, at: datetime) -> int:
    """Count the keys of a person that have not ended by `at`."""
    query = select(func.count()).select_from(Key).where(Key.user_id == user_id, not_(_ended(at)))
    return int((await db.execute(query)).scalar_one())


async def delete_surplus(db: AsyncSession, user_id: UUID, *, at: datetime, most: int) -> None:
    """Delete the oldest of a person's keys that have ended, so that `most` are left. What was made with such a one has
    ended too, and goes with it.
    """
    surplus = select(Key.id).where(Key.user_id == user_id, _ended(at)).order_by(Key.id.desc()).offset(most)
    await db.execute(delete(Key).where(Key.id.in_(surplus)).execution_options(synchronize_session=False))


async def delete_ended(db: AsyncSession, *, before: datetime, limit: int) -> int:
    """Delete keys that ended before `before`, by one index and then the other; give how many that were, at most
    `limit`, without those that were made with one of them.
    """
    deleted = 0
    for column in (Key.revoked_at, Key.expires_at):
        old = select(Key.id).where(column <= before).order_by(column).limit(limit - deleted)
        gone = delete(Key).where(Key.id.in_(old.with_for_update(skip_locked=True))).returning(Key.id)
        deleted += len((await db.execute(gone.execution_options(synchronize_session=False))).all())
    return deleted


def _ended(at: datetime) -> ColumnElement[bool]:
    # Never NULL, so that it can be negated.
    return or_(Key.revoked_at.is_not(None), and_(Key.expires_at.is_not(None), Key.expires_at <= at))


async def revoke_keys(db: AsyncSession, ids: Sequence[UUID], *, at: datetime) -> None:
    """End keys."""
    await db.execute(
        update(Key).where(Key.id.in_(ids)).values(revoked_at=at).execution_options(synchronize_session=False)
    )


async def note_last_uses(db: AsyncSession, uses: Mapping[UUID, datetime]) -> None:
    """Store when keys were last used, unless something later is stored."""
    change = (
        update(Key.__table__)  # type: ignore[arg-type]  # a Table, which SQLAlchemy declares as FromClause
        .where(
            Key.id == bindparam("key"),
            or_(Key.last_used_at.is_(None), Key.last_used_at < bindparam("used_at", type_=UtcDateTime())),
        )
        .values(last_used_at=bindparam("used_at", type_=UtcDateTime()))
    )
    # In one order everywhere, so that two processes never wait for each other's rows crosswise.
    await db.execute(change, [{"key": key_id, "used_at": uses[key_id]} for key_id in sorted(uses)])


_TOLD = tuple(column for column in Key.__table__.c if column.key != "token_digest")


async def describe_keys(db: AsyncSession, user_id: UUID) -> list[dict[str, Any]]:
    """Give all that is stored of one person's keys, but for what recognises them."""
    rows = await db.execute(select(*_TOLD).where(Key.user_id == user_id).order_by(Key.id))
    return [row._asdict() for row in rows]
