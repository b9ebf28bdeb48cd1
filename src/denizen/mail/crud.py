"""Every SQL statement about mails."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from denizen.mail.models import Mail


async def create_mail(db: AsyncSession, mail: Mail) -> Mail:
    """Put a letter into the outbox."""
    db.add(mail)
    await db.flush()
    return mail
