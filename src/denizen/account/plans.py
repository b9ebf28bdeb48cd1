"""What the acts of this room have in common: links are made, sent, looked at and spent here.

Each act that takes a link has the same course. The link is looked at on a reading connection; a password that comes
along is judged and hashed; only then the transaction begins. It holds the account first and spends the token second,
the same order everywhere, so that two links of one person never wait for each other crosswise.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.accounts import Accounts
from denizen.core.auth import Caller, CredentialsInvalid
from denizen.core.hashing import Lane
from denizen.core.identifiers import email_key
from denizen.core.ids import new_id
from denizen.mail import crud as mails
from denizen.mail.service import post
from denizen.onetime import service as onetime
from denizen.onetime.errors import LinkInvalid
from denizen.onetime.service import Opened
from denizen.sessions import crud as sessions
from denizen.sessions.service import may_sign_in
from denizen.users import crud as users
from denizen.users.errors import UserNotFound
from denizen.users.models import User

UNDO_LIFETIME: Final = timedelta(days=7)
_PAGES: Final = {
    "verify": "/auth/verify",
    "reset": "/auth/reset-password",
    "change_email": "/auth/confirm-email",
    "undo_email": "/auth/undo-email",
}
_STALE: Final = "This link is not valid: the account has another address by now, or it has been proved already."


# ------------------------------------------------------------------------------------------------------------- letters


def link_of(accounts: Accounts, purpose: str, token: str) -> str:
    """Give the address of the page on which a token is spent."""
    return f"{accounts.public_url(_PAGES[purpose])}?token={token}"


async def send_link(
    accounts: Accounts,
    db: AsyncSession,
    purpose: str,
    *,
    to: str,
    user_id: UUID | None,
    at: datetime,
    language: str | None = None,
    letter: str | None = None,
    about: UUID | None = None,
    real: bool = True,
    **token: Any,
) -> None:
    """Make a link and a letter that carries it. If they are for nobody, the same is done and taken back.

    Args:
        accounts: where.
        db: a writing session; it is not committed.
        purpose: of the link.
        to: where it is sent.
        user_id: whose it is.
        at: now.
        language: the reader's.
        letter: another one than that of the purpose.
        about: whom that one is about, where it is about somebody else.
        real: `False` where there is nobody to send it to; of another `letter`, the link alone is taken back.
        token: for `onetime.issue`.
    """
    settings = accounts.settings
    lifetime = {
        "reset": timedelta(seconds=settings.reset_lifetime),
        "undo_email": UNDO_LIFETIME,
    }.get(purpose, timedelta(seconds=settings.verify_lifetime))
    made = await onetime.issue(accounts, db, purpose, at=at, lifetime=lifetime, user_id=user_id, email=to, **token)
    values = {"link": link_of(accounts, purpose, made), "minutes": lifetime.total_seconds() / 60}
    mail = await post(
        accounts, db, letter or purpose, to=to, at=at, values=values, user_id=about or user_id, language=language
    )
    # Statements that hit nothing where it was for somebody: the two cases take as many.
    await onetime.take_back(db, "" if real else made)
    await mails.delete_mail(db, new_id() if real or letter else mail.id)


async def tell(
    accounts: Accounts, db: AsyncSession, letter: str, user: User, *, at: datetime, language: str | None = None
) -> None:
    """Tell the owner of an account what happened to it, where he has an address."""
    if user.email is not None:
        await post(accounts, db, letter, to=user.email, at=at, values={}, user_id=user.id, language=language)


async def hold_own(db: AsyncSession, caller: Caller, *, at: datetime) -> User:
    """Hold the account of whoever has signed in, and see that his sign-in goes on: what it asked for took its time.

    Raises:
        CredentialsInvalid: it has ended meanwhile, or nobody signs in to the account any more.
    """
    try:
        user = None if caller.user_id is None else await users.get_user(db, caller.user_id, for_update=True)
    except UserNotFound:
        user = None
    if user is None or not may_sign_in(user, at=at) or not await sessions.has_session(db, caller.id):
        raise CredentialsInvalid("This sign-in is unknown or has ended.")
    return user


# --------------------------------------------------------------------------------------------------------------- links


async def look(accounts: Accounts, purpose: str, token: str, *, at: datetime) -> tuple[Opened, User]:
    """Look what a link would open, and of whom, without spending it.

    Raises:
        LinkInvalid: it opens nothing, or its account has changed since.
    """
    opened = await onetime.peek(accounts, purpose, token, at=at)
    async with accounts.database.read.session() as db:
        return opened, await owner(db, purpose, opened)


async def owner(db: AsyncSession, purpose: str, opened: Opened, *, held: bool = False) -> User:
    """Give the account that a link is about, as long as it is what the link was made for."""
    if opened.user_id is None:
        raise LinkInvalid(_STALE)
    try:
        user = await users.get_user(db, opened.user_id, for_update=held)
    except UserNotFound:
        raise LinkInvalid(_STALE) from None
    sent_to = email_key(opened.email or "")
    fits = {
        "verify": sent_to == user.email_key,
        "reset": sent_to == user.email_key,
        "change_email": opened.payload.get("from") == user.email_key,
        "undo_email": sent_to != user.email_key,
    }[purpose]
    if not fits or user.deleted_at is not None:
        raise LinkInvalid(_STALE)
    return user


async def spend(accounts: Accounts, db: AsyncSession, purpose: str, token: str, seen: Opened, *, at: datetime) -> User:
    """Hold the account, then spend the token: of several that try, one gets on."""
    user = await owner(db, purpose, seen, held=True)
    await onetime.spend(accounts, db, purpose, token, at=at)
    return user


async def judge(accounts: Accounts, user: User, password: str | None, *context: str | None, lane: Lane) -> str | None:
    """Judge a new password, the same on every path, and hash it; no transaction may have begun."""
    if password is None:
        return None
    accounts.check_password(password, user.username, user.email, user.full_name, *context)
    return await accounts.hashing.hash(password, lane=lane)
