"""Acts on sign-ins: recognising whoever holds one, and opening them; what ends them is in `states`."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.accounts import Accounts
from denizen.core.auth import Caller, CredentialsInvalid
from denizen.core.events import guard, record
from denizen.core.hashers import HashingBusy
from denizen.core.hashing import Lane
from denizen.core.ids import new_id
from denizen.core.origin import current_origin
from denizen.core.tokens import digest, looks_like, new_token
from denizen.core.writes import Call, run_together
from denizen.limits.service import Guessing, accept_guess, may_guess, see_guesses, wrong_guess
from denizen.sessions import crud
from denizen.sessions.crud import Login, SignIn
from denizen.sessions.errors import AccountNotInUse, SignInFailed
from denizen.sessions.events import Impersonated, Reauthenticated, SessionsEnded, SignedIn
from denizen.sessions.values import Account, caller_of, known_by
from denizen.users.errors import UserNotFound

NOTICE_AFTER: Final = timedelta(minutes=1)
_NOTICE_AFTER_SECONDS: Final = NOTICE_AFTER.total_seconds()
IMPERSONATION_LIFE: Final = timedelta(minutes=15)
FAILED: Final = "The name and the password do not fit, or nobody signs in to this account just now."


def idle_since_of(accounts: Accounts, at: datetime) -> datetime:
    """Give the instant since which a sign-in must have been used to be open at `at`."""
    return at - timedelta(seconds=accounts.settings.session_idle_timeout)


async def recognise(accounts: Accounts, token: str, at: datetime) -> Caller | None:
    """Recognise whoever signed in, by one statement; `None` for a token of another kind.

    Raises:
        CredentialsInvalid: a sign-in that is unknown, over or ended, or whose owner is suspended, inactive or deleted;
            which of them is not said.
    """
    if not token.startswith("dzs_"):
        return None
    rows: tuple[crud.Row, ...] = ()
    if looks_like(token, "dzs_"):
        rows = await crud.find_open_session(accounts.database.read, digest(token), at=at)
    if rows:
        caller, last_used_at = caller_of(rows)
        unused = (at - last_used_at).total_seconds()
        if unused < accounts.settings.session_idle_timeout:
            if unused >= _NOTICE_AFTER_SECONDS:
                accounts.noticed["session"][caller.id] = at
            return caller
    raise CredentialsInvalid("This sign-in is unknown or has ended.")


async def write_last_uses(accounts: Accounts) -> None:
    """Store the last uses that requests noticed, off their way: a read is no write."""
    await accounts.write_noticed("session", crud.note_last_uses)


# ---------------------------------------------------------------------------------------------------------- signing in


def may_sign_in(account: Account, *, at: datetime) -> bool:
    """Whether anybody signs in to the account just now: it is active, not deleted and not suspended."""
    suspended = account.suspended_at is not None and (account.suspended_until is None or account.suspended_until > at)
    return account.is_active and account.deleted_at is None and not suspended


async def verify_password(
    accounts: Accounts, user: Account | None, password: str, *, who: str, address: str | None
) -> Guessing:
    """Check a password under the limits of guessing: the same statements and one hash, whatever is wrong.

    Whoever goes on with it calls `right_guess` or `accept_guess` (of `limits.service`) in the transaction of what it
    opens, and looks there whether the account is still as it was: a hash takes its time.

    Args:
        accounts: where; no transaction of this task's may have begun.
        user: whose; `None` where there is no such account.
        password: in plain text.
        who: as of `limits.service.may_guess`.
        address: where it comes from.

    Returns:
        The limits that the guess met.

    Raises:
        SignInFailed: it does not fit, there is no such account, or nobody signs in to it just now.
        TooMany: one has to wait.
        HashingBusy: too many passwords wait.
    """
    limits = await may_guess(accounts, who, address)
    hashed = None if user is None else user.hashed_password
    fits = await accounts.hashing.verify(password, hashed, lane=Lane.PUBLIC)
    if user is None or not fits or not may_sign_in(user, at=accounts.clock()):
        await wrong_guess(accounts, who, address)
        raise _failed(user)
    return limits


def _failed(user: Account | None) -> SignInFailed:
    """Make the refusal: the same for everybody, and for the audit alone with whom it is about."""
    failed = SignInFailed(FAILED)
    failed.user_id = None if user is None else user.id
    return failed


class Opened(NamedTuple):
    """A sign-in, and the token that opens it, which nobody will see again."""

    session: SignIn
    token: str


async def find_login(accounts: Accounts, login: str) -> tuple[Login | None, str]:
    """Look for the account, hidden or closed ones too, that is known by a name; give what its guesses are counted for
    as well (see `limits.service.may_guess`): the same wherever somebody guesses, or the difference would tell which
    accounts there are.
    """
    column, key = known_by(login)
    found = await crud.find_login(accounts.database.read, column, key)
    return found, f"user {found.id}" if found is not None else f"name {key}"


async def sign_in(
    accounts: Accounts, db: AsyncSession, login: str, password: str, *, at: datetime, instead_of: str | None = None
) -> Opened:
    """Sign somebody in by his username or address, in any spelling, and his password.

    Args:
        accounts: where.
        db: a writing session that has not begun; it is not committed. The password is hashed before it begins.
        login: username or e-mail address.
        password: in plain text.
        at: now.
        instead_of: the token of a sign-in that ends with this: the one that the same browser had.

    Raises:
        SignInFailed: nobody is known by that, the password does not fit, or nobody signs in to the account just now.
        TooMany: one has to wait.
        HashingBusy: too many passwords wait.
    """
    found, who = await find_login(accounts, login)
    user, full = await _prove(accounts, db, found, password, who=who, at=at, instead_of=instead_of)
    await _end_instead(db, instead_of)
    return await _open(accounts, db, user.id, method="password", at=at, full=full)


async def _end_instead(db: AsyncSession, token: str | None) -> None:
    """End the sign-in that a browser had before this one, whoever's it was."""
    if token is not None and (owner := await crud.delete_session_by_token(db, digest(token))) is not None:
        await record(db, SessionsEnded(owner, 1, "signed in anew"))


