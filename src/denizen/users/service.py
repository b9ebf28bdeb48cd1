"""Acts on accounts that are more than one statement: opening one, changing its names, planning a list."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.accounts import Accounts
from denizen.core.auth import Caller, CredentialsMissing, Scope
from denizen.core.database import Reader
from denizen.core.events import record
from denizen.core.hashing import Lane
from denizen.core.identifiers import Identity, clean_email, email_key, identify, username_key
from denizen.core.paging import CursorInvalid, CursorSigner
from denizen.core.rates import address_key, enforce
from denizen.core.types import format_utc, parse_utc
from denizen.search import crud as search
from denizen.search.models import FOUND_BY
from denizen.search.service import understand
from denizen.users import crud
from denizen.users.crud import Row, Shape
from denizen.users.errors import ListingUnsupported, SignUpClosed
from denizen.users.events import UserCreated, UserDeleted, UserUpdated
from denizen.users.models import User
from denizen.users.schemas import READ_FIELDS, UserCreate, UserFilter, UserQuery, UserUpdate


async def open_account(accounts: Accounts, db: AsyncSession, data: UserCreate, *, caller: Caller | None) -> User:
    """Create an account for somebody whom `admit` let in; its password is hashed before the first statement, so that no
    lock is held meanwhile.

    Args:
        accounts: where.
        db: a writing session that has not begun; it is not committed.
        data: of the new account. `is_active` is the caller's to set only with `users:write`.
        caller: who asks; `None` for somebody who signs up.

    Raises:
        EmailInvalid, UsernameInvalid, PasswordRefused: as `core` judges them.
        EmailTaken, UsernameTaken, UsernameTooSimilar, ExternalIdTaken: as the database decides.
        HashingBusy: too many passwords wait.
    """
    trusted = _is_trusted(caller)
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
) -> User:
    """Create an account without asking who wants it: for code that has asked, and for the command line.

    Args:
        accounts: where.
        db: a writing session that has not begun, of the caller's own or ours; it is bound to `accounts` (see
            `Accounts.adopt`) and not committed.
        password: in plain text; `None` for an account that nobody can sign in to with one.
        lane: whose place in the queue of hashes it takes.

    Raises:
        As `open_account`, but for what concerns the caller.
        ValueError: `db` belongs to another install.
    """
    accounts.adopt(db)
    identity = judge_account(accounts, username, email, full_name, password=password)
    hashed = None if password is None else await accounts.hashing.hash(password, lane=lane)
    return await store_account(
        db,
        identity,
        full_name=full_name,
        external_id=external_id,
        is_active=is_active,
        hashed_password=hashed,
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


async def store_account(
    db: AsyncSession, identity: Identity, *, at: datetime, many: bool = False, **values: Any
) -> User:
    """Store an account that was judged.

    Args:
        db: a writing session; it is not committed.
        many: it is one of many: the caller indexes their words all at once, and the session does not get to know it.
        values: the other columns of `User`.

    Raises:
        EmailTaken, UsernameTaken, UsernameTooSimilar, ExternalIdTaken: as the database decides.
    """
    user = User(**identity._asdict(), **values, created_at=at, updated_at=at)
    await crud.create_user(db, user, known=not many)
    if not many:
        await search.create_entry(db, user.id, *(getattr(user, name) for name in FOUND_BY))
    await record(db, UserCreated(user.id))
    return user


def _is_trusted(caller: Caller | None) -> bool:
    return caller is not None and caller.may(Scope.USERS_WRITE)


def admit(accounts: Accounts, data: UserCreate, *, caller: Caller | None, address: str | None) -> None:
    """Let somebody open an account, or say why not; without a statement. Who has `users:write` always may.

    Args:
        accounts: where.
        data: of the new account. `external_id` is the caller's to set only with `users:write`.
        caller: who asks; `None` for somebody who signs up.
        address: where the request comes from, for the limits on sign-ups.

    Raises:
        CredentialsMissing, SignUpClosed, ScopeMissing: it takes more rights than he has.
        TooMany: too many came.
    """
    if _is_trusted(caller):
        return
    if accounts.settings.signup != "open":
        if caller is None:
            raise CredentialsMissing("Accounts are created by those who may: this needs an API key with users:write.")
        raise SignUpClosed("Accounts are created by those who may: this needs the scope users:write.")
    if data.external_id is not None:
        if caller is None:
            raise CredentialsMissing("Setting external_id needs an API key with users:write.")
        caller.must(Scope.USERS_WRITE)
    at = accounts.clock().timestamp()
    for limiter, key in zip(accounts.sign_up_limits, (address_key(address), ""), strict=True):
        enforce(limiter, key, at=at, detail="Too many accounts were created. Try again later.")


async def change_user(
    db: AsyncSession,
    user_id: UUID,
    data: UserUpdate,
    *,
    versions: AbstractSet[int] | None,
    at: datetime,
    many: bool = False,
) -> Row:
    """Set the fields that `data` names; where it names none nothing changes, not even the version.

    Args:
        db: a writing session.
        versions: those that may be changed (`If-Match`), or `None` for whichever there is.
        at: becomes `updated_at`.
        many: as for `store_account`.

    Returns:
        The account after the change, in the order of `READ_FIELDS`.

    Raises:
        UserNotFound, UserChanged: nothing to change, or none of those versions.
        IdentityMissing: neither a username nor an e-mail address would be left.
        EmailInvalid, UsernameInvalid, EmailTaken, UsernameTaken, UsernameTooSimilar, ExternalIdTaken: as for a new one.
    """
    named = data.model_dump(include=data.model_fields_set)
    values: dict[str, Any] = dict(named)
    if not named or named.keys() & {"username", "email"}:
        # The two names are judged together (a username with an @ must be the same person's address), so the other one
        # is needed, and held.
        held = await crud.lock_user(db, user_id, versions=versions)
        if not named:
            return held
        before = dict(zip(READ_FIELDS, held, strict=True))
        identity = identify(named.get("username", before["username"]), named.get("email", before["email"]))
        values |= identity._asdict()
    row = await crud.update_user(db, user_id, values, versions=versions, at=at)
    if not many and not named.keys().isdisjoint(FOUND_BY):
        shown = dict(zip(READ_FIELDS, row, strict=True))
        await search.update_entry(db, user_id, *(shown[name] for name in FOUND_BY))
    await record(db, UserUpdated(user_id, tuple(sorted(named))))
    return row


async def erase_user(db: AsyncSession, user_id: UUID, *, versions: AbstractSet[int] | None) -> None:
    """Delete an account and, through their foreign keys, the rows that belong to it.

    Raises:
        UserNotFound, UserChanged: nothing to delete, or none of those versions.
    """
    number = await search.get_number(db, user_id)
    await crud.delete_user(db, user_id, versions=versions)
    await search.forget_number(db, number)
    await record(db, UserDeleted(user_id))


# --- Lists ---------------------------------------------------------------------------------------------

_UNIQUE = frozenset({"email", "username", "external_id", "id__in"})
"""Filters that leave so few rows that any order over them is cheap."""

_RANGED = ("created_at", "updated_at")
_NAMED = ("username", "email")


@dataclass(frozen=True, slots=True)
class Listing:
    """A list that can be served.

    Attributes:
        order: the field it is ordered by.
        descending: the other way round.
        values: the parameters of its conditions, by condition.
    """

    order: str
    descending: bool
    values: Mapping[str, Any]

    @property
    def conditions(self) -> tuple[str, ...]:
        """The names of the conditions, sorted."""
        return tuple(sorted(self.values))

    @property
    def name(self) -> str:
        """One canonical text for the same list, whichever way it was asked for; cursors are bound to it."""
        values = [f"{name}={self.values[name]!s}" for name in self.conditions]
        return "&".join([f"order={'-' if self.descending else ''}{self.order}", *values])


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list.

    Attributes:
        rows: in the order of `READ_FIELDS`.
        next_cursor: where it goes on; `None` at the end.
        total: how many there are in all, where that was asked for.
        cut: whether a search found more than these.
    """

    rows: list[Row]
    next_cursor: str | None = None
    total: int | None = None
    cut: bool = False


