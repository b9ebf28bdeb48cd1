"""Writing letters into the outbox, and looking after them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.accounts import Accounts
from denizen.core.errors import TooMany
from denizen.core.identifiers import email_key
from denizen.core.rates import address_key
from denizen.limits.service import enforce_rate
from denizen.mail import crud
from denizen.mail.errors import MailForgotten
from denizen.mail.models import Mail
from denizen.mail.templates import render
from denizen.mail.values import Letter

SENDING: Final = "send mails"
"""The name of the job that sends."""

_MINUTE: Final = 60.0
_WAKES: Final = "denizen_mail_wakes"


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

    Nobody waits for a mail server here; the sender of this process is woken by the commit.

    Args:
        accounts: where.
        db: a writing session; it is not committed.
        template: which letter, one of `mail.templates.TEMPLATES`.
        to: an e-mail address.
        at: now.
        values: that stand in it, beside `site`, `base_url` and `email`.
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
        give_up_at=at + timedelta(seconds=settings.mail_patience),
        content=accounts.secret.seal("mail", letter.packed()),
        user_id=user_id,
    )
    await crud.create_mail(db, mail)
    _wake_after_commit(accounts, db)
    return mail


def _wake_after_commit(accounts: Accounts, db: AsyncSession) -> None:
    """Let the sender look at once when the transaction is committed. Savepoints ring as well, which costs a look."""
    if accounts.settings.mail_url is None or db.info.setdefault(_WAKES, accounts) is not accounts:
        return
    session = db.sync_session
    if not event.contains(session, "after_commit", _ring):
        event.listen(session, "after_commit", _ring)


def _ring(session: Any) -> None:
    accounts: Accounts = session.info[_WAKES]
    accounts.wake(SENDING)


async def read_letter(accounts: Accounts, mail: Mail) -> Letter | None:
    """Give what a mail says; `None` where that is forgotten.

    Raises:
        Unreadable: it was sealed under another secret.
    """
    return None if mail.content is None else Letter.unpacked(accounts.secret.unseal("mail", mail.content))


async def send_again(accounts: Accounts, mail_id: UUID) -> None:
    """Let one mail be sent, whatever became of it before.

    Raises:
        MailNotFound: there is none.
        MailForgotten: it was sent, and what it said is gone.
    """
    at = accounts.clock()
    patience = timedelta(seconds=accounts.settings.mail_patience)
    async with accounts.writing() as db:
        mail = await crud.get_mail(db, mail_id)
        if mail.content is None:
            raise MailForgotten("This mail was sent, and what it said is forgotten.")
        states = ("failed", "kept", "waiting")
        await crud.release(db, at=at, give_up_at=at + patience, mail_id=mail_id, states=states)


async def send_all_again(accounts: Accounts, state: str) -> int:
    """Let all mails that are `failed` or `kept` be sent; give how many."""
    at = accounts.clock()
    patience = timedelta(seconds=accounts.settings.mail_patience)
    async with accounts.writing(timeout=accounts.settings.database_slow_timeout) as db:
        return await crud.release(db, at=at, give_up_at=at + patience, states=(state,))


async def clean_old(accounts: Accounts, db: AsyncSession, at: datetime, limit: int) -> int:
    """Delete a batch of mails older than `DENIZEN_MAIL_RETENTION`."""
    before = at - timedelta(seconds=accounts.settings.mail_retention)
    return await crud.delete_old(db, before=before, at=at, limit=limit)


async def may_ask(accounts: Accounts, address: str | None) -> None:
    """Limit how many letters one address may ask for, and all together, each in a transaction of its own.

    Args:
        accounts: where; no transaction of this task's may have begun.
        address: where the request comes from.

    Raises:
        TooMany: it, or all, asked too often.
    """
    settings = accounts.settings
    most = settings.sign_in_rate_per_address
    await enforce_rate(accounts, "letters", address_key(address), most=most, per=_MINUTE)
    await enforce_rate(accounts, "letters-total", "", most=settings.letters_rate_total, per=_MINUTE)


async def may_post(accounts: Accounts, kind: str, to: str) -> bool:
    """Count a letter that a stranger causes, in a transaction of its own; `False` where the address has got enough of
    them. Whoever asked is answered as ever: what is refused here would tell him what others did.

    Each kind has a count of its own, so that nobody keeps somebody from a new password by asking for other letters.

    Args:
        accounts: where; no transaction of this task's may have begun.
        kind: of letter, as `post` calls it, or what it is asked for.
        to: an e-mail address.
    """
    most = accounts.settings.mail_rate_per_recipient
    try:
        await enforce_rate(accounts, "letters-to", f"{kind} {email_key(to)}", most=most, per=3600)
    except TooMany:
        return False
    return True