async def _prove(
    accounts: Accounts,
    db: AsyncSession,
    found: Login | None,
    password: str,
    *,
    who: str,
    at: datetime,
    instead_of: str | None = None,
) -> tuple[Login, bool]:
    """Check a password, then begin the transaction of what it opens, and look there once more: a hash takes its time.

    Returns:
        The account, which nobody changes before the transaction ends, and whether it may have as many sign-ins as one
        can have.

    Raises:
        As `sign_in`.
    """
    limits = await verify_password(accounts, found, password, who=who, address=current_origin().address)
    assert found is not None  # noqa: S101  (or its password would not have fitted)
    stored = found.hashed_password or ""
    renewed = await _hash_anew(accounts, password, stored)
    await crud.lock_owners(db, instead_of, found.id)
    user, guesses, full = await run_together(
        db, crud.hold_login(found.id), see_guesses(limits), _see_surplus(accounts, found.id)
    )
    # A hash that another sign-in has just made anew is of the same password: with another one the version is another.
    changed = user is None or (user.hashed_password != stored and user.version != found.version)
    if user is None or changed or not may_sign_in(user, at=at):
        raise _failed(found)
    await accept_guess(accounts, db, limits, guesses)
    if renewed is not None:
        await crud.replace_hash(db, user.id, stored, renewed)
    return user, full


def _see_surplus(accounts: Accounts, user_id: UUID) -> Call[bool]:
    return crud.see_surplus(user_id, most=accounts.settings.sessions_per_user - 1)


async def _hash_anew(accounts: Accounts, password: str, stored: str) -> str | None:
    """Hash a password with today's effort, if it was hashed with another one and there is time for it now."""
    if not accounts.hashing.hasher.needs_rehash(stored):
        return None
    try:
        return await accounts.hashing.hash(password, lane=Lane.PUBLIC)
    except HashingBusy:
        return None


async def open_session(
    accounts: Accounts, db: AsyncSession, user_id: UUID, *, method: str, at: datetime, instead_of: str | None = None
) -> Opened:
    """Sign somebody in who has shown who he is.

    Args:
        accounts: where.
        db: a writing session; it is not committed.
        user_id: who.
        method: how he has shown it: `magic_link`, `code`, `invitation`.
        at: now.
        instead_of: as of `sign_in`; its owner is held (`crud.lock_owners`).

    Raises:
        SignInFailed: nobody signs in to the account just now.
    """
    user, full = await run_together(db, crud.hold_login(user_id), _see_surplus(accounts, user_id))
    if user is None or not may_sign_in(user, at=at):
        raise SignInFailed(FAILED)
    await _end_instead(db, instead_of)
    return await _open(accounts, db, user_id, method=method, at=at, full=full)