def plan_listing(query: UserQuery) -> Listing:
    """Turn what was asked for into a list that an index serves.

    Raises:
        ListingUnsupported: no index does. Said, rather than served slowly or with a filter left out.
        EmailInvalid, UsernameInvalid: a filter that can match nobody.
    """
    listing = plan_filter(query, order=query.order_by)
    if query.cursor is not None and query.skip is not None:
        raise ListingUnsupported(
            "`skip` and `cursor` cannot be combined: a cursor already says where to go on.", field="skip"
        )
    if query.skip is not None and listing.order in _NAMED:
        raise ListingUnsupported(f"`skip` does not work with order_by={listing.order}; page by `cursor`.", field="skip")
    return listing


def plan_filter(asked: UserFilter, *, order: str | None = None) -> Listing:
    """Turn a filter into a list that an index serves, ordered by `order` or else by the field of its range, or by `id`.

    Raises:
        ListingUnsupported, EmailInvalid, UsernameInvalid: as `plan_listing`.
    """
    values = _values_of(asked)
    ranged = [name for name in _RANGED if any(condition.startswith(f"{name}__") for condition in values)]
    order = order or (ranged[0] if ranged else "id")
    listing = Listing(order.removeprefix("-"), order.startswith("-"), values)
    if not _UNIQUE & values.keys():
        _refuse_unindexed(listing, ranged)
    return listing


