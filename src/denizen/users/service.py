"""Acts on accounts that are more than one statement: opening one, changing it; what moves it from one state to another
is in `states`.

Those that take a `caller` ask whether he may do that to this account (`core.events.guard`); that he may do such
things at all, whoever calls them has asked. `None` is the operator, or a host's own code, and may.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.accounts import Accounts
from denizen.core.auth import Caller, CredentialsMissing, Scope
from denizen.core.events import guard, profile_of, record
from denizen.core.hashing import Lane
from denizen.core.identifiers import Identity, email_key, identify
from denizen.core.profiles import changed_profile, new_profile
from denizen.core.rates import address_key, enforce
from denizen.limits.service import enforce_rate
from denizen.search import crud as search
from denizen.search.models import FOUND_BY
from denizen.users import crud, plans
from denizen.users.crud import Row
from denizen.users.errors import SignUpClosed, UserNotFound
from denizen.users.events import EmailChanged, SignedUp, UserCreated, UserUpdated
from denizen.users.models import User
from denizen.users.schemas import READ_FIELDS, OwnUpdate, UserCreate, UserUpdate

_UNIQUE: Final = frozenset({"username", "email", "external_id"})
_MINUTE: Final = 60.0
_SIGN_UPS: Final = "Too many accounts were created. Try again later."


async def sign_up(accounts: Accounts, db: AsyncSession, data: UserCreate, *, caller: Caller | None) -> User | None:
    """Open an account for somebody whom `admit` let in; `None` where a stranger has to prove his address first.

    Args:
        As `open_account`.

    Raises:
        As `open_account`; where the address has to be proved, never `EmailTaken`.
    """
    if _is_trusted(caller):
        return await open_account(accounts, db, data, caller=caller)
    if accounts.settings.signup == "verified" and accounts.sign_up is not None:
        await accounts.sign_up(accounts, db, data)
        return None
    user = await open_account(accounts, db, data, caller=caller)
    await record(db, SignedUp(user.id, after={"email": user.email}))
    return user


async def open_account(accounts: Accounts, db: AsyncSession, data: UserCreate, *, caller: Caller | None) -> User:
    """Create an account for somebody whom `admit` let in; its password is hashed before the first statement, so that no
    lock is held meanwhile.

    Args:
        accounts: where.
        db: a writing session that has not begun; it is not committed.
        data: of the new account. `is_active` is the caller's to set only with `users:write`.
        caller: who asks; `None` for somebody who signs up.

    Raises:
        EmailInvalid, UsernameInvalid, PasswordRefused, ProfileInvalid: as `core` judges them.
        EmailTaken, UsernameTaken, UsernameTooSimilar, ExternalIdTaken: as the database decides.
        HashingBusy: too many passwords wait.
    """
    trusted = _is_trusted(caller)
    judged = judge_profile(accounts, data.profile, caller=caller)
    return await create_account(
        accounts,
        db,
        username=data.username,
        email=data.email,
        full_name=data.full_name,
        external_id=data.external_id,
        is_active=data.is_active if trusted else True,
        password=data.password,
        lane=Lane.TRUSTED if trusted else Lane.PUBLIC,
        profile=judged,
    )


async def create_account(
    accounts: Accounts,
    db: AsyncSession,
    *,
    username: str | None,
    email: str | None,
    full_name: str | None = None,
    external_id: str | None = None,
    is_active: bool = True,
    password: str | None = None,
    lane: Lane = Lane.TRUSTED,
    profile: Mapping[str, Any] | None = None,
) -> User:
    """Create an account without asking who wants it: for code that has asked, and for the command line.

    Args:
        accounts: where.
        db: a writing session that has not begun, of the caller's own or ours; it is bound to `accounts` (see
            `Accounts.adopt`) and not committed.
        password: in plain text; `None` for an account that nobody can sign in to with one.
        lane: whose place in the queue of hashes it takes.
        profile: the own fields; `None` for later, which leaves the defaults, where all of them have one.

    Raises:
        As `open_account`, but for what concerns the caller.
        ValueError: `db` belongs to another install.
    """
    accounts.adopt(db)
    identity = judge_account(accounts, username, email, full_name, password=password)
    own = new_profile(accounts.profile, profile, by_owner=False)
    hashed = None if password is None else await accounts.hashing.hash(password, lane=lane)
    return await store_account(
        db,
        identity,
        full_name=full_name,
        external_id=external_id,
        is_active=is_active,
        hashed_password=hashed,
        profile=own,
        at=accounts.clock(),
    )


def judge_account(
    accounts: Accounts, username: str | None, email: str | None, full_name: str | None, *, password: str | None
) -> Identity:
    """Judge a new account as far as that takes no statement, and before its password costs a hash.

    Raises:
        EmailInvalid, UsernameInvalid, IdentityMissing, PasswordRefused: as `core` judges them.
    """
    identity = identify(username, email)
    if password is not None:
        accounts.check_password(password, username, email, full_name)
    return identity


def judge_profile(accounts: Accounts, given: Mapping[str, Any], *, caller: Caller | None) -> dict[str, Any]:
    """Judge the own fields of somebody who signs up, or whom a caller creates, before anything costs something.

    Raises:
        ProfileInvalid: as `core.profiles` judges them.
    """
    return new_profile(accounts.profile, given, by_owner=not _is_trusted(caller))


async def store_account(
    db: AsyncSession, identity: Identity, *, at: datetime, many: bool = False, **values: Any
) -> User:
    """Store an account that was judged.

    Args:
        db: a writing session; it is not committed.
        many: it is one of many: the caller indexes their words all at once, and the session does not get to know it.
        values: the other columns of `User`; `profile` as it was judged, or it has the defaults.

    Raises:
        EmailTaken, UsernameTaken, UsernameTooSimilar, ExternalIdTaken: as the database decides.
    """
    if "profile" not in values:
        values["profile"] = new_profile(profile_of(db), None, by_owner=False)
    user = User(**identity._asdict(), **values, created_at=at, updated_at=at)
    await crud.create_user(db, user, known=not many)
    if not many:
        await search.create_entry(db, user.id, *(getattr(user, name) for name in FOUND_BY))
    await record(db, UserCreated(user.id))
    return user


def _is_trusted(caller: Caller | None) -> bool:
    return caller is not None and caller.may(Scope.USERS_WRITE)


async def admit(accounts: Accounts, data: UserCreate, *, caller: Caller | None, address: str | None) -> None:
    """Let somebody open an account, or say why not. Who has `users:write` always may, without a statement.

    Strangers are counted twice: in the memory of the process, which costs a flood nothing, and then in the database, on
    which all processes agree and which remembers after a restart.

    Args:
        accounts: where; no transaction of this task's may have begun.
        data: of the new account. `external_id` is the caller's to set only with `users:write`.
        caller: who asks; `None` for somebody who signs up.
        address: where the request comes from, for the limits on sign-ups.

    Raises:
        CredentialsMissing, SignUpClosed, ScopeMissing: it takes more rights than he has.
        TooMany: too many came.
    """
    if _is_trusted(caller):
        return
    if accounts.settings.signup == "closed" or (accounts.settings.signup == "verified" and accounts.sign_up is None):
        if caller is None:
            raise CredentialsMissing("Accounts are created by those who may: this needs an API key with users:write.")
        raise SignUpClosed("Accounts are created by those who may: this needs the scope users:write.")
    if data.external_id is not None:
        if caller is None:
            raise CredentialsMissing("Setting external_id needs an API key with users:write.")
        caller.must(Scope.USERS_WRITE)
    at = accounts.clock().timestamp()
    place = address_key(address)
    for limiter, key in zip(accounts.sign_up_limits, (place, ""), strict=True):
        enforce(limiter, key, at=at, detail=_SIGN_UPS)
    settings = accounts.settings
    for name, key, most in (
        ("sign-up", place, settings.signup_rate_per_address),
        ("sign-up-total", "", settings.signup_rate_total),
    ):
        await enforce_rate(accounts, name, key, most=most, per=_MINUTE, detail=_SIGN_UPS)


async def change_user(
    db: AsyncSession,
    user_id: UUID,
    data: UserUpdate | OwnUpdate,
    *,
    versions: AbstractSet[int] | None,
    at: datetime,
    many: bool = False,
    caller: Caller | None = None,
) -> Row:
    """Set the fields that `data` names; where it names none nothing changes, not even the version.

    An address that an administrator sets has been proved by nobody, and what was sent to the old one opens nothing now.

    Args:
        db: a writing session.
        versions: those that may be changed (`If-Match`), or `None` for whichever there is.
        at: becomes `updated_at`.
        many: as for `store_account`.
        caller: who asks.

    Returns:
        The account after the change, in the order of `READ_FIELDS`.

    Raises:
        UserNotFound, UserChanged: nothing to change, or none of those versions.
        IdentityMissing: neither a username nor an e-mail address would be left.
        EmailInvalid, UsernameInvalid, EmailTaken, UsernameTaken, UsernameTooSimilar, ExternalIdTaken: as for a new one.
        ProfileInvalid: what the own fields would be after the change is not what the profile says.
        Invalid: his own account, and a field that nobody sets on his own.
        NotWhileImpersonating: a username or an address, by somebody in somebody else's place.
        BeyondCaller: an account that may do what the caller may not.
    """
    named = data.model_dump(include=data.model_fields_set)
    plans.check_change(caller, user_id, named)
    await guard(db, caller, [user_id])
    values: dict[str, Any] = dict(named)
    # It is read first, and held, for who is told what was there before: neither database gives that with the change
    # (SQLite never, PostgreSQL from 18 on).
    held = await crud.lock_user(db, user_id, versions=versions, unique=not named.keys().isdisjoint(_UNIQUE))
    if not named:
        return held
    before = dict(zip(READ_FIELDS, held, strict=True))
    if "profile" in named:
        own = isinstance(data, OwnUpdate) or (caller is not None and caller.is_self(user_id))
        named["profile"] = changed_profile(profile_of(db), before["profile"], named["profile"], by_owner=own)
        values["profile"] = named["profile"]
    if named.keys() & {"username", "email"}:
        # The two are judged together: a username with an @ must be the same person's address.
        identity = identify(named.get("username", before["username"]), named.get("email", before["email"]))
        values |= identity._asdict()
        if "email" in named and identity.email_key != (before["email"] and email_key(before["email"])):
            values["email_verified_at"] = None
    row = await crud.update_user(db, user_id, values, versions=versions, at=at)
    if not many and not named.keys().isdisjoint(FOUND_BY):
        shown = dict(zip(READ_FIELDS, row, strict=True))
        await search.update_entry(db, user_id, *(shown[name] for name in FOUND_BY))
    old, new = _told(before, named)
    await record(db, UserUpdated(user_id, tuple(sorted(named)), before=old, after=new))
    if "email_verified_at" in values:
        was, now = {"email": before["email"]}, {"email": values["email"]}
        await record(db, EmailChanged(user_id, "administrator", before=was, after=now))
    return row


def _told(before: Mapping[str, Any], named: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give what is told of a change, before and after: of own fields those that it changed."""
    old, new = {name: before[name] for name in named}, dict(named)
    if "profile" in named:
        was, now = before["profile"], named["profile"]
        changed = [name for name in {**was, **now} if _key(was, name) != _key(now, name)]
        old["profile"], new["profile"] = ({name: of[name] for name in changed if name in of} for of in (was, now))
    return old, new


def _key(profile: Mapping[str, Any], name: str) -> str:
    """Tell values apart as JSON does: `true` is not 1, and the order of members says nothing."""
    return json.dumps(profile[name], sort_keys=True) if name in profile else ""


async def find_own_user(accounts: Accounts, caller: Caller) -> dict[str, Any] | None:
    """Give the account of a person who calls as fields by name, where there still is one: the hot path."""
    assert caller.user_id is not None  # noqa: S101  (who asks has seen to it)
    try:
        row = await crud.read_user(accounts.database.read, caller.user_id)
    except UserNotFound:
        return None
    return dict(zip(READ_FIELDS, row, strict=True))