async def _open(
    accounts: Accounts,
    db: AsyncSession,
    user_id: UUID,
    *,
    method: str,
    at: datetime,
    full: bool = False,
    lifetime: timedelta | None = None,
    impersonator_id: UUID | None = None,
) -> Opened:
    """Open a sign-in to an account that is held; where it may be full, those unused for longest end."""
    settings, origin, token = accounts.settings, current_origin(), new_token("dzs_")
    if full and await crud.delete_surplus(db, user_id, most=settings.sessions_per_user - 1):
        await record(db, SessionsEnded(user_id, 1, "too many"))
    session = SignIn(
        id=new_id(),
        user_id=user_id,
        token_digest=digest(token),
        method=method,
        created_at=at,
        authenticated_at=at,
        last_used_at=at,
        expires_at=at + (lifetime or timedelta(seconds=settings.session_lifetime)),
        device=origin.device,
        address=origin.address,
        impersonator_id=impersonator_id,
    )
    await crud.create_session(db, session)
    if impersonator_id is None:
        await record(db, SignedIn(user_id, session.id, method))
    else:
        await record(db, Impersonated(user_id, session.id, impersonator_id))
    return Opened(session, token)


async def reauthenticate(
    accounts: Accounts, db: AsyncSession, caller: Caller, password: str, *, token: str, at: datetime
) -> Opened:
    """Let somebody who has signed in prove anew who he is; his token opens nothing any more, and he gets another.

    Args:
        accounts: where.
        db: as of `sign_in`.
        caller: who has signed in.
        password: in plain text.
        token: his, which he showed.
        at: now.

    Raises:
        As `sign_in`.
        CredentialsInvalid: his sign-in has ended meanwhile, or got another token.
    """
    user_id = caller.user_id
    found = None if user_id is None else await crud.find_login(accounts.database.read, "id", user_id)
    user, _ = await _prove(accounts, db, found, password, who=f"user {user_id}", at=at)
    new = new_token("dzs_")
    session = await crud.renew_session(db, caller.id, old_digest=digest(token), new_digest=digest(new), at=at)
    if session is None:
        raise CredentialsInvalid("This sign-in is unknown or has ended.")
    await record(db, Reauthenticated(user.id, session.id))
    return Opened(session, new)


async def impersonate(accounts: Accounts, db: AsyncSession, user_id: UUID, *, caller: Caller, at: datetime) -> Opened:
    """Let somebody act in somebody else's place, for a quarter of an hour and no longer than he has signed in himself.

    Args:
        accounts: where.
        db: a writing session; it is not committed.
        user_id: in whose place.
        caller: who: he has signed in himself and may do this.
        at: now.

    Raises:
        UserNotFound: no such account.
        BeyondCaller: the account holds a permission that the caller lacks.
        AccountNotInUse: nobody signs in to it just now.
        CredentialsInvalid: the caller's own account is not in use any more, or his sign-in has ended meanwhile, as when
            a role was taken from him.
    """
    assert caller.user_id is not None  # noqa: S101  (`OwnSession` sees to it)
    held = await crud.lock_logins(db, {user_id, caller.user_id})
    user, own = held.get(user_id), held.get(caller.user_id)
    # What both may do stays so until this is there to be seen, and to be ended, by whoever changes it next.
    await crud.hold_roles(db, held)
    if own is None or not may_sign_in(own, at=at) or not await crud.has_session(db, caller.id):
        raise CredentialsInvalid("This sign-in is unknown or has ended.")
    if user is None or user.deleted_at is not None:
        raise UserNotFound("User not found")
    await guard(db, caller, [user_id])
    if not may_sign_in(user, at=at):
        raise AccountNotInUse("Nobody signs in to this account just now: it is suspended, or not active.")
    left = IMPERSONATION_LIFE if caller.expires_at is None else min(IMPERSONATION_LIFE, caller.expires_at - at)
    return await _open(
        accounts, db, user_id, method="impersonation", at=at, lifetime=left, impersonator_id=caller.user_id
    )
