"""Every SQL statement about leases."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import bindparam, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.database import Reader
from denizen.core.statements import Statement
from denizen.core.types import UtcDateTime
from denizen.housekeeping.models import Lease


def _taking(insert: Any) -> Any:
    """Build the one statement that takes a lease, new or over, or prolongs one's own: of several that try one gets it.

    One that ends later than any lease may was made by a clock that was ahead, and is over as well.
    """
    new = insert(Lease).values({name: bindparam(name) for name in ("name", "holder", "until")})
    at, beyond = (bindparam(name, type_=UtcDateTime()) for name in ("at", "beyond"))
    return new.on_conflict_do_update(
        index_elements=[Lease.name],
        set_={"holder": new.excluded["holder"], "until": new.excluded["until"]},
        where=or_(Lease.holder == new.excluded["holder"], Lease.until <= at, Lease.until > beyond),
    ).returning(Lease.name)


_TAKE: Final = {"sqlite": _taking(sqlite.insert), "postgresql": _taking(postgresql.insert)}
_HOLDER: Final = Statement(select(Lease.holder, Lease.until).where(Lease.name == bindparam("name")))


async def take_lease(
    db: AsyncSession, name: str, holder: UUID, *, at: datetime, until: datetime, beyond: datetime
) -> bool:
    """Take or prolong a lease; tell whether it is `holder`'s now.

    Args:
        db: a writing session of its own, committed before the work begins.
        name: of the work.
        holder: names the process.
        at: now.
        until: when it ends.
        beyond: no lease ends later.
    """
    values = {"name": name, "holder": holder, "until": until, "at": at, "beyond": beyond}
    statement = _TAKE[(await db.connection()).dialect.name]
    return (await db.execute(statement, values)).one_or_none() is not None


async def find_lease(read: Reader, name: str) -> tuple[UUID, datetime] | None:
    """Return who has a lease, and until when; `None` where nobody ever had it."""
    rows = await read.rows(_HOLDER, name=name)
    return (rows[0][0], rows[0][1]) if rows else None
