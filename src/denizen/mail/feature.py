"""What the room offers to the application."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.accounts import Accounts
from denizen.core.feature import Cleaner, CommandGroup, Feature, Holding, Job


async def _send(accounts: Accounts) -> None:
    """Without a mail server there is nothing to do, and nothing to load for it."""
    if accounts.settings.mail_url is not None:
        from denizen.mail.batches import send_due

        await send_due(accounts)


def _clean(accounts: Accounts, db: AsyncSession, at: datetime, limit: int) -> Awaitable[int]:
    from denizen.mail.service import clean_old

    return clean_old(accounts, db, at, limit)


def _describe(db: AsyncSession, user_id: UUID) -> Awaitable[Any]:
    from denizen.mail.crud import describe_mails

    return describe_mails(db, user_id)


def _commands() -> Any:
    from denizen.mail.cli import app

    return app


FEATURE = Feature(
    "mail",
    jobs=(Job("send mails", every=2.0, run=_send),),
    cleaners=(Cleaner("old mails", _clean),),
    holdings=(Holding("mails", _describe),),
    commands=(CommandGroup("mail", _commands),),
)
