"""What the owner of an account has shown, and what follows from it: passwords, and proofs of addresses."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.accounts import Accounts
from denizen.core.events import record
from denizen.core.identifiers import UsernameInvalid, clean_username, identify
from denizen.search import crud as search
from denizen.search.models import FOUND_BY
from denizen.users import crud
from denizen.users.crud import Row
from denizen.users.events import EmailChanged, EmailProved, PasswordChanged
from denizen.users.models import User
from denizen.users.schemas import READ_FIELDS


async def set_password(
    accounts: Accounts,
    db: AsyncSession,
    user_id: UUID,
    password_hash: str | None,
    *,
    way: str,
    keep: UUID | None = None,
    at: datetime,
) -> Row:
    """Give an account another password, or none; what was signed in with the old one ends.

    Args:
        accounts: where.
        db: a writing session; it is not committed.
        user_id: whose; the caller has asked whether it is his to set.
        password_hash: made before the transaction began; `None` for no password any more.
        way: how, as of `PasswordChanged`.
        keep: the one session that goes on; `None` for none.
        at: becomes `updated_at`.

    Raises:
        UserNotFound: there is no such account.
    """
    row = await crud.update_user(db, user_id, {"hashed_password": password_hash}, versions=None, at=at)
    await record(db, PasswordChanged(user_id, way, keep))
    return row


async def prove_email(db: AsyncSession, user: User, *, at: datetime, password_hash: str | None = None) -> Row:
    """Note that somebody has shown to read mail at the account's address.

    Before the first proof the account may have been made by anybody, in the hope that its owner will use it one day. So
    that one ends every password, session, key and pending change from before; a later one ends nothing.

    Args:
        db: a writing session, in which the account is held; it is not committed.
        user: as it was then.
        at: now.
        password_hash: of the password that he chose along with it, in place of whichever there was.
    """
    first = user.email_verified_at is None
    if not first and password_hash is None:
        return crud.row_of(user)
    values = {"hashed_password": password_hash, "email_verified_at": user.email_verified_at or at}
    row = await crud.update_user(db, user.id, values, versions=None, at=at)
    if first:
        await record(db, EmailProved(user.id, first=True))
    if password_hash is not None or user.hashed_password is not None:
        await record(db, PasswordChanged(user.id, "removed" if password_hash is None else "reset"))
    return row


async def set_email(db: AsyncSession, user: User, email: str, *, way: str, at: datetime, **values: Any) -> Row:
    """Give an account an address that somebody has shown to read mail at. A username that is the address follows it.

    Args:
        db: a writing session, in which the account is held; it is not committed.
        user: as it was then.
        email: as `clean_email` returns it.
        way: how, as of `EmailChanged`.
        at: becomes `updated_at`.
        values: other columns of `User` that are set with it.

    Raises:
        EmailTaken, UsernameTaken, UsernameTooSimilar: as the database decides.
    """
    identity = identify(_following(user.username, email), email)
    told = {**identity._asdict(), "email_verified_at": at, **values}
    row = await crud.update_user(db, user.id, told, versions=None, at=at)
    shown = dict(zip(READ_FIELDS, row, strict=True))
    await search.update_entry(db, user.id, *(shown[name] for name in FOUND_BY))
    await record(db, EmailChanged(user.id, way, before={"email": user.email}, after={"email": email}))
    return row


async def drop_email(db: AsyncSession, user: User, *, at: datetime) -> Row:
    """Take an address from an account, since somebody else has shown that it is his. An account that has no other name
    is given one that nobody else has.

    Args:
        db: a writing session, in which the account is held; it is not committed.
        user: as it was then.
        at: becomes `updated_at`.
    """
    own = None if user.username is None or "@" in user.username else user.username
    identity = identify(own or f"user-{user.id.hex}", None)
    told = {**identity._asdict(), "email_verified_at": None}
    row = await crud.update_user(db, user.id, told, versions=None, at=at)
    shown = dict(zip(READ_FIELDS, row, strict=True))
    await search.update_entry(db, user.id, *(shown[name] for name in FOUND_BY))
    await record(db, EmailChanged(user.id, "dropped", before={"email": user.email}, after={"email": None}))
    return row


def _following(username: str | None, email: str) -> str | None:
    """Give the username that goes with a new address: an address as username is the person's own, or none at all."""
    if username is None or "@" not in username:
        return username
    try:
        return clean_username(email)
    except UsernameInvalid:  # an address may be longer than a username
        return None
