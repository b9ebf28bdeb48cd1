"""Limits that all processes agree on: how often something may be done, and wrong guesses at secrets.

Wrong guesses are counted for an account as a whole, whichever of its spellings and whichever endpoint they came by.
Some are free; from then on each has to wait, twice as long as the one before. An address from which somebody signed in
to the account lately has a count of its own, so that strangers who make the account wait do not make its owner wait.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.accounts import Accounts
from denizen.core.errors import Quota, TooMany
from denizen.core.rates import address_key
from denizen.core.writes import Call
from denizen.limits import crud
from denizen.limits.crud import DOUBLINGS, Standing

FORGOTTEN_AFTER: Final = timedelta(days=1)
"""How long after the last wait wrong guesses are remembered; shorter than that, waiting would beat guessing on."""

KNOWN_FOR: Final = timedelta(days=90)
_RENEWED_AFTER: Final = timedelta(days=1)
_MINUTE: Final = 60.0
_GUESSES: Final = "Too many wrong passwords or codes for this account. Try again later."
_SIGN_INS: Final = "Too many sign-ins failed. Try again later."
_RATE: Final = "Too many requests; try again later."


# --------------------------------------------------------------------------------------------------------------- rates


@dataclass(frozen=True, slots=True)
class _Rate:
    """So many in so long, at once or spread (GCRA: one number a key, no windows)."""

    name: str
    most: int
    per: float

    @property
    def quota(self) -> Quota:
        return Quota(self.name, self.most, math.ceil(self.per))

    @property
    def span(self) -> int:
        """Microseconds that may be owed at most."""
        return round(self.per * 1_000_000)

    @property
    def step(self) -> int:
        """Microseconds that each one costs."""
        return max(1, self.span // self.most)

    async def take(self, db: AsyncSession, digest: bytes, *, at: datetime) -> int:
        """Take one; give the microseconds to wait, 0 where it was taken."""
        until = at + timedelta(seconds=self.per)
        return await crud.take(db, digest, now=_microseconds(at), step=self.step, per=self.span, at=at, until=until)

    def wait(self, standing: Standing | None, *, at: datetime) -> int:
        """Tell the microseconds to wait, 0 for none, without taking one."""
        now = _microseconds(at)
        if standing is None or not now < standing.used <= now + self.span:
            return 0
        return max(0, standing.used + self.step - now - self.span)

    def refuse(self, wait: int, detail: str) -> None:
        """Refuse whoever has to wait.

        Raises:
            TooMany: there are microseconds to wait.
        """
        if wait:
            raise TooMany(detail, retry_after=max(1, math.ceil(wait / 1_000_000)), quota=self.quota)


def _microseconds(at: datetime) -> int:
    return round(at.timestamp() * 1_000_000)


async def enforce_rate(accounts: Accounts, name: str, key: str, *, most: int, per: float, detail: str = _RATE) -> None:
    """Count one more, in a transaction of its own; refuse it where that is too many.

    Args:
        accounts: where.
        name: of the limit: lower-case ASCII with hyphens, which clients are told.
        key: whom it holds for, such as an `address_key`. It is stored as a digest.
        most: how many at once, or spread over `per`; 0 for no limit.
        per: seconds.
        detail: what whoever is refused is told.

    Raises:
        TooMany: the limit is used up; a refusal is not counted.
    """
    if not most:
        return
    rate = _Rate(name, most, per)
    async with accounts.writing() as db:
        wait = await rate.take(db, _digest(accounts, name, key), at=accounts.clock())
    rate.refuse(wait, detail)


def _digest(accounts: Accounts, *parts: str) -> bytes:
    return accounts.secret.digest("limit 1", *(part.encode("utf-8", "surrogatepass") for part in parts))


# ------------------------------------------------------------------------------------------------------------- guesses


@dataclass(frozen=True, slots=True)
class Guessing:
    """The limits that a guess at the secret of one account from one address meets.

    Attributes:
        account: the digest of the count of its wrong guesses.
        known: of the count of those from this address, which is there where the address is known for the account.
        address: of the rate of failures from the address.
        everybody: of that of all failures.
    """

    account: bytes
    known: bytes
    address: bytes
    everybody: bytes

    @property
    def digests(self) -> tuple[bytes, ...]:
        """All of them."""
        return self.account, self.known, self.address, self.everybody


def _limits_of(accounts: Accounts, who: str, address: str | None) -> Guessing:
    place = address_key(address)
    return Guessing(
        _digest(accounts, "guesses", who),
        _digest(accounts, "guesses from", who, place),
        _digest(accounts, "sign-in", place),
        _digest(accounts, "sign-in-total", ""),
    )


def _rates(accounts: Accounts, limits: Guessing) -> list[tuple[_Rate, bytes]]:
    settings = accounts.settings
    rates = (
        (_Rate("sign-in", settings.sign_in_rate_per_address, _MINUTE), limits.address),
        (_Rate("sign-in-total", settings.sign_in_rate_total, _MINUTE), limits.everybody),
    )
    return [(rate, digest) for rate, digest in rates if rate.most]


def _is_known(found: Mapping[bytes, Standing], limits: Guessing, *, at: datetime) -> bool:
    return limits.known in found and found[limits.known].expires_at > at


def _judge(accounts: Accounts, found: Mapping[bytes, Standing], limits: Guessing, *, at: datetime) -> None:
    """Refuse a guess that has to wait. From a known address only what was guessed from there matters."""
    if _is_known(found, limits, at=at):
        _refuse_guess(accounts, found[limits.known], at=at)
        return
    _refuse_guess(accounts, found.get(limits.account), at=at)
    for rate, digest in _rates(accounts, limits):
        rate.refuse(rate.wait(found.get(digest), at=at), _SIGN_INS)


def _refuse_guess(accounts: Accounts, standing: Standing | None, *, at: datetime) -> None:
    longest = timedelta(seconds=accounts.settings.guesses_wait)
    if standing is not None and at < standing.free_at <= at + longest:  # further away only if the clock went back
        wait = (standing.free_at - at).total_seconds()
        quota = Quota("guesses", accounts.settings.guesses_free, int(FORGOTTEN_AFTER.total_seconds()))
        raise TooMany(_GUESSES, retry_after=max(1, math.ceil(wait)), quota=quota)


async def may_guess(accounts: Accounts, who: str, address: str | None) -> Guessing:
    """Refuse to look at a secret while others have to wait; one statement that reads. Give the limits it meets.

    Args:
        accounts: where.
        who: whose secret it would be, alike for all spellings and endpoints: `user` and the id where there is an
            account, else `name` and what was given instead.
        address: where it comes from.

    Raises:
        TooMany: one has to wait.
    """
    limits = _limits_of(accounts, who, address)
    _judge(accounts, await crud.read_limits(accounts.database.read, limits.digests), limits, at=accounts.clock())
    return limits


async def wrong_guess(accounts: Accounts, who: str, address: str | None) -> None:
    """Count a wrong guess, in a transaction of its own: what it belongs to will be undone.

    Args:
        As `may_guess`.

    Raises:
        TooMany: others were faster, and this one should not have been looked at; whoever asks is not to learn that it
            was wrong.
    """
    limits, at, rated = _limits_of(accounts, who, address), accounts.clock(), []
    async with accounts.writing() as db:
        found = await crud.find_limits(db, [limits.account, limits.known])
        counted = limits.known if _is_known(found, limits, at=at) else limits.account
        free = await _count_guess(accounts, db, counted, found.get(counted), known=counted == limits.known, at=at)
        if free:
            rated = [(rate, await rate.take(db, digest, at=at)) for rate, digest in _rates(accounts, limits)]
        else:
            found = await crud.find_limits(db, [counted])
    if not free:
        _refuse_guess(accounts, found.get(counted), at=at)
        raise TooMany(_GUESSES, retry_after=1)
    if counted != limits.known:
        for rate, wait in rated:
            rate.refuse(wait, _SIGN_INS)


async def _count_guess(
    accounts: Accounts, db: AsyncSession, digest: bytes, standing: Standing | None, *, known: bool, at: datetime
) -> bool:
    longest = accounts.settings.guesses_wait
    waits = [at + timedelta(seconds=min(float(1 << doublings), longest)) for doublings in range(DOUBLINGS)]
    waits.append(at + timedelta(seconds=longest))
    kept_until = standing.expires_at if standing is not None and known else waits[-1] + FORGOTTEN_AFTER
    return await crud.count_guess(
        db,
        digest,
        free=accounts.settings.guesses_free,
        at=at,
        waits=waits,
        forgotten=at - FORGOTTEN_AFTER,
        until=kept_until,
    )


def see_guesses(limits: Guessing) -> Call[dict[bytes, Standing]]:
    """Look, in a transaction, at what `accept_guess` judges by."""
    return crud.see_limits(limits.digests)


async def right_guess(accounts: Accounts, db: AsyncSession, who: str, address: str | None) -> None:
    """Judge a right guess once more, forget the wrong ones before it, and know its address from now on.

    Of many guesses at once only as many are answered as there are free ones, the right one among them: had the limit
    been used up by the time it was found to be right, it is refused like the others.

    Args:
        accounts: where.
        db: the writing session of what the secret opens; it is not committed.
        who: as of `may_guess`.
        address: as of `may_guess`.

    Raises:
        TooMany: one has to wait by now.
    """
    limits = _limits_of(accounts, who, address)
    await accept_guess(accounts, db, limits, await crud.find_limits(db, limits.digests))


async def accept_guess(accounts: Accounts, db: AsyncSession, limits: Guessing, found: Mapping[bytes, Standing]) -> None:
    """The same of limits that `may_guess` gave, and what `see_guesses` has found of them in this transaction.

    Raises:
        TooMany: as `right_guess`.
    """
    at = accounts.clock()
    _judge(accounts, found, limits, at=at)
    known = found.get(limits.known)
    if known is None or known.used or known.expires_at < at + KNOWN_FOR - _RENEWED_AFTER:
        await crud.put_limit(db, limits.known, at=at, until=at + KNOWN_FOR)
    if limits.account in found and not _is_known(found, limits, at=at):
        await crud.delete_limit(db, limits.account)


async def forget_guesses(accounts: Accounts, db: AsyncSession, who: str, address: str | None) -> None:
    """Forget the wrong guesses at an account, since its owner has shown who he is by other means than a guess.

    Args:
        As `right_guess`; the address is known from now on.
    """
    limits, at = _limits_of(accounts, who, address), accounts.clock()
    await crud.put_limit(db, limits.known, at=at, until=at + KNOWN_FOR)
    await crud.delete_limit(db, limits.account)
