"""Every SQL statement about sign-ins."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import Integer, String, and_, bindparam, cast, delete, insert, literal, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from denizen.core.database import Reader
from denizen.core.statements import Statement
from denizen.core.tokens import digest
from denizen.core.types import UtcDateTime, Uuid
from denizen.core.writes import Call, run, run_later
from denizen.roles.models import Role, UserRole
from denizen.sessions.models import Session
from denizen.sessions.schemas import STORED_FIELDS
from denizen.users.models import User

Row = tuple[Any, ...]
"""Values in the order of `STORED_FIELDS`. From the hot path, ids and times may be the text that JSON shows of them."""

_QUIETLY: Final = {"synchronize_session": False}
_at = bindparam("at", type_=UtcDateTime())
_idle_since = bindparam("idle_since", type_=UtcDateTime())

_NOT_OVER: Final = (
    Session.expires_at > _at,
    User.is_active,
    User.deleted_at.is_(None),
    or_(User.suspended_at.is_(None), User.suspended_until <= _at),
)
IS_OPEN: Final = (*_NOT_OVER, Session.last_used_at > _idle_since)
"""What makes a sign-in, joined to its owner, one that opens at `at`; unused since `idle_since` it opens nothing."""

_OPEN = Statement(
    select(
        Session.id,
        Session.user_id,
        Session.expires_at,
        Session.authenticated_at,
        Session.last_used_at,
        Session.impersonator_id,
        cast(Role.permissions, String),
        Session.method,
    )
    .join(User, User.id == Session.user_id)
    .outerjoin(UserRole, UserRole.user_id == Session.user_id)
    .outerjoin(Role, Role.id == UserRole.role_id)
    .where(
        Session.token_digest == bindparam("token_digest"),
        *_NOT_OVER,
    ),
    shown=True,
)


async def find_open_session(reads: Reader, token_digest: bytes, *, at: datetime) -> tuple[Row, ...]:
    """Return what is known of the sign-in that opens at `at`, of its owner and of his permissions: the hot path, one
    statement, a row for each of his roles and one where he has none; nothing where nothing opens.

    Values are as the database has them, so that what is made of them can be kept: SQLite's text, PostgreSQL's `UUID`
    and `datetime`, permissions as JSON on both. Whether it was used lately is for the caller to see.
    """
    return tuple(await reads.rows(_OPEN, token_digest=token_digest, at=at))


# ------------------------------------------------------------------------------------------------------------ accounts


class Login(NamedTuple):
    """As much of an account as signing in to it needs; see `User`."""

    id: UUID
    hashed_password: str | None
    is_active: bool
    deleted_at: datetime | None
    suspended_at: datetime | None
    suspended_until: datetime | None
    version: int


_LOGIN = select(*(getattr(User, name) for name in Login._fields))
_LOGINS: Final = {
    name: Statement(_LOGIN.where(getattr(User, name) == bindparam("known_by", type_=getattr(User, name).type)))
    for name in ("id", "email_key", "username_key")
}


async def find_login(reads: Reader, column: str, known_by: Any) -> Login | None:
    """Return the account that is known by its `id`, `email_key` or `username_key`, or `None`; one statement."""
    rows = await reads.rows(_LOGINS[column], known_by=known_by)
    return Login(*rows[0]) if rows else None


_HELD: Final = Statement(_LOGIN.where(User.id == bindparam("user_id", type_=Uuid())).with_for_update(key_share=True))


def hold_login(user_id: UUID) -> Call[Login | None]:
    """Return an account as it is now, or `None`, and let nobody change it before this transaction ends."""
    return Call(_HELD, {"user_id": user_id}, lambda rows: Login(*rows[0]) if rows else None)


async def lock_logins(db: AsyncSession, user_ids: Collection[UUID]) -> dict[UUID, Login]:
    """The same of several, by id.

    In one order everywhere, so that two transactions never wait for each other's rows crosswise.
    """
    rows = await db.execute(_LOGIN.where(User.id.in_(user_ids)).order_by(User.id).with_for_update(key_share=True))
    return {row.id: Login(*row) for row in rows}


async def hold_roles(db: AsyncSession, user_ids: Collection[UUID]) -> None:
    """Let nobody change what the roles allow that people have before this transaction ends. Their accounts are held:
    nobody gives them roles meanwhile, or takes them.
    """
    held = select(UserRole.role_id).where(UserRole.user_id.in_(user_ids))
    # The weakest lock that `roles.crud.get_role(for_update=True)` waits for: those who give these roles do not.
    roles = select(Role.id).where(Role.id.in_(held)).order_by(Role.id)
    await db.execute(roles.with_for_update(read=True, key_share=True))


async def lock_owners(db: AsyncSession, token: str | None, *user_ids: UUID) -> None:
    """Hold accounts and the one whose sign-in a token opens, which is to end with what is opened for them; nothing
    where there is no token. Before anything else is held: whoever erases that account holds it before its sign-ins.
    """
    if token is None:
        return
    owner = select(Session.user_id).where(Session.token_digest == digest(token)).scalar_subquery()
    both = select(User.id).where(or_(User.id.in_(user_ids), User.id == owner)).order_by(User.id)
    await db.execute(both.with_for_update(key_share=True, of=User))


async def replace_hash(db: AsyncSession, user_id: UUID, old: str, new: str) -> None:
    """Store a hash of the same password made with today's effort, unless the password has changed meanwhile. What
    clients see of the account stays, its version too.
    """
    same = update(User).where(User.id == user_id, User.hashed_password == old).values(hashed_password=new)
    await db.execute(same.execution_options(**_QUIETLY))


# ------------------------------------------------------------------------------------------------------------ sign-ins

_SHOWN = tuple(getattr(Session, name) for name in STORED_FIELDS)
_LIST = (
    select(*_SHOWN)
    .where(Session.user_id == bindparam("user_id"), Session.expires_at > _at, Session.last_used_at > _idle_since)
    .order_by(Session.id)
)
_LISTED = Statement(_LIST, shown=True)
_KNOWN = Statement(select(User.id).where(User.id == bindparam("user_id"), User.deleted_at.is_(None)))


async def list_sessions(reads: Reader, user_id: UUID, *, at: datetime, idle_since: datetime) -> list[Row]:
    """Return the open sign-ins of one person in the order of their making: the hot path."""
    return await reads.rows(_LISTED, user_id=user_id, at=at, idle_since=idle_since)


async def has_user(reads: Reader, user_id: UUID) -> bool:
    """Whether there is such an account."""
    return bool(await reads.rows(_KNOWN, user_id=user_id))


async def has_session(db: AsyncSession, session_id: UUID) -> bool:
    """Whether there is such a sign-in still."""
    return (await db.execute(select(Session.id).where(Session.id == session_id))).one_or_none() is not None


async def find_owner(db: AsyncSession, session_id: UUID) -> UUID | None:
    """Return whose sign-in it is; `None` where there is none."""
    return (await db.scalars(select(Session.user_id).where(Session.id == session_id))).one_or_none()


class SignIn(NamedTuple):
    """A sign-in as it is stored; see `Session`."""

    id: UUID
    user_id: UUID
    token_digest: bytes
    method: str
    created_at: datetime
    authenticated_at: datetime
    last_used_at: datetime
    expires_at: datetime
    device: str | None
    address: str | None
    impersonator_id: UUID | None


_INSERT: Final = Statement(insert(Session.__table__))  # type: ignore[arg-type]  # a Table, declared as FromClause


async def create_session(db: AsyncSession, session: SignIn) -> None:
    """Store a new sign-in of an account that is held."""
    await run_later(db, _INSERT, **session._asdict())


_RENEW: Final = Statement(
    update(Session)
    .where(Session.id == bindparam("of", type_=Uuid()), Session.token_digest == bindparam("old_digest"))
    .values(token_digest=bindparam("new_digest"), authenticated_at=_at, last_used_at=_at)
    .returning(*(getattr(Session, name) for name in SignIn._fields))
)


async def renew_session(
    db: AsyncSession, session_id: UUID, *, old_digest: bytes, new_digest: bytes, at: datetime
) -> SignIn | None:
    """Give a sign-in another token, if it still has the old one: its owner has proved anew who he is."""
    rows = await run(db, _RENEW, of=session_id, old_digest=old_digest, new_digest=new_digest, at=at)
    return SignIn(*rows[0]) if rows else None


async def note_last_uses(db: AsyncSession, uses: Mapping[UUID, datetime]) -> None:
    """Store when sign-ins were last used, unless something later is stored."""
    used_at = bindparam("used_at", type_=UtcDateTime())
    change = (
        update(Session.__table__)  # type: ignore[arg-type]  # a Table, which SQLAlchemy declares as FromClause
        .where(Session.id == bindparam("session"), Session.last_used_at < used_at)
        .values(last_used_at=used_at)
    )
    # In one order everywhere, so that two processes never wait for each other's rows crosswise.
    await db.execute(change, [{"session": session_id, "used_at": uses[session_id]} for session_id in sorted(uses)])


# ------------------------------------------------------------------------------------------------------------- endings


_IN_ANOTHERS_PLACE: Final = (Session.impersonator_id.is_not(None),)


async def delete_sessions(db: AsyncSession, user_id: UUID, *, keep: UUID | None = None) -> int:
    """End the sign-ins of one person, and those in which he acts in somebody's place; give how many that were.

    Args:
        keep: one that goes on.
    """
    gone = delete(Session).where(or_(Session.user_id == user_id, Session.impersonator_id == user_id))
    if keep is not None:
        gone = gone.where(Session.id != keep)
    return len(await _ended(db, gone))


async def delete_session(db: AsyncSession, session_id: UUID, *, user_id: UUID, alone: bool) -> int:
    """End one sign-in of a person; give how many ended, none if it is not his or has ended.

    Args:
        alone: leave those in which he acts in somebody's place. Otherwise they end with it.
    """
    own = and_(Session.id == session_id, Session.user_id == user_id)
    if alone:
        return len(await _ended(db, delete(Session).where(own)))
    it = aliased(Session)
    is_his = select(it.id).where(it.id == session_id, it.user_id == user_id).exists()
    return len(await _ended(db, delete(Session).where(or_(own, and_(Session.impersonator_id == user_id, is_his)))))


async def delete_session_by_token(db: AsyncSession, token_digest: bytes) -> UUID | None:
    """End the sign-in that a token opens; give whose it was."""
    gone = delete(Session).where(Session.token_digest == token_digest).returning(Session.user_id)
    return (await db.execute(gone.execution_options(**_QUIETLY))).scalar_one_or_none()


_MORE_THAN: Final = Statement(
    select(literal(1))
    .where(Session.user_id == bindparam("user_id", type_=Uuid()))
    .limit(1)
    .offset(bindparam("most", type_=Integer()))
)


def see_surplus(user_id: UUID, *, most: int) -> Call[bool]:
    """Tell whether a person may have more than `most` sign-ins. Those in which others act in his place count here: by
    the index alone, so that whoever has fewer pays for no more than this look.
    """
    return Call(_MORE_THAN, {"user_id": user_id, "most": most}, bool)


async def delete_surplus(db: AsyncSession, user_id: UUID, *, most: int) -> int:
    """End those sign-ins of a person that were unused for longest, so that `most` are left; give how many ended."""
    own = Session.user_id == user_id, Session.impersonator_id.is_(None)
    surplus = select(Session.id).where(*own).order_by(Session.last_used_at.desc(), Session.id.desc()).offset(most)
    return len(await _ended(db, delete(Session).where(Session.id.in_(surplus))))


async def delete_expired(db: AsyncSession, *, at: datetime, idle_since: datetime, limit: int) -> int:
    """Delete what has ended by itself, by one index and then the other; give how many that were, at most `limit`."""
    deleted = 0
    for column, over_since in ((Session.expires_at, at), (Session.last_used_at, idle_since)):
        over = select(Session.id).where(column <= over_since).order_by(column).limit(limit - deleted)
        gone = delete(Session).where(Session.id.in_(over.with_for_update(skip_locked=True)), column <= over_since)
        deleted += len(await _gone(db, gone))
    return deleted


_TOLD = tuple(column for column in Session.__table__.c if column.key != "token_digest")


async def describe_sessions(db: AsyncSession, user_id: UUID) -> list[dict[str, Any]]:
    """Give all that is stored of one person's sign-ins, but for what recognises them."""
    rows = await db.execute(select(*_TOLD).where(Session.user_id == user_id).order_by(Session.id))
    return [row._asdict() for row in rows]


