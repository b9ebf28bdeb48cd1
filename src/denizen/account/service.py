"""What people do to their own account: prove an address, choose and change passwords, change the address."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from denizen.account.errors import EmailMissing
from denizen.account.plans import hold_own, judge, look, send_link, spend, tell
from denizen.core.accounts import Accounts
from denizen.core.auth import Caller, NotWhileImpersonating, ReauthenticationNeeded
from denizen.core.errors import Invalid
from denizen.core.events import INSTALL, guard
from denizen.core.hashing import Lane
from denizen.core.identifiers import clean_email, email_key
from denizen.core.origin import coming_from, current_origin
from denizen.keys.service import revoke_keys_of
from denizen.limits.service import forget_guesses, right_guess
from denizen.mail.service import may_ask, may_post, post
from denizen.onetime import crud as tokens
from denizen.sessions.errors import SignInFailed
from denizen.sessions.service import may_sign_in, verify_password
from denizen.sessions.states import end_sessions
from denizen.users import crud as users
from denizen.users.crud import Row
from denizen.users.errors import EmailTaken, UserInUse, UserNotFound
from denizen.users.events import UserDeleted, UserSuspended
from denizen.users.proofs import drop_email, prove_email, set_email, set_password
from denizen.users.schemas import READ_FIELDS
from denizen.users.states import erase_user

EMAIL: Final = READ_FIELDS.index("email")
"""Where the address stands in a `Row`."""


# --------------------------------------------------------------------------------------------------------------- links


async def ask_for_link(
    accounts: Accounts, purpose: str, email: str, *, address: str | None, language: str | None = None
) -> None:
    """Send a link for proving an address (`verify`) or for a new password (`reset`), if there is somebody to get it.

    What is done, and what it takes, is the same for every address: of letters to nobody the rows are written too, and
    deleted in the same transaction. So nobody learns from the answer or its time who has an account.

    Args:
        accounts: where.
        purpose: `verify` or `reset`.
        email: as it was typed.
        address: where the request comes from.
        language: the reader's.

    Raises:
        EmailInvalid: it is no address.
        TooMany: too many letters were asked for from there.
    """
    clean = clean_email(email)
    await may_ask(accounts, address)
    if not await may_post(accounts, purpose, clean):
        return
    at = accounts.clock()
    async with accounts.writing() as db:
        user = await users.find_user_to_add_to(db, clean)
        real = user is not None and may_sign_in(user, at=at) and (purpose == "reset" or user.email_verified_at is None)
        to, user_id = (user.email or clean, user.id) if user is not None and real else (clean, None)
        await send_link(accounts, db, purpose, to=to, user_id=user_id, at=at, language=language, real=real)


async def own_email(accounts: Accounts, caller: Caller | None) -> str:
    """Give the address of whoever asks for a letter without saying where to.

    Raises:
        Invalid: nobody has signed in.
        EmailMissing: he has none.
    """
    if caller is None or caller.user_id is None:
        raise Invalid("email: Field required.", field="email")
    async with accounts.database.read.session() as db:
        user = await users.get_user(db, caller.user_id)
    if user.email is None:
        raise EmailMissing("Your account has no e-mail address.")
    return user.email


async def verify_email(accounts: Accounts, db: AsyncSession, token: str, password: str | None, *, at: datetime) -> Row:
    """Prove an address. The first proof ends what was made before it, the password too unless one comes along.

    Args:
        accounts: where.
        db: a writing session that has not begun; it is not committed.
        token: of the letter.
        password: that takes the place of whichever there was; used at the first proof alone.
        at: now.

    Raises:
        LinkInvalid: it opens nothing.
        PasswordRefused, HashingBusy: as for a new account.
    """
    opened, user = await look(accounts, "verify", token, at=at)
    hashed = await judge(accounts, user, password, lane=Lane.PUBLIC) if user.email_verified_at is None else None
    user = await spend(accounts, db, "verify", token, opened, at=at)
    with coming_from(current_origin(user_id=user.id)):
        return await prove_email(db, user, at=at, password_hash=hashed if user.email_verified_at is None else None)


async def reset_password(
    accounts: Accounts, db: AsyncSession, token: str, password: str, *, at: datetime, language: str | None = None
) -> Row:
    """Set a new password by a link, which proves the address as well: all sessions end, wrong guesses are forgotten.

    Args:
        As `verify_email`.
        language: the owner's, for the letter that tells him.

    Raises:
        As `verify_email`.
    """
    opened, user = await look(accounts, "reset", token, at=at)
    hashed = await judge(accounts, user, password, lane=Lane.PUBLIC)
    user = await spend(accounts, db, "reset", token, opened, at=at)
    with coming_from(current_origin(user_id=user.id)):
        row = await prove_email(db, user, at=at, password_hash=hashed)
    await forget_guesses(accounts, db, f"user {user.id}", current_origin().address)
    await tell(accounts, db, "password_changed", user, at=at, language=language)
    return row


async def confirm_email(
    accounts: Accounts,
    db: AsyncSession,
    token: str,
    password: str | None,
    *,
    at: datetime,
    language: str | None = None,
) -> Row:
    """Give an account the address that was asked for, now that somebody has shown to read mail there.

    The old address is told and can undo it, unless nobody ever showed to read mail at that one: it may be a stranger's.
    Where no address of the account was proved before, this is the first proof.

    Args:
        As `reset_password`; `password` as of `verify_email`.

    Raises:
        As `verify_email`.
        EmailTaken: another account has the address by now.
    """
    opened, user = await look(accounts, "change_email", token, at=at)
    email = opened.email or ""
    first = user.email_verified_at is None
    hashed = await judge(accounts, user, password, email, lane=Lane.PUBLIC) if first else None
    user = await spend(accounts, db, "change_email", token, opened, at=at)
    with coming_from(current_origin(user_id=user.id)):
        if user.email_verified_at is None:
            await prove_email(db, user, at=at, password_hash=hashed)
        row = await set_email(db, user, email, way="confirmed", at=at)
    if user.email is not None and user.email_verified_at is not None and user.email_key != email_key(email):
        await send_link(
            accounts,
            db,
            "undo_email",
            to=user.email,
            user_id=user.id,
            at=at,
            language=language,
            letter="email_changed",
            alone=False,
        )
    return row


async def undo_email(
    accounts: Accounts, db: AsyncSession, token: str, *, at: datetime, language: str | None = None
) -> Row:
    """Give an account its old address back, and close it to whoever took it.

    Whoever changed the address had signed in just before, so he knows the password or has a way to get in without. All
    that opens the account ends: sessions, the person's keys, pending links, and the password; its owner chooses another
    one by the link that is sent to the old address.

    Args:
        As `reset_password`.

    Raises:
        LinkInvalid: it opens nothing.
        EmailTaken: another account has proved the address by now.
    """
    opened, user = await look(accounts, "undo_email", token, at=at)
    email = opened.email or ""
    await users.hold_with_namesake(db, user.id, email)
    user = await spend(accounts, db, "undo_email", token, opened, at=at)
    with coming_from(current_origin(user_id=user.id)):
        await _take_from_squatter(db, email, at=at)
        await set_email(db, user, email, way="undone", at=at)
        row = await set_password(accounts, db, user.id, None, way="removed", at=at)
        await end_sessions(db, user.id, reason="change of address undone")
        await revoke_keys_of(db, user.id, at=at)
    await tokens.delete_tokens(db, user.id)
    await send_link(accounts, db, "reset", to=email, user_id=user.id, at=at, language=language)
    return row


async def _take_from_squatter(db: AsyncSession, email: str, *, at: datetime) -> None:
    """Take an address from an account that never proved it: a thief could have opened that to prevent the undoing. One
    that he deleted, which would hold the address for as long as it can be restored, is erased.
    """
    other = await users.find_user_by_email(db, email, for_update=True, deleted=True)
    if other is None or other.email_verified_at is not None:
        return
    if other.deleted_at is None:
        await drop_email(db, other, at=at)
        return
    try:
        await erase_user(db, other.id, versions=None, hidden=True)
    except UserInUse:
        raise EmailTaken("A deleted account that cannot be erased yet has this address.", field="email") from None


# ------------------------------------------------------------------------------------------- of whoever has signed in


async def change_password(
    accounts: Accounts,
    db: AsyncSession,
    caller: Caller,
    current: str | None,
    new: str,
    *,
    address: str | None,
    at: datetime,
) -> None:
    """Change the caller's password; his other sessions end, this one goes on.

    Args:
        accounts: where.
        db: a writing session that has not begun; it is not committed.
        caller: who has signed in, himself.
        current: his password; people without one have signed in just before instead.
        new: the other one.
        address: where he is.
        at: now.

    Raises:
        Invalid: the current password is missing.
        SignInFailed: it does not fit.
        ReauthenticationNeeded: he has none, and signed in too long ago.
        CredentialsInvalid: his sign-in has ended meanwhile.
        TooMany, PasswordRefused, HashingBusy: as at sign-in, and for a new account.
    """
    user_id = _person(caller)
    async with accounts.database.read.session() as reading:
        user = await users.get_user(reading, user_id)
    who = f"user {user_id}"
    if user.hashed_password is None:
        _check_fresh(accounts, caller, at=at)
    elif current is None:
        raise Invalid("current_password: Field required.", field="current_password")
    else:
        await verify_password(accounts, user, current, who=who, address=address)
    hashed = await judge(accounts, user, new, lane=Lane.TRUSTED)
    held = await hold_own(db, caller, at=at)
    if held.hashed_password != user.hashed_password:
        raise SignInFailed("The password was changed meanwhile.")
    if user.hashed_password is not None:
        await right_guess(accounts, db, who, address)
    await set_password(accounts, db, user_id, hashed, way="changed", keep=caller.id, at=at)
    await tell(accounts, db, "password_changed", held, at=at)


def _person(caller: Caller) -> UUID:
    if caller.user_id is None:
        raise UserNotFound("User not found")
    return caller.user_id


def _check_fresh(accounts: Accounts, caller: Caller, *, at: datetime) -> None:
    recent = at - timedelta(seconds=accounts.settings.reauthentication_timeout)
    if caller.authenticated_at is None or caller.authenticated_at < recent:
        raise ReauthenticationNeeded("Prove first who you are: POST /auth/reauthenticate.")


async def ask_for_email(
    accounts: Accounts, caller: Caller, email: str, *, address: str | None, language: str | None = None
) -> None:
    """Ask to change the caller's address: a link is sent to the new one, and nothing changes before it is opened.

    Where the address belongs to another account its owner is told instead, and the answer is the same.

    Args:
        As `ask_for_link`.

    Raises:
        EmailInvalid, TooMany: as `ask_for_link`.
        CredentialsInvalid: his sign-in has ended meanwhile.
    """
    user_id, clean = _person(caller), clean_email(email)
    await may_ask(accounts, address)
    if not await may_post(accounts, "change_email", clean):
        return
    at = accounts.clock()
    async with accounts.writing() as db:
        user = await hold_own(db, caller, at=at)
        other = await users.find_user_by_email(db, clean)
        taken = other is not None and other.id != user_id
        await send_link(
            accounts,
            db,
            "change_email",
            to=clean,
            user_id=user_id,
            at=at,
            language=language,
            letter="sign_up_known" if taken else None,
            about=other.id if other is not None and taken else None,
            real=not taken,
            payload={"from": user.email_key},
        )


async def own_data(accounts: Accounts, caller: Caller) -> dict[str, Any]:
    """Give all that the rooms store about the caller, by what each of them calls it."""
    user_id = _person(caller)
    async with accounts.database.read.slow() as db:
        return {
            holding.name: await holding.read(db, user_id)
            for holding in sorted(accounts.holdings, key=lambda each: each.name)
        }


async def tell_of_leaving(db: AsyncSession, event: UserDeleted) -> None:
    """Send whoever deleted his own account a letter that says so, as long as there is something to send it to.

    An account that is erased with the same act is gone by now, and its address with it.
    """
    if event.erase_at is None or current_origin().user_id != event.user_id:
        return
    install: Accounts = db.info[INSTALL]
    email = (await users.describe_user(db, event.user_id))["email"]
    if email is not None:
        at, told = install.clock(), {"until": event.erase_at}
        await post(install, db, "deleted", to=email, at=at, values=told, user_id=event.user_id)


async def tell_of_suspension(db: AsyncSession, event: UserSuspended) -> None:
    """Send whoever cannot sign in any more a letter that says so and until when; why is for administrators. Nothing to
    an address that he never proved: it may be a stranger's.
    """
    install: Accounts = db.info[INSTALL]
    held = await users.describe_user(db, event.user_id)
    if held["email"] is not None and held["email_verified_at"] is not None:
        at, told = install.clock(), {"until": event.until}
        await post(install, db, "suspended", to=held["email"], at=at, values=told, user_id=event.user_id)


# --------------------------------------------------------------------------------------------------- of administrators


async def send_password_link(
    accounts: Accounts,
    db: AsyncSession,
    user_id: UUID,
    *,
    caller: Caller | None,
    at: datetime,
    language: str | None = None,
) -> None:
    """Send the owner of an account a link for a new password; nobody else gets to see it.

    Args:
        accounts: where.
        db: a writing session; it is not committed.
        user_id: whose.
        caller: who wants it, with `users:write`; `None` for the operator.
        at: now.
        language: of the letter.

    Raises:
        UserNotFound: there is no such account.
        BeyondCaller: the account may do what the caller may not.
        NotWhileImpersonating: the caller acts in somebody else's place.
        EmailMissing: there is nowhere to send it.
    """
    if caller is not None and caller.impersonator_id is not None:
        raise NotWhileImpersonating("Links for passwords are not sent in somebody else's place.")
    user = await users.get_user(db, user_id, for_update=True)
    await guard(db, caller, [user_id])
    if user.email is None:
        raise EmailMissing("The account has no e-mail address that a link could be sent to.")
    await send_link(accounts, db, "reset", to=user.email, user_id=user_id, at=at, language=language)
