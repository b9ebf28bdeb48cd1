"""Every SQL statement about mails."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from denizen.mail.models import Mail

_TOLD = tuple(column for column in Mail.__table__.c if column.key not in {"content", "claim"})


async def delete_mail(db: AsyncSession, mail_id: UUID) -> None:
    """Take a letter back that nobody has seen."""
    await db.execute(delete(Mail).where(Mail.id == mail_id).execution_options(synchronize_session=False))


async def create_mail(db: AsyncSession, mail: Mail) -> Mail:
    """Put a letter into the outbox."""
    db.add(mail)
    await db.flush()
    return mail


async def describe_mails(db: AsyncSession, user_id: UUID) -> list[dict[str, Any]]:
    """Give all that is stored of the letters to one person, but for what they said.

    Those that ask to confirm a new address are left out: whether there is one would say whether that address has an
    account.
    """
    query = select(*_TOLD).where(Mail.user_id == user_id, Mail.template != "change_email").order_by(Mail.id)
    return [row._asdict() for row in await db.execute(query)]