async def delete_impersonations(db: AsyncSession, user_id: UUID) -> int:
    """End the sign-ins in which others act in a person's place; give how many that were."""
    return len(await _ended(db, delete(Session).where(Session.user_id == user_id, *_IN_ANOTHERS_PLACE)))


async def delete_impersonations_of_role(db: AsyncSession, role_id: UUID) -> None:
    """End the sign-ins in which others act in the place of somebody who has a role."""
    having = select(UserRole.user_id).where(UserRole.role_id == role_id)
    gone = delete(Session).where(Session.user_id.in_(having), *_IN_ANOTHERS_PLACE)
    await db.execute(gone.execution_options(**_QUIETLY))


async def delete_sessions_of_role(db: AsyncSession, role_id: UUID) -> None:
    """End the sign-ins of all who have a role, and those in which they act in somebody's place."""
    having = select(UserRole.user_id).where(UserRole.role_id == role_id)
    await _ended(db, delete(Session).where(or_(Session.user_id.in_(having), Session.impersonator_id.in_(having))))


async def _ended(db: AsyncSession, gone: Any) -> list[UUID]:
    """Delete sign-ins, which are held first in the order in which last uses are noted: nobody waits crosswise."""
    held = select(Session.id).where(gone.whereclause).order_by(Session.id).with_for_update()
    return await _gone(db, delete(Session).where(Session.id.in_(held)))


async def _gone(db: AsyncSession, gone: Any) -> list[UUID]:
    return list(await db.scalars(gone.returning(Session.id).execution_options(**_QUIETLY)))
