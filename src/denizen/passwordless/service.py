"""Acts of signing in without a password: by a link, or by a code that is bound to whoever asked for it.

What asking does, and what it takes, is the same for every address: of letters to nobody the rows are written too, and
deleted in the same transaction. So nobody learns from the answer or its time who has an account.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.accounts import Accounts
from denizen.core.identifiers import clean_email, email_key
from denizen.core.ids import new_id
from denizen.core.origin import coming_from, current_origin
from denizen.core.tokens import new_token
from denizen.limits.service import may_guess, right_guess, wrong_guess
from denizen.mail import crud as mails
from denizen.mail.service import may_ask, may_post, post
from denizen.onetime import service as onetime
from denizen.onetime.errors import LinkInvalid
from denizen.onetime.service import CODE_LIFETIME
from denizen.passwordless.errors import PasswordlessOff
from denizen.sessions.crud import lock_owners
from denizen.sessions.service import Opened, find_login, may_sign_in, open_session
from denizen.users import crud as users
from denizen.users.errors import UserNotFound
from denizen.users.models import User
from denizen.users.proofs import prove_email

_INVALID: Final = "This link or code is not valid: it is unknown, has been used, or has expired."


def check_offered(accounts: Accounts) -> None:
    """Refuse where the operator does not want it.

    Raises:
        PasswordlessOff: he does not.
    """
    if not accounts.settings.passwordless:
        raise PasswordlessOff("Nobody signs in by links and codes here.")


# -- asking -----------------------------------------------------------------------------------------------------------


async def ask_for_link(accounts: Accounts, email: str, *, address: str | None, language: str | None = None) -> None:
    """Mail a link to sign in by, if there is somebody to send it to.

    Args:
        accounts: where; no transaction of this task's may have begun.
        email: as it was typed.
        address: where the request comes from.
        language: the reader's.

    Raises:
        EmailInvalid: it is no address.
        TooMany: too many letters were asked for from there.
    """
    clean = clean_email(email)
    if not await _may_ask(accounts, "magic_link", clean, address):
        return
    at, life = accounts.clock(), timedelta(seconds=accounts.settings.magic_link_lifetime)
    async with accounts.writing() as db:
        to, user_id = await _recipient(db, clean, at=at)
        token = await onetime.issue(accounts, db, "magic_link", at=at, lifetime=life, user_id=user_id, email=to)
        link = accounts.public_url(f"/auth/magic-link/sign-in?token={token}")
        values = {"link": link, "minutes": life.total_seconds() / 60}
        await _send(accounts, db, "magic_link", to=to, user_id=user_id, values=values, at=at, language=language)
        await onetime.take_back(db, "" if user_id else token)  # hits nothing where it was for somebody


async def ask_for_code(accounts: Accounts, email: str, *, address: str | None, language: str | None = None) -> str:
    """Mail a code to sign in by, if there is somebody to send it to; give the ticket that goes with it.

    Args:
        As `ask_for_link`.

    Returns:
        A ticket, which opens nothing where there is nobody.

    Raises:
        As `ask_for_link`.
    """
    clean = clean_email(email)
    if not await _may_ask(accounts, "code", clean, address):
        return new_token("dzc_")
    _, who = await find_login(accounts, clean)
    at = accounts.clock()
    async with accounts.writing() as db:
        to, user_id = await _recipient(db, clean, at=at)
        ticket, code = await onetime.issue_code(accounts, db, at=at, user_id=user_id, email=to, payload={"who": who})
        values = {"code": code, "minutes": CODE_LIFETIME.total_seconds() / 60}
        await _send(accounts, db, "code", to=to, user_id=user_id, values=values, at=at, language=language)
    return ticket


async def _may_ask(accounts: Accounts, kind: str, email: str, address: str | None) -> bool:
    """Count one more letter that an address asks for, and one more to its recipient; tell whether it is to be sent.

    Raises:
        TooMany: too many were asked for from there.
    """
    await may_ask(accounts, address)
    return await may_post(accounts, kind, email)


async def _recipient(db: AsyncSession, email: str, *, at: datetime) -> tuple[str, UUID | None]:
    """Give where a letter goes, and to whom; to nobody where the address has no account that is open. The account is
    held before tokens are issued, the same order everywhere.
    """
    user = await users.find_user_by_email(db, email, for_update=True)
    if user is None or not may_sign_in(user, at=at):
        return email, None
    return user.email or email, user.id


async def _send(
    accounts: Accounts,
    db: AsyncSession,
    letter: str,
    *,
    to: str,
    user_id: UUID | None,
    values: dict[str, Any],
    at: datetime,
    language: str | None,
) -> None:
    mail = await post(accounts, db, letter, to=to, at=at, values=values, user_id=user_id, language=language)
    await mails.delete_mail(db, new_id() if user_id else mail.id)  # hits nothing where it was for somebody


# -- signing in -------------------------------------------------------------------------------------------------------


async def find_link(accounts: Accounts, token: str, *, at: datetime) -> str:
    """Give the address that a link was sent to, without spending it.

    Raises:
        LinkInvalid: it opens nothing.
    """
    return (await onetime.peek(accounts, "magic_link", token, at=at)).email or ""


async def sign_in_by_link(
    accounts: Accounts, db: AsyncSession, token: str, *, at: datetime, instead_of: str | None = None
) -> Opened:
    """Sign in whoever has a link; that proves the address.

    Args:
        accounts: where.
        db: a writing session that has not begun; it is not committed.
        token: of the link.
        at: now.
        instead_of: as of `sessions.service.sign_in`.

    Returns:
        The sign-in, and the token that opens it, which nobody will see again.

    Raises:
        LinkInvalid: it opens nothing, or nobody signs in to its account just now; which of them is not said.
    """
    seen = await onetime.peek(accounts, "magic_link", token, at=at)
    user = await _hold(db, seen, at=at, instead_of=instead_of)
    await onetime.spend(accounts, db, "magic_link", token, at=at)
    return await _open(accounts, db, user, method="magic_link", at=at, instead_of=instead_of)


async def sign_in_by_code(
    accounts: Accounts,
    ticket: str,
    code: str,
    *,
    address: str | None,
    at: datetime,
    instead_of: str | None = None,
) -> Opened:
    """Sign in whoever has both a ticket and its code; that proves the address. Wrong codes count as wrong passwords do.

    Args:
        accounts: where; no transaction of this task's may have begun.
        ticket: of whoever asked for the code.
        code: of the letter.
        address: where he is.
        at: now.
        instead_of: as of `sessions.service.sign_in`.

    Returns:
        As `sign_in_by_link`.

    Raises:
        LinkInvalid: as `sign_in_by_link`; also for a ticket that was tried too often.
        TooMany: one has to wait.
    """
    seen = await onetime.peek(accounts, "mailed_code", ticket, at=at)
    who = seen.payload["who"]
    await may_guess(accounts, who, address)
    try:
        await onetime.spend_code(accounts, ticket, "".join(code.split()), at=at)
    except LinkInvalid:
        await wrong_guess(accounts, who, address)
        raise
    async with accounts.writing() as db:
        user = await _hold(db, seen, at=at, instead_of=instead_of)
        await right_guess(accounts, db, who, address)
        return await _open(accounts, db, user, method="code", at=at, instead_of=instead_of)


async def _hold(db: AsyncSession, seen: onetime.Opened, *, at: datetime, instead_of: str | None) -> User:
    """Give the account that a token is of, held, if it still has the address and somebody may sign in to it."""
    if seen.user_id is None:
        raise LinkInvalid(_INVALID)
    await lock_owners(db, instead_of, seen.user_id)
    try:
        user: User | None = await users.get_user(db, seen.user_id, for_update=True)
    except UserNotFound:
        user = None
    if user is None or user.email_key != email_key(seen.email or "") or not may_sign_in(user, at=at):
        raise LinkInvalid(_INVALID)
    return user


async def _open(
    accounts: Accounts, db: AsyncSession, user: User, *, method: str, at: datetime, instead_of: str | None
) -> Opened:
    """Note the proof, which where it is the first ends all sign-ins from before; then open one."""
    with coming_from(current_origin(user_id=user.id)):
        await prove_email(db, user, at=at)
        return await open_session(accounts, db, user.id, method=method, at=at, instead_of=instead_of)
