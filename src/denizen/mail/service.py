"""Writing letters into the outbox, and sending them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.accounts import Accounts
from denizen.core.errors import TooMany
from denizen.core.identifiers import email_key
from denizen.limits.service import enforce_rate
from denizen.mail import crud
from denizen.mail.models import Mail
from denizen.mail.templates import render


async def post(
    accounts: Accounts,
    db: AsyncSession,
    template: str,
    *,
    to: str,
    at: datetime,
    values: Mapping[str, Any],
    user_id: UUID | None = None,
    language: str | None = None,
) -> Mail:
    """Put a letter into the outbox, in the transaction of what it tells of: both are there, or neither.

    Args:
        accounts: where.
        db: a writing session; it is not committed.
        template: which letter; see `mail.templates`.
        to: an e-mail address.
        at: now.
        values: that stand in it, beside `site` and `base_url`.
        user_id: whom it is about; it goes with that account.
        language: the reader's, where it is known.
    """
    settings = accounts.settings
    known = {"site": settings.site_name, "base_url": settings.base_url, "email": to}
    letter = render(
        template, known | dict(values), language=language or settings.mail_language, folder=settings.mail_templates
    )
    mail = Mail(
        template=template,
        address=to,
        state="waiting" if settings.mail_url is not None else "kept",
        created_at=at,
        next_attempt_at=at,
        content=accounts.secret.seal("mail", json.dumps(letter._asdict()).encode()),
        user_id=user_id,
    )
    return await crud.create_mail(db, mail)


async def may_post(accounts: Accounts, to: str) -> bool:
    """Count a letter that a stranger causes, in a transaction of its own; `False` where the address has got enough of
    them. Whoever asked is answered as ever: what is refused here would tell him what others did.

    Args:
        accounts: where; no transaction of this task's may have begun.
        to: an e-mail address.
    """
    try:
        await enforce_rate(accounts, "mail", email_key(to), most=accounts.settings.mail_rate_per_recipient, per=3600)
    except TooMany:
        return False
    return True
