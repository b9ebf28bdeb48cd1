"""What the room offers to the application."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.accounts import Accounts
from denizen.core.feature import Cleaner, CommandGroup, Feature, Holding, Job
from denizen.mail.crud import describe_mails


async def _send(accounts: Accounts) -> None:
    """Without a mail server there is nothing to do, and nothing to load for it."""
    if accounts.settings.mail_url is not None:
        from denizen.mail.batches import send_due

        await send_due(accounts)


async def _clean(accounts: Accounts, db: AsyncSession, at: datetime, limit: int) -> int:
    from denizen.mail.service import clean_old

    return await clean_old(accounts, db, at, limit)


def _commands() -> Any:
    from denizen.mail.cli import app

    return app


FEATURE = Feature(
    "mail",
    jobs=(Job("send mails", every=2.0, run=_send),),
    cleaners=(Cleaner("old mails", _clean),),
    holdings=(Holding("mails", describe_mails),),
    commands=(CommandGroup("mail", _commands),),
)