def _refuse_unindexed(listing: Listing, ranged: list[str]) -> None:
    if len(ranged) > 1:
        raise ListingUnsupported("Ranges of created_at and updated_at cannot be combined.", field="updated_at")
    if ranged and listing.order != ranged[0]:
        raise ListingUnsupported(
            f"A range of {ranged[0]} is ordered by it: order_by={ranged[0]} or -{ranged[0]}.", field="order_by"
        )
    if "is_active" in listing.values and listing.order != "id":
        raise ListingUnsupported("is_active goes with order_by=id or -id, and with no range.", field="is_active")


def _values_of(asked: UserFilter) -> dict[str, Any]:
    values: dict[str, Any] = {
        name: value for name in UserFilter.model_fields if (value := getattr(asked, name)) is not None
    }
    if "email" in values:
        values["email"] = email_key(clean_email(values["email"]))
    if "username" in values:
        values["username"] = username_key(values["username"])
    return values


async def search_users(reads: Reader, query: UserQuery, asked: str) -> Page:
    """Serve the best accounts for what somebody typed.

    Raises:
        ListingUnsupported: something else than `limit` was asked for beside it.
        SearchInvalid: nothing to search for.
    """
    beside = sorted(query.model_fields_set - {"q", "limit"})
    if beside:
        raise ListingUnsupported(f"A search goes with limit alone, not with {beside[0]}.", field=beside[0])
    rows, found = await crud.search_users(reads, understand(asked, reads.kind), limit=query.limit)
    return Page(rows, cut=found > len(rows))


async def list_users(reads: Reader, cursors: CursorSigner, query: UserQuery) -> Page:
    """Serve a page of a list, or of a search.

    Raises:
        ListingUnsupported, SearchInvalid, CursorInvalid, EmailInvalid, UsernameInvalid: the question cannot be answered
            as it stands.
    """
    if query.q is not None:
        return await search_users(reads, query, query.q)
    listing = plan_listing(query)
    place = (
        _Place.of(listing) if query.cursor is None else _Place.read(listing, cursors.read(listing.name, query.cursor))
    )
    rows = await _walk(reads, listing, place, limit=query.limit + 1, skip=query.skip or 0)
    more = len(rows) > query.limit
    rows = rows[: query.limit]
    total = None
    if query.count is not None:
        shape = Shape(conditions=listing.conditions)
        total = await crud.count_users(reads, shape, listing.values, exact=query.count == "exact")
    return Page(rows, cursors.make(listing.name, _Place.behind(listing, rows[-1]).written()) if more else None, total)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a list goes on: the leg of the walk, and the sort values of the last row seen in it."""

    leg: crud.Leg
    after: tuple[Any, ...] = ()

    @classmethod
    def of(cls, listing: Listing) -> _Place:
        """Give the beginning."""
        return cls("named" if listing.order in _NAMED else "whole")

    @classmethod
    def behind(cls, listing: Listing, row: Row) -> _Place:
        """Give the place behind `row`."""
        values = dict(zip(READ_FIELDS, row, strict=True))
        if listing.order in _NAMED:
            shown = values[listing.order]
            if shown is None:
                return cls("nameless", (values["id"],))
            return cls("named", ((username_key if listing.order == "username" else email_key)(shown),))
        return cls("whole", (values["id"],) if listing.order == "id" else (values[listing.order], values["id"]))

    def written(self) -> list[Any]:
        """Give it in JSON's types."""
        return [self.leg, *(format_utc(each) if isinstance(each, datetime) else str(each) for each in self.after)]

    @classmethod
    def read(cls, listing: Listing, written: list[Any]) -> _Place:
        """Read what `written` gave; the signature has vouched for its form."""
        leg, *after = written
        if leg == "named":
            return cls("named", tuple(after))
        if leg == "nameless" or listing.order == "id":
            return cls(leg, (UUID(after[0]),))
        if len(after) != 2:
            raise CursorInvalid("This cursor is of another release. Start again without it.", field="cursor")
        return cls("whole", (parse_utc(after[0]), UUID(after[1])))


async def _walk(reads: Reader, listing: Listing, place: _Place, *, limit: int, skip: int) -> list[Row]:
    """Read on from `place`; behind the last name come those without one, whichever way the list runs."""
    rows = await _read_leg(reads, listing, place, limit=limit, skip=skip)
    if place.leg == "named" and len(rows) < limit:
        rows += await _read_leg(reads, listing, _Place("nameless"), limit=limit - len(rows), skip=0)
    return rows


async def _read_leg(reads: Reader, listing: Listing, place: _Place, *, limit: int, skip: int) -> list[Row]:
    shape = Shape(listing.order, listing.descending, place.leg, bool(place.after), listing.conditions)
    after = {f"after_{index}": value for index, value in enumerate(place.after)}
    return await crud.list_users(reads, shape, {**listing.values, **after}, limit=limit, skip=skip)
