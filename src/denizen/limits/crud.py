"""Every SQL statement about limits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import BigInteger, bindparam, case, delete, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.database import Reader
from denizen.core.statements import Row, Statement
from denizen.core.types import UtcDateTime
from denizen.core.writes import Call, run, run_later
from denizen.limits.models import Limit

DOUBLINGS: Final = 18
"""After so many the longest wait that can be set, a day, is passed."""

_SEEN_AT_ONCE: Final = 4
_QUIETLY: Final = {"synchronize_session": False}


class Standing(NamedTuple):
    """How a limit stands; see `Limit`.

    Attributes:
        used: its `count`, which is what tuples call something else.
    """

    used: int
    free_at: datetime
    expires_at: datetime


def _time(name: str) -> Any:
    return bindparam(name, type_=UtcDateTime())


def _number(name: str) -> Any:
    return bindparam(name, type_=BigInteger())


_COLUMNS = (Limit.digest, Limit.count, Limit.free_at, Limit.expires_at)
_STANDINGS = Statement(
    select(*_COLUMNS).where(Limit.digest.in_([bindparam(f"digest_{place}") for place in range(_SEEN_AT_ONCE)]))
)


async def read_limits(reads: Reader, digests: Sequence[bytes]) -> dict[bytes, Standing]:
    """Return how up to four limits stand, by their digests: one statement. Unused ones are left out."""
    return _standings(await reads.rows(_STANDINGS, **_places(digests)))


def see_limits(digests: Sequence[bytes]) -> Call[dict[bytes, Standing]]:
    """The same as a transaction sees it."""
    return Call(_STANDINGS, _places(digests), _standings)


async def find_limits(db: AsyncSession, digests: Sequence[bytes]) -> dict[bytes, Standing]:
    """The same in this transaction."""
    return _standings(await run(db, _STANDINGS, **_places(digests)))


def _places(digests: Sequence[bytes]) -> dict[str, bytes]:
    filled = [*digests, *[b""] * (_SEEN_AT_ONCE - len(digests))]
    return {f"digest_{place}": digest for place, digest in enumerate(filled)}


def _standings(rows: Sequence[Row]) -> dict[bytes, Standing]:
    return {row[0]: Standing(*row[1:]) for row in rows}


def _on_both(build: Callable[[Any], Any]) -> Statement:
    """Build a statement by each database's `insert`."""
    return Statement({"sqlite": build(sqlite.insert), "postgresql": build(postgresql.insert)})


# --------------------------------------------------------------------------------------------------------------- waits


def _counting(insert: Any) -> Any:
    """Build the statement that counts one more, and says how long the next one has to wait, unless one has to wait
    already.
    """
    new = insert(Limit).values(digest=bindparam("digest"), count=1, free_at=_time("first"), expires_at=_time("until"))
    beyond = Limit.free_at > _time("horizon")  # the clock has gone back since
    count = case((or_(Limit.free_at <= _time("forgotten"), beyond), 1), else_=Limit.count + 1)
    doublings = count - _number("free")
    last = case((doublings < 0, _time("at")), else_=_time("longest"))
    free_at = case({place: _time(f"after_{place}") for place in range(DOUBLINGS)}, value=doublings, else_=last)
    return new.on_conflict_do_update(
        index_elements=[Limit.digest],
        set_={"count": count, "free_at": free_at, "expires_at": new.excluded.expires_at},
        where=or_(Limit.free_at <= _time("at"), beyond),
    ).returning(Limit.count)


_COUNT: Final = _on_both(_counting)


