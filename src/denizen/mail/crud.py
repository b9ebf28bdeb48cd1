"""Every SQL statement about mails.

Who sends a mail holds its claim, a new one for each batch. What became of it is written by a statement that names the
claim, and hits nothing where another process has taken over.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Integer, and_, bindparam, delete, func, literal, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.database import Reader
from denizen.core.statements import Statement
from denizen.core.types import UtcDateTime
from denizen.mail.errors import MailNotFound
from denizen.mail.models import Mail

_BARE: Final = {"synchronize_session": False}

SHOWN: Final = (
    "id",
    "template",
    "address",
    "state",
    "created_at",
    "next_attempt_at",
    "attempts",
    "sent_at",
    "error",
    "user_id",
)
"""What lists show of a mail: not what it says."""


_TOLD: Final = tuple(column for column in Mail.__table__.c if column.key not in {"content", "claim"})


class Claimed(NamedTuple):
    """A mail that this process may send."""

    id: UUID
    template: str
    address: str
    content: bytes | None
    attempts: int
    created_at: datetime
    give_up_at: datetime


def _due(at: Any, beyond: Any) -> ColumnElement[bool]:
    """It waits, and its time has come; or lies so far ahead that a clock was wrong when it was set."""
    return and_(Mail.state == literal("waiting"), or_(Mail.next_attempt_at <= at, Mail.next_attempt_at > beyond))


_ANY_DUE: Final = Statement(
    select(Mail.id).where(_due(bindparam("at", type_=UtcDateTime()), bindparam("beyond", type_=UtcDateTime()))).limit(1)
)


_WAITING: Final = Statement(
    select(func.count()).select_from(
        select(Mail.id).where(Mail.state == literal("waiting")).limit(bindparam("most", type_=Integer)).subquery()
    )
)


async def delete_mail(db: AsyncSession, mail_id: UUID) -> None:
    """Take a letter back that nobody has seen, in the transaction in which it was written."""
    await db.execute(delete(Mail).where(Mail.id == mail_id).execution_options(**_BARE))


async def create_mail(db: AsyncSession, mail: Mail) -> Mail:
    """Put a letter into the outbox."""
    db.add(mail)
    await db.flush()
    return mail


async def is_any_due(read: Reader, *, at: datetime, beyond: datetime) -> bool:
    """Tell whether a mail is to be sent: one look into the index, and no write lock for it."""
    return bool(await read.rows(_ANY_DUE, at=at, beyond=beyond))


async def count_waiting(read: Reader, *, most: int) -> int:
    """Count mails that wait to be sent, up to `most`."""
    return int((await read.rows(_WAITING, most=most))[0][0])


async def claim_mails(
    db: AsyncSession, claim: UUID, *, at: datetime, beyond: datetime, until: datetime, limit: int
) -> list[Claimed]:
    """Take mails that are due, the longest waiting first; of several processes each gets others.

    Args:
        db: a writing session of its own, committed before the first is sent.
        claim: names this batch.
        at: now.
        beyond: nobody puts a mail off for so long; see `_due`.
        until: when others may take what this process has not told the end of.
        limit: how many at most.
    """
    due = select(Mail.id).where(_due(at, beyond)).order_by(Mail.next_attempt_at).limit(limit)
    change = (
        update(Mail)
        .where(Mail.id.in_(due.with_for_update(skip_locked=True)), _due(at, beyond))
        .values(claim=claim, next_attempt_at=until, attempts=Mail.attempts + 1)
        .returning(*(getattr(Mail, name) for name in Claimed._fields))
    )
    rows = (await db.execute(change.execution_options(**_BARE))).all()
    return sorted((Claimed(*row) for row in rows), key=lambda each: each.id)


async def update_claimed(db: AsyncSession, mail_id: UUID, claim: UUID, **values: Any) -> bool:
    """Set `values` of a mail and end its claim, if it is still held; tell whether it was."""
    change = update(Mail).where(Mail.id == mail_id, Mail.claim == claim).values(claim=None, **values).returning(Mail.id)
    return (await db.execute(change.execution_options(**_BARE))).one_or_none() is not None


async def let_go(db: AsyncSession, mail_ids: Sequence[UUID], claim: UUID, *, until: datetime) -> None:
    """Give back mails of a batch that were not tried: they are due at `until`."""
    change = update(Mail).where(Mail.id.in_(mail_ids), Mail.claim == claim)
    values = {"claim": None, "next_attempt_at": until, "attempts": Mail.attempts - 1}
    await db.execute(change.values(**values).execution_options(**_BARE))


async def make_due(db: AsyncSession, *, at: datetime) -> None:
    """Let mails that wait for another try have it now."""
    waiting = update(Mail).where(Mail.state == "waiting", Mail.next_attempt_at > at, Mail.claim.is_(None))
    await db.execute(waiting.values(next_attempt_at=at).execution_options(**_BARE))


async def release(
    db: AsyncSession, *, at: datetime, give_up_at: datetime, mail_id: UUID | None = None, states: Sequence[str]
) -> int:
    """Let mails that are given up or kept wait to be sent again; give how many.

    Args:
        db: a writing session.
        at: now.
        give_up_at: when they are given up anew.
        mail_id: this one alone.
        states: which; those whose content is gone are none of them.
    """
    chosen = update(Mail).where(Mail.state.in_(states), Mail.claim.is_(None), Mail.content.is_not(None))
    if mail_id is not None:
        chosen = chosen.where(Mail.id == mail_id)
    values = {"state": "waiting", "next_attempt_at": at, "give_up_at": give_up_at, "attempts": 0}
    changed = await db.execute(chosen.values(**values).returning(Mail.id).execution_options(**_BARE))
    return len(changed.all())


async def get_mail(db: AsyncSession, mail_id: UUID) -> Mail:
    """Return a mail.

    Raises:
        MailNotFound: there is none of this id.
    """
    mail = (await db.scalars(select(Mail).where(Mail.id == mail_id))).one_or_none()
    if mail is None:
        raise MailNotFound("There is no mail of this id. Look it up: denizen mail list")
    return mail


async def list_mails(db: AsyncSession, *, state: str | None, limit: int) -> list[dict[str, Any]]:
    """Return what is shown of mails in a list, the newest first; not what they say."""
    query = select(*(getattr(Mail, name) for name in SHOWN)).order_by(Mail.id.desc()).limit(limit)
    if state is not None:
        query = query.where(Mail.state == state)
    return [dict(row._mapping) for row in await db.execute(query)]  # noqa: SLF001  (public, whatever its name)


async def delete_old(db: AsyncSession, *, before: datetime, at: datetime, limit: int) -> int:
    """Delete mails written before `before`, the oldest first, unless they are still to be sent; give how many."""
    old = (
        Mail.created_at <= before,
        or_(Mail.state != "waiting", Mail.give_up_at <= at),
    )
    oldest = select(Mail.id).where(*old).order_by(Mail.created_at).limit(limit).with_for_update(skip_locked=True)
    gone = delete(Mail).where(Mail.id.in_(oldest)).returning(Mail.id).execution_options(**_BARE)
    return len((await db.execute(gone)).all())


async def describe_mails(db: AsyncSession, user_id: UUID) -> list[dict[str, Any]]:
    """Give all that is stored of the letters to one person, but for what they said.

    Those that ask to confirm a new address are left out: whether there is one would say whether that address has an
    account.
    """
    query = (
        select(*(getattr(Mail, name) for name in SHOWN))
        .where(Mail.user_id == user_id, Mail.template != "change_email")
        .order_by(Mail.id)
    )
    return [row._asdict() for row in await db.execute(query)]
