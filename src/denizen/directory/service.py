"""What it takes to serve a list: a plan that an index serves, a place in it, a page of it. And one change of all who
match.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from denizen.core.accounts import Accounts
from denizen.core.database import Reader
from denizen.core.errors import DenizenError, StorageFull, Unavailable, UnknownParameter
from denizen.core.identifiers import clean_email, email_key, username_key
from denizen.core.paging import CursorInvalid, CursorSigner
from denizen.core.profiles import FILTER, Profile
from denizen.core.types import format_utc, parse_utc
from denizen.directory import crud
from denizen.directory.crud import Shape
from denizen.directory.errors import ListingUnsupported
from denizen.directory.schemas import UserFilter, UserQuery
from denizen.search.service import understand
from denizen.users.crud import Row
from denizen.users.errors import UserChanged, UserNotFound
from denizen.users.schemas import READ_FIELDS, UserUpdate
from denizen.users.service import change_user

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


def plan_listing(query: UserQuery, profile: Profile | None = None) -> Listing:
    """Turn what was asked for into a list that an index serves.

    Args:
        query: what was asked for.
        profile: the own fields of this install.

    Raises:
        ListingUnsupported: no index does. Said, rather than served slowly or with a filter left out.
        EmailInvalid, UsernameInvalid, ProfileInvalid: a filter that can match nobody.
        UnknownParameter: an own field that there is not, or that cannot be compared.
    """
    listing = plan_filter(query, profile, order=query.order_by)
    if query.cursor is not None and query.skip is not None:
        raise ListingUnsupported(
            "`skip` and `cursor` cannot be combined: a cursor already says where to go on.", field="skip"
        )
    if query.skip is not None and listing.order in _NAMED:
        raise ListingUnsupported(f"`skip` does not work with order_by={listing.order}; page by `cursor`.", field="skip")
    return listing


def plan_filter(asked: UserFilter, profile: Profile | None = None, *, order: str | None = None) -> Listing:
    """Turn a filter into a list that an index serves, ordered by `order` or else by the field of its range, or by `id`.

    Raises:
        ListingUnsupported, EmailInvalid, UsernameInvalid, ProfileInvalid, UnknownParameter: as `plan_listing`.
    """
    values = values_of(asked, profile)
    ranged = [name for name in _RANGED if any(condition.startswith(f"{name}__") for condition in values)]
    order = order or (ranged[0] if ranged else "id")
    listing = Listing(order.removeprefix("-"), order.startswith("-"), values)
    if not crud.UNIQUE & values.keys():
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
    if crud.PROFILE in listing.values and listing.order != "id":
        raise ListingUnsupported(
            "Own fields of accounts go with order_by=id or -id, and with no range.", field=crud.PROFILE
        )


def values_of(asked: UserFilter, profile: Profile | None) -> dict[str, Any]:
    """Give the parameters of a filter's conditions, by condition.

    Raises:
        EmailInvalid, UsernameInvalid, ProfileInvalid, UnknownParameter: as `plan_listing`.
    """
    values: dict[str, Any] = {
        name: value for name in UserFilter.model_fields if (value := getattr(asked, name)) is not None
    }
    if "email" in values:
        values["email"] = email_key(clean_email(values["email"]))
    if "username" in values:
        values["username"] = username_key(values["username"])
    if asked.own_fields:
        values[crud.PROFILE] = {name: _wanted(profile, name, text) for name, text in asked.own_fields.items()}
    return values


def _wanted(profile: Profile | None, name: str, text: str) -> Any:
    if profile is None or f"{FILTER}{name}" not in profile.filters:
        raise UnknownParameter(
            "Accounts are not found by this field of their own: there is no such, or not as a value."
        )
    return profile.read_wanted(name, text)


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


async def list_users(reads: Reader, cursors: CursorSigner, query: UserQuery, profile: Profile | None = None) -> Page:
    """Serve a page of a list, or of a search.

    Raises:
        ListingUnsupported, SearchInvalid, CursorInvalid, EmailInvalid, UsernameInvalid, ProfileInvalid,
            UnknownParameter: the question cannot be answered as it stands.
    """
    if query.q is not None:
        return await search_users(reads, query, query.q)
    listing = plan_listing(query, profile)
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


# --- One change of all who match --------------------------------------------------------------------------

_AT_ONCE: Final = 200
"""Accounts in one transaction: on SQLite it keeps other writers waiting for a tenth of a second."""

_TRIES: Final = 3
_PAUSE_SECONDS: Final = 1.0


@dataclass(slots=True)
class Tally:
    """What became of the accounts that `matched` when they were counted; `unchanged` ones were as they should be."""

    matched: int = 0
    changed: int = 0
    unchanged: int = 0
    failed: int = 0


class ChangeOfMany:
    """One change of all accounts that match: first `count`, then `steps` to their end, a short transaction for every
    few accounts. Who comes later was not counted, and is not changed.

    Args:
        accounts: where.
        values: the parameters of the conditions, by condition; no index need serve them together.
        data: what each is to have.

    Attributes:
        tally: of the steps so far.
    """

    def __init__(self, accounts: Accounts, values: Mapping[str, Any], data: UserUpdate) -> None:
        self.tally = Tally()
        self._accounts = accounts
        self._values = values
        self._data = data
        self._until: UUID | None = None

    async def count(self) -> Tally:
        """Count who matches now."""
        shape = Shape(conditions=tuple(sorted(self._values)))
        self.tally.matched = await crud.count_users(self._accounts.database.read, shape, self._values, exact=True)
        last = await self._read(self._values, limit=1, descending=True)
        self._until = last[0]["id"] if last else None
        return self.tally

    async def first(self, limit: int) -> list[dict[str, Any]]:
        """Give the first of those who match, as they are."""
        return await self._read(self._values, limit=limit)

    async def steps(self) -> AsyncIterator[tuple[int, list[str]]]:
        """Change them.

        Yields:
            How many more were looked at, and why some of them were not changed, with their ids.
        """
        after, until = None, self._until
        while until is not None and (rows := await self._read(self._values, limit=_AT_ONCE, after=after)):
            counted = [row for row in rows if row["id"] <= until]
            yield len(counted), await self._change(counted)
            after = rows[-1]["id"]
            if after >= until:
                return

    async def _read(
        self, values: Mapping[str, Any], *, limit: int, after: UUID | None = None, descending: bool = False
    ) -> list[dict[str, Any]]:
        """Read accounts that match, in the order of their ids, on a thread: no index may serve these filters."""
        shape = Shape(descending=descending, after=after is not None, conditions=tuple(sorted(values)))
        async with self._accounts.database.read.slow() as db:
            rows = await db.execute(
                crud.page_query(shape, self._accounts.database.kind), {**values, "limit": limit, "after_0": after}
            )
            return [dict(zip(READ_FIELDS, row, strict=True)) for row in rows]

    async def _change(self, rows: list[dict[str, Any]]) -> list[str]:
        """Change those of `rows` that are not as they should be. Who was changed meanwhile is looked at again."""
        refused = list[str]()
        for _ in range(_TRIES):
            wanted = {name: getattr(self._data, name) for name in self._data.model_fields_set}
            others = [row for row in rows if not _is_as_wanted(row, wanted)]
            self.tally.unchanged += len(rows) - len(others)
            stale = await self._write(others, refused) if others else []
            if not stale:
                return refused
            rows = await self._read({**self._values, "id__in": tuple(stale)}, limit=len(stale))
        self.tally.failed += len(rows)
        return refused

    async def _write(self, rows: Sequence[Mapping[str, Any]], refused: list[str]) -> list[UUID]:
        """Change `rows`, each as it was read; give the ids of those that others have changed since."""
        tries_left = _TRIES
        while True:
            tries_left -= 1
            try:
                changed, stale, sentences = await self._write_once(rows)
            except Unavailable as error:
                # Written again, whether it was or not: what was is stale now, and found as it should be.
                if not tries_left or isinstance(error, StorageFull):
                    raise
                await asyncio.sleep(_PAUSE_SECONDS)
            else:
                self.tally.changed += changed
                self.tally.failed += len(sentences)
                refused += sentences
                return stale

    async def _write_once(self, rows: Sequence[Mapping[str, Any]]) -> tuple[int, list[UUID], list[str]]:
        changed, stale, refused = 0, list[UUID](), list[str]()
        async with self._accounts.writing() as db:
            for row in rows:
                versions = frozenset({row["version"]})
                try:
                    async with db.begin_nested():
                        await change_user(db, row["id"], self._data, versions=versions, at=self._accounts.clock())
                    changed += 1
                except UserChanged:
                    stale.append(row["id"])
                except UserNotFound:
                    pass  # erased meanwhile
                except Unavailable:
                    raise
                except DenizenError as error:
                    refused.append(f"{row['id']}: {error.detail}")
        return changed, stale, refused


def _is_as_wanted(row: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    own = wanted.get("profile", {})
    return all(row["profile"].get(name) == value for name, value in own.items()) and all(
        row[name] == value for name, value in wanted.items() if name != "profile"
    )