async def count_guess(
    db: AsyncSession,
    digest: bytes,
    *,
    free: int,
    at: datetime,
    waits: Sequence[datetime],
    forgotten: datetime,
    until: datetime,
) -> bool:
    """Count one more wrong guess, by one statement, if it does not have to wait; tell whether it did not.

    Args:
        db: a writing session; it is not committed.
        digest: of the limit.
        free: how many cost no wait. From the last of them on each one does.
        at: now.
        waits: until when: after the last free one, after the next, and so on; `DOUBLINGS` and one more, which is the
            longest and as far away as can be.
        forgotten: who had to wait until then, or never, begins anew.
        until: when the row may be deleted.
    """
    steps = {f"after_{place}": waits[place] for place in range(DOUBLINGS)}
    values = {
        "digest": digest,
        "free": free,
        "at": at,
        "first": waits[0] if free <= 1 else at,
        "longest": waits[-1],
        "horizon": waits[-1],
        "forgotten": forgotten,
        "until": until,
    }
    return bool(await run(db, _COUNT, **values, **steps))


# --------------------------------------------------------------------------------------------------------------- rates


def _taking(insert: Any) -> Any:
    """Build the statement that takes one more of a rate (GCRA), if there is one left."""
    at, most, step = _number("now"), _number("most"), _number("step")
    new = insert(Limit).values(
        digest=bindparam("digest"), count=at + step, free_at=_time("at"), expires_at=_time("until")
    )
    # What lies further away than a used-up limit puts it is from before the clock went back.
    paid_off = case((or_(Limit.count <= at, Limit.count > most), at), else_=Limit.count)
    return new.on_conflict_do_update(
        index_elements=[Limit.digest],
        set_={"count": paid_off + step, "free_at": new.excluded.free_at, "expires_at": new.excluded.expires_at},
        where=paid_off + step <= most,
    ).returning(Limit.count)


_TAKE: Final = _on_both(_taking)
_OWED: Final = Statement(select(Limit.count).where(Limit.digest == bindparam("digest")))


async def take(db: AsyncSession, digest: bytes, *, now: int, step: int, per: int, at: datetime, until: datetime) -> int:
    """Take one more of a rate, by one statement; give the microseconds to wait, 0 where it was taken.

    Args:
        db: a writing session; it is not committed.
        digest: of the limit.
        now: microseconds since 1970.
        step: microseconds that each one costs.
        per: microseconds that may be owed at most.
        at: now.
        until: when the row may be deleted.
    """
    values = {"digest": digest, "now": now, "step": step, "most": now + per, "at": at, "until": until}
    if await run(db, _TAKE, **values):
        return 0
    ((owed,),) = await run(db, _OWED, digest=digest)
    return max(1, int(owed) + step - now - per)


# ---------------------------------------------------------------------------------------------------------------- rows


def _putting(insert: Any) -> Any:
    new = insert(Limit).values(digest=bindparam("digest"), count=0, free_at=_time("at"), expires_at=_time("until"))
    told = {name: new.excluded[name] for name in ("count", "free_at", "expires_at")}
    return new.on_conflict_do_update(index_elements=[Limit.digest], set_=told)


_PUT: Final = _on_both(_putting)
_DELETE: Final = Statement(delete(Limit).where(Limit.digest == bindparam("digest")))


async def put_limit(db: AsyncSession, digest: bytes, *, at: datetime, until: datetime) -> None:
    """Store a limit of which nothing is used up."""
    await run_later(db, _PUT, digest=digest, at=at, until=until)


async def delete_limit(db: AsyncSession, digest: bytes) -> None:
    """Forget what is used up of a limit."""
    await run_later(db, _DELETE, digest=digest)


async def delete_expired(db: AsyncSession, *, at: datetime, limit: int) -> int:
    """Delete what has expired, the oldest first; give how many that were, at most `limit`."""
    expired = select(Limit.digest).where(Limit.expires_at <= at).order_by(Limit.expires_at).limit(limit)
    expired = expired.with_for_update(skip_locked=True)
    # Asked once more of the row itself: it may have been used again since the inner statement saw it.
    gone = await db.execute(
        delete(Limit)
        .where(Limit.digest.in_(expired), Limit.expires_at <= at)
        .returning(Limit.digest)
        .execution_options(**_QUIETLY)
    )
    return len(gone.all())
