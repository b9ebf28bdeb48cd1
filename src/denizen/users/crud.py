"""Every SQL statement about accounts.

Two kinds: those that take a session (they write, or give a `User` to code that goes on with it; they never commit),
and those that take the `Reader` of the hot path and give plain rows of `READ_COLUMNS`, ready to be written as JSON.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, bindparam, func, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from denizen.core.base import Base
from denizen.core.database import Reader, constraint_of
from denizen.core.identifiers import EmailInvalid, UsernameInvalid, clean_email, email_key, username_key
from denizen.core.ids import parse_id
from denizen.core.statements import Statement
from denizen.users.errors import CONSTRAINTS, TAKEN, UserChanged, UserNotFound
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
_OWN = _TABLE.c.id == bindparam("own")
_VERSIONS = _TABLE.c.version.in_(bindparam("versions", expanding=True))
_UNTOLD = frozenset({"hashed_password", "email_key", "username_key", "username_skeleton"})
_INSERT = _TABLE.insert()
_HELD = select(*_TABLE_COLUMNS).where(_OWN).with_for_update()
_ERASE = _TABLE.delete().where(_OWN).returning(_TABLE.c.id)
_ERASE_EXACTLY = _ERASE.where(_VERSIONS)
_BY_ID = Statement(select(*READ_COLUMNS).where(User.id == bindparam("id")), shown=True)


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
            await db.execute(_INSERT, values)
    return user


async def get_user(db: AsyncSession, user_id: UUID, *, for_update: bool = False) -> User:
    """Return the account `user_id`.

    Args:
        db: any session; nothing is written.
        user_id: whose.
        for_update: let nobody else change it before this transaction ends; what belongs to it may be added meanwhile.

    Raises:
        UserNotFound: there is none.
    """
    return await _one(db, User.id == user_id, for_update=for_update)


def _user_where(known_by: ColumnElement[bool], for_update: bool) -> Select[User]:
    query = select(User).where(known_by)
    return query.with_for_update(key_share=True) if for_update else query


async def find_user_by_email(db: AsyncSession, email: str, *, for_update: bool = False) -> User | None:
    """Return the account with `email`, in whatever spelling of its letters, where there is one; see `get_user`."""
    return (await db.scalars(_user_where(User.email_key == email_key(email), for_update))).one_or_none()


async def _one(
    db: AsyncSession, known_by: ColumnElement[bool], sentence: str = "User not found", *, for_update: bool = False
) -> User:
    user = (await db.scalars(_user_where(known_by, for_update))).one_or_none()
    if user is None:
        raise UserNotFound(sentence)
    return user


async def lock_user(db: AsyncSession, user_id: UUID, *, versions: AbstractSet[int] | None) -> Row:
    """Return the account `user_id` as it is now, and let nobody else change it before this transaction ends.

    Args:
        db: a writing session.
        user_id: whose.
        versions: those that will do, or `None` for whichever is there.

    Raises:
        UserNotFound, UserChanged: nothing there, or none of those versions.
    """
    row = (await db.execute(_HELD, {"own": user_id})).one_or_none()
    if row is None or (versions is not None and row.version not in versions):
        raise await _explain_miss(db, user_id)
    return tuple(row)


async def get_user_by_email(db: AsyncSession, email: str) -> User:
    """Return the account with `email`, in whatever spelling of its letters.

    Raises:
        UserNotFound: there is none.
    """
    return await _one(db, User.email_key == email_key(email))


async def find_user(db: AsyncSession, who: str) -> User:
    """Return the account that a person means by `who`: an id, an e-mail address or a username.

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
    return await _one(db, known_by, nobody)


@lru_cache(maxsize=256)
def _change(names: tuple[str, ...], versioned: bool) -> Any:
    """Build the statement that sets so many columns, once: building it anew costs more than running it."""
    new = {name: bindparam(f"new_{name}", type_=_TABLE.c[name].type) for name in (*names, "updated_at")}
    change = _TABLE.update().where(_OWN, *([_VERSIONS] if versioned else ()))
    return change.values(**new, version=_TABLE.c.version + 1).returning(*_TABLE_COLUMNS)


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
    change = _change(tuple(sorted(values)), versions is not None)
    told = {f"new_{name}": value for name, value in {**values, "updated_at": at}.items()}
    async with _conflicts_named(db, values, user_id):
        row = (await db.execute(change, {**told, "own": user_id, "versions": sorted(versions or ())})).one_or_none()
    if row is None:
        raise await _explain_miss(db, user_id)
    return tuple(row)


async def delete_user(db: AsyncSession, user_id: UUID, *, versions: AbstractSet[int] | None) -> None:
    """Erase an account, by one statement.

    Raises:
        UserNotFound, UserChanged: as `update_user`.
    """
    erase = _ERASE_EXACTLY if versions is not None else _ERASE
    if (await db.execute(erase, {"own": user_id, "versions": sorted(versions or ())})).one_or_none() is None:
        raise await _explain_miss(db, user_id)


async def _explain_miss(db: AsyncSession, user_id: UUID) -> UserNotFound | UserChanged:
    if (await db.execute(select(User.id).where(User.id == user_id))).one_or_none() is None:
        return UserNotFound("User not found")
    return UserChanged("The account has changed since you read it. Read it again, then decide anew.")


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
    """Give all that is stored of an account, hidden or not, but for the hash of its password and what names are
    compared by.
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
    query = (
        select(lowered, func.count())
        .where(User.email.is_not(None))
        .group_by(lowered)
        .having(func.count() > 1)
        .limit(limit)
    )
    async with reads.slow() as db:
        return [(str(email), int(count)) for email, count in await db.execute(query)]
