"""Every SQL statement about accounts.

Two kinds: those that take a session (they write, or give a `User` to code that goes on with it; they never commit),
and those that take the `Reader` of the hot path and give plain rows of `READ_COLUMNS`, ready to be written as JSON.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, bindparam, false, func, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from denizen.core.base import Base
from denizen.core.database import Reader, constraint_of
from denizen.core.events import check_session
from denizen.core.identifiers import EmailInvalid, UsernameInvalid, clean_email, email_key, username_key
from denizen.core.ids import parse_id
from denizen.core.statements import Statement
from denizen.core.writes import run
from denizen.profiles import crud as profiles
from denizen.users.errors import CONSTRAINTS, TAKEN, UserChanged, UserInUse, UserNotFound
from denizen.users.models import User
from denizen.users.schemas import READ_FIELDS

Row = tuple[Any, ...]
"""Values in the order of `READ_FIELDS`. From the hot path, ids and times may be the text that JSON shows of them."""

READ_COLUMNS: tuple[InstrumentedAttribute[Any], ...] = tuple(getattr(User, name) for name in READ_FIELDS)


def row_of(user: User) -> Row:
    """Give the row that a list would show."""
    return tuple(getattr(user, name) for name in READ_FIELDS)


SAVEPOINT = "denizen_savepoint"
"""The key of `AsyncSession.info` for what stands for a savepoint, where the caller has one around each act already."""

_TABLE: Any = User.__table__  # its statements, built once, cost a fraction of what they do through the ORM
_TABLE_COLUMNS = tuple(_TABLE.c[name] for name in READ_FIELDS)
_ANY = _TABLE.c.id == bindparam("own")
_HERE = _TABLE.c.deleted_at.is_(None)
_OWN = and_(_ANY, _HERE)
_UNTOLD = frozenset({"hashed_password", "email_key", "username_key", "username_skeleton", "suspension_reason"})
_INSERT = Statement(_TABLE.insert().values({each.key: bindparam(each.key, type_=each.type) for each in _TABLE.c}))
KEPT = "Something else that is stored belongs to this account, and has to go first."
CHANGED = "The account has changed since you read it. Read it again, then decide anew."
_RESTORED = {"deleted_at": None, "erase_at": None, "updated_at": bindparam("at", type_=_TABLE.c.updated_at.type)}
_RESTORE = (
    _TABLE.update()
    .where(_ANY, _TABLE.c.deleted_at.is_not(None))
    .values(_RESTORED | {"version": _TABLE.c.version + 1})
    .returning(*_TABLE_COLUMNS)
)
_HELD = Statement(select(*_TABLE_COLUMNS).where(_OWN).with_for_update())
_HELD_FOR_OTHERS = Statement(select(*_TABLE_COLUMNS).where(_OWN).with_for_update(key_share=True))
_VERSION_AT = READ_FIELDS.index("version")
_HELD_OR_HIDDEN = select(_TABLE.c.version, _TABLE.c.deleted_at).where(_ANY).with_for_update()
_ERASE = _TABLE.delete().where(_ANY)
_BY_ID = Statement(select(*READ_COLUMNS).where(User.id == bindparam("id"), User.deleted_at.is_(None)), shown=True)


@asynccontextmanager
async def _conflicts_named(db: AsyncSession, values: Mapping[str, Any], own: UUID) -> AsyncIterator[None]:
    """Run in a savepoint; turn a broken uniqueness into its name. The outer transaction can go on.

    Where no unique column is stored nothing can be taken: no savepoint, which would be two statements more.

    The database alone decides *that* something is taken. Of several it names the one whose index it happened to look at
    first, which differs between SQLite and PostgreSQL; so who is in the way is looked up, afterwards.

    Args:
        db: a writing session.
        values: what is being stored, by column.
        own: the account it is stored for, which is never in its own way.
    """
    if not values.keys() & TAKEN.keys():
        yield
        return
    try:
        async with db.info.get(SAVEPOINT, AsyncSession.begin_nested)(db):
            yield
    except IntegrityError as error:
        broken = CONSTRAINTS.get(constraint_of(error, Base.metadata) or "")
        if broken is None:
            raise
        kind, detail, field = TAKEN[await _first_taken(db, values, own) or broken]
        raise kind(detail, field=field) from error


async def _first_taken(db: AsyncSession, values: Mapping[str, Any], own: UUID) -> str | None:
    unique = {name: values[name] for name in TAKEN if name != "id" and values.get(name) is not None}
    if not unique:
        return None
    columns = [getattr(User, name) for name in unique]
    clashing = or_(*(getattr(User, name) == unique[name] for name in unique))
    found = [row._asdict() for row in await db.execute(select(*columns).where(clashing, User.id != own))]
    return next((name for name in unique if any(row[name] == unique[name] for row in found)), None)


async def create_user(db: AsyncSession, user: User, *, known: bool = True) -> User:
    """Store a new account.

    Args:
        known: whether the session is to know it from then on; for one of many that costs three times as much.

    Raises:
        EmailTaken, UsernameTaken, UsernameTooSimilar, ExternalIdTaken, IdTaken: as the unique indexes decide.
    """
    values = {column.key: getattr(user, column.key) for column in _TABLE.c}
    async with _conflicts_named(db, values, user.id):
        if known:
            db.add(user)
            await db.flush()
        else:
            await run(db, _INSERT, **values)
    if user.profile:
        await profiles.store_values(db, [(user.id, user.profile)], replace=False)
    return user


async def get_user(db: AsyncSession, user_id: UUID, *, for_update: bool = False) -> User:
    """Return the account `user_id`.

    Args:
        db: any session; nothing is written.
        user_id: whose.
        for_update: let nobody else change it before this transaction ends; what belongs to it may be added meanwhile.

    Raises:
        UserNotFound: there is none, or it is deleted.
    """
    return await _one(db, User.id == user_id, for_update=for_update)


def _user_where(known_by: ColumnElement[bool], *, for_update: bool = False, deleted: bool = False) -> Select[User]:
    query = select(User).where(known_by) if deleted else select(User).where(known_by, User.deleted_at.is_(None))
    return query.with_for_update(key_share=True) if for_update else query


async def find_user_to_add_to(db: AsyncSession, email: str) -> User | None:
    """Return the account with `email`, in whatever spelling of its letters, where there is one, and let nobody erase it
    before this transaction ends. Others may hold it so at the same time, and change it.
    """
    known = _user_where(User.email_key == email_key(email))
    return (await db.scalars(known.with_for_update(read=True, key_share=True))).one_or_none()


async def find_user_by_email(
    db: AsyncSession, email: str, *, for_update: bool = False, deleted: bool = False
) -> User | None:
    """Return the account with `email`, in whatever spelling of its letters, where there is one; see `get_user`.

    Args:
        deleted: whether it may be one that is hidden, too.
    """
    query = _user_where(User.email_key == email_key(email), for_update=for_update, deleted=deleted)
    return (await db.scalars(query)).one_or_none()


async def hold_with_namesake(db: AsyncSession, user_id: UUID, email: str) -> None:
    """Let nobody change an account, or whichever has `email`, hidden or not, before this transaction ends: both by one
    statement in the order of their ids, so that two who do so never wait crosswise.
    """
    both = select(User.id).where(or_(User.id == user_id, User.email_key == email_key(email))).order_by(User.id)
    await db.execute(both.with_for_update(key_share=True))


async def _one(db: AsyncSession, known_by: ColumnElement[bool], sentence: str = "User not found", **how: bool) -> User:
    check_session(db)
    user = (await db.scalars(_user_where(known_by, **how))).one_or_none()
    if user is None:
        raise UserNotFound(sentence)
    return user


async def lock_user(db: AsyncSession, user_id: UUID, *, versions: AbstractSet[int] | None, unique: bool = True) -> Row:
    """Return the account `user_id` as it is now, and let nobody else change it before this transaction ends.

    Args:
        db: a writing session.
        user_id: whose.
        versions: those that will do, or `None` for whichever is there.
        unique: whether what is unique of it may change, or it may go: then nothing that belongs to it can be added
            meanwhile either.

    Raises:
        UserNotFound, UserChanged: nothing there, or none of those versions.
    """
    rows = await run(db, _HELD if unique else _HELD_FOR_OTHERS, own=user_id)
    if not rows or (versions is not None and rows[0][_VERSION_AT] not in versions):
        raise await _explain_miss(db, user_id, versions)
    return rows[0]


async def hold_user(db: AsyncSession, user_id: UUID, *, versions: AbstractSet[int] | None, hidden: bool) -> bool:
    """Let nobody else change an account before this transaction ends; tell whether it is hidden.

    Args:
        db: a writing session.
        user_id: whose.
        versions: those that will do, or `None` for whichever is there.
        hidden: whether it may be one that is hidden.

    Raises:
        UserNotFound, UserChanged: as `lock_user`.
    """
    row = (await db.execute(_HELD_OR_HIDDEN, {"own": user_id})).one_or_none()
    if row is None or (row.deleted_at is not None and not hidden):
        raise UserNotFound("User not found")
    if versions is not None and row.version not in versions:
        raise UserChanged(CHANGED)
    return row.deleted_at is not None


async def get_user_by_email(db: AsyncSession, email: str) -> User:
    """Return the account with `email`, in whatever spelling of its letters.

    Raises:
        UserNotFound: there is none.
    """
    return await _one(db, User.email_key == email_key(email))


async def find_user(db: AsyncSession, who: str, *, deleted: bool = False) -> User:
    """Return the account that a person means by `who`: an id, an e-mail address or a username.

    Args:
        db: any session; nothing is written.
        who: what the person typed.
        deleted: whether it may be one that is hidden, too.

    Raises:
        UserNotFound: there is none.
    """
    nobody = "No account has this id, e-mail address or username."
    try:
        if (user_id := parse_id(who)) is not None:
            known_by = User.id == user_id
        elif "@" in who:
            known_by = User.email_key == email_key(clean_email(who))
        else:
            known_by = User.username_key == username_key(who)
    except (EmailInvalid, UsernameInvalid):
        raise UserNotFound(nobody) from None
    return await _one(db, known_by, nobody, deleted=deleted)


@lru_cache(maxsize=256)
def _change(names: tuple[str, ...], versions: int | None) -> Statement:
    """Build the statement that sets such columns under one of so many versions, once: it costs more than to run it."""
    new = {name: bindparam(f"new_{name}", type_=_TABLE.c[name].type) for name in (*names, "updated_at")}
    allowed: list[Any] = [bindparam(f"allowed_{place}") for place in range(versions or 0)]
    change = _TABLE.update().where(_OWN)
    if versions is not None:
        change = change.where(or_(false(), *(_TABLE.c.version == each for each in allowed)))
    return Statement(change.values(**new, version=_TABLE.c.version + 1).returning(*_TABLE_COLUMNS))


async def update_user(
    db: AsyncSession, user_id: UUID, values: Mapping[str, Any], *, versions: AbstractSet[int] | None, at: datetime
) -> Row:
    """Set `values`, by one statement; return the account after the change.

    Args:
        values: columns of `User` with their new values.
        versions: those that may be changed, or `None` for whichever is there.
        at: becomes `updated_at`.

    Raises:
        UserNotFound, UserChanged: nothing to change, or none of those versions.
        EmailTaken, UsernameTaken, UsernameTooSimilar, ExternalIdTaken: as the unique indexes decide.
    """
    change = _change(tuple(sorted(values)), None if versions is None else len(versions))
    told = {f"new_{name}": value for name, value in {**values, "updated_at": at}.items()}
    told |= {f"allowed_{place}": version for place, version in enumerate(versions or ())}
    async with _conflicts_named(db, values, user_id):
        rows = await run(db, change, own=user_id, **told)
    if not rows:
        raise await _explain_miss(db, user_id, versions)
    if "profile" in values:
        await profiles.store_values(db, [(user_id, values["profile"])], replace=True)
    return rows[0]


async def restore_user(db: AsyncSession, user_id: UUID, *, at: datetime) -> tuple[Row, bool]:
    """Let a deleted account be there again; return it, and whether it was deleted.

    Raises:
        UserNotFound: there is none, hidden or not.
    """
    row = (await db.execute(_RESTORE, {"own": user_id, "at": at})).one_or_none()
    if row is not None:
        return tuple(row), True
    return await lock_user(db, user_id, versions=None), False


async def delete_user(db: AsyncSession, user_id: UUID) -> None:
    """Erase an account that is held, hidden or not; in `erasing`."""
    await db.execute(_ERASE, {"own": user_id})


@asynccontextmanager
async def erasing(db: AsyncSession) -> AsyncIterator[None]:
    """Run in a savepoint; turn a foreign key that keeps an account into its name. The outer transaction can go on.

    Raises:
        UserInUse: rows that are not ours keep it.
    """
    try:
        async with db.begin_nested():
            yield
    except IntegrityError as error:
        raise UserInUse(KEPT) from error


class _Undone(Exception):
    """Ends a savepoint whose work is not wanted."""


async def check_erasable(db: AsyncSession, user_id: UUID) -> None:
    """Find out whether an account could be erased, by doing it and taking it back: only the database knows which tables
    refer to it, and what they say to that.

    Raises:
        UserInUse: it could not.
    """
    with suppress(_Undone):
        async with erasing(db):
            await delete_user(db, user_id)
            raise _Undone


async def list_due(db: AsyncSession, *, at: datetime, limit: int) -> Sequence[UUID]:
    """Return deleted accounts whose time has come, those who wait longest first, and hold them; not those that others
    hold.
    """
    due = select(User.id).where(User.erase_at <= at).order_by(User.erase_at).limit(limit)
    return (await db.scalars(due.with_for_update(skip_locked=True))).all()


async def postpone_erasure(db: AsyncSession, user_id: UUID, *, until: datetime) -> None:
    """Let a deleted account stay hidden until then."""
    later = _TABLE.update().where(_ANY).values(erase_at=bindparam("until", type_=_TABLE.c.erase_at.type))
    await db.execute(later, {"own": user_id, "until": until})


async def _explain_miss(
    db: AsyncSession, user_id: UUID, versions: AbstractSet[int] | None
) -> UserNotFound | UserChanged:
    # Where any version would have done there was none; by now it may have been restored.
    query = select(User.id).where(User.id == user_id, User.deleted_at.is_(None))
    if versions is None or (await db.execute(query)).one_or_none() is None:
        return UserNotFound("User not found")
    return UserChanged(CHANGED)


async def read_user(reads: Reader, user_id: UUID) -> Row:
    """Return the row of `user_id`: the hot path.

    Raises:
        UserNotFound: there is none.
    """
    rows = await reads.rows(_BY_ID, id=user_id)
    if not rows:
        raise UserNotFound("User not found")
    return rows[0]


async def describe_user(db: AsyncSession, user_id: UUID) -> dict[str, Any]:
    """Give all that is stored of an account, hidden or not, but for the hash of its password, what names are compared
    by, and why it was suspended, which administrators write for each other.
    """
    held = [column for column in _TABLE.c if column.key not in _UNTOLD]
    row = (await db.execute(select(*held).where(_TABLE.c.id == bindparam("own")), {"own": user_id})).one_or_none()
    if row is None:
        raise UserNotFound("User not found")
    return row._asdict()


async def find_case_duplicates(reads: Reader, *, limit: int = 10) -> list[tuple[str, int]]:
    """Return up to `limit` addresses that several accounts have in different case: none, unless keys were written by
    hand.
    """
    lowered = func.lower(User.email)
    query = select(lowered, func.count()).where(User.email.is_not(None)).group_by(lowered)
    async with reads.slow() as db:
        found = await db.execute(query.having(func.count() > 1).limit(limit))
        return [(str(email), int(count)) for email, count in found]
