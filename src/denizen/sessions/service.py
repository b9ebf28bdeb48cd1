"""Acts on sign-ins: recognising whoever holds one, opening and ending them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, Protocol
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.accounts import Accounts
from denizen.core.auth import Caller, CredentialsInvalid
from denizen.core.events import record
from denizen.core.hashing import Lane
from denizen.core.origin import current_origin
from denizen.core.tokens import digest, looks_like, new_token
from denizen.limits.service import may_guess, wrong_guess
from denizen.sessions import crud
from denizen.sessions.errors import SignInFailed
from denizen.sessions.events import SessionsEnded, SignedIn
from denizen.sessions.models import Session

NOTICE_AFTER = timedelta(minutes=1)
FAILED: Final = "The name and the password do not fit, or nobody signs in to this account just now."


async def recognise(accounts: Accounts, token: str, at: datetime) -> Caller | None:
    """Recognise whoever signed in, by one statement; `None` for a token of another kind.

    Raises:
        CredentialsInvalid: a sign-in that is unknown, over or ended, or whose owner is suspended, inactive or deleted;
            which of them is not said.
    """
    if not token.startswith("dzs_"):
        return None
    idle_since = at - timedelta(seconds=accounts.settings.session_idle_timeout)
    rows = (
        await crud.find_open_session(accounts.database.read, digest(token), at=at, idle_since=idle_since)
        if looks_like(token, "dzs_")
        else []
    )
    if not rows:
        raise CredentialsInvalid("This sign-in is unknown or has ended.")
    session_id, user_id, expires_at, authenticated_at, last_used_at, impersonator_id, _ = rows[0]
    if at - last_used_at >= NOTICE_AFTER:
        accounts.noticed["session"][session_id] = at
    permissions = frozenset(each for row in rows for each in row[6] or ())
    return Caller("session", session_id, permissions, expires_at, user_id, authenticated_at, impersonator_id)


class Account(Protocol):
    """As much of an account as signing in to it needs: a `User`, or a row of `crud.find_login`."""

    @property
    def hashed_password(self) -> str | None:
        """A PHC string."""

    @property
    def is_active(self) -> bool:
        """Whether it is in use."""

    @property
    def deleted_at(self) -> datetime | None:
        """When it was deleted."""

    @property
    def suspended_at(self) -> datetime | None:
        """When it was suspended."""

    @property
    def suspended_until(self) -> datetime | None:
        """When that ends."""


def may_sign_in(account: Account, *, at: datetime) -> bool:
    """Whether anybody signs in to the account just now: it is active, not deleted and not suspended."""
    suspended = account.suspended_at is not None and (account.suspended_until is None or account.suspended_until > at)
    return account.is_active and account.deleted_at is None and not suspended


async def verify_password(
    accounts: Accounts, user: Account | None, password: str, *, who: str, address: str | None
) -> None:
    """Check a password under the limits of guessing: the same statements and one hash, whatever is wrong.

    Whoever goes on with it calls `limits.service.right_guess` in the transaction of what it opens, and looks there
    whether the account is still as it was: a hash takes its time.

    Args:
        accounts: where; no transaction of this task's may have begun.
        user: whose; `None` where there is no such account.
        password: in plain text.
        who: as of `limits.service.may_guess`.
        address: where it comes from.

    Raises:
        SignInFailed: it does not fit, there is no such account, or nobody signs in to it just now.
        TooMany: one has to wait.
        HashingBusy: too many passwords wait.
    """
    await may_guess(accounts, who, address)
    hashed = None if user is None else user.hashed_password
    fits = await accounts.hashing.verify(password, hashed, lane=Lane.PUBLIC)
    if user is None or not fits or not may_sign_in(user, at=accounts.clock()):
        await wrong_guess(accounts, who, address)
        raise SignInFailed(FAILED)


async def open_session(
    accounts: Accounts,
    db: AsyncSession,
    user_id: UUID,
    *,
    method: str,
    at: datetime,
) -> tuple[Session, str]:
    """Sign somebody in who has shown who he is.

    Args:
        accounts: where.
        db: a writing session; it is not committed.
        user_id: who.
        method: how he has shown it: `password`, `magic_link`, `code`, `invitation`.
        at: now.

    Returns:
        The stored sign-in, and the token that opens it, which nobody will see again.
    """
    origin = current_origin()
    token = new_token("dzs_")
    session = Session(
        user_id=user_id,
        token_digest=digest(token),
        method=method,
        created_at=at,
        authenticated_at=at,
        last_used_at=at,
        expires_at=at + timedelta(seconds=accounts.settings.session_lifetime),
        device=origin.device,
        address=origin.address,
    )
    await crud.create_session(db, session)
    await record(db, SignedIn(user_id, session.id, method))
    return session, token


async def end_sessions(db: AsyncSession, user_id: UUID, *, reason: str, keep: UUID | None = None) -> int:
    """End the sign-ins of one person, all but `keep`; give how many that were.

    Args:
        db: a writing session; it is not committed.
        reason: for the audit: `signed out`, `password changed` ...
    """
    ended = await crud.delete_sessions(db, user_id, keep=keep)
    if ended:
        await record(db, SessionsEnded(user_id, ended, reason))
    return ended
