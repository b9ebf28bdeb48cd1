"""Making what opens once, and spending it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.accounts import Accounts
from denizen.core.identifiers import email_key
from denizen.core.ids import new_id
from denizen.core.tokens import Prefix, digest, looks_like, new_token
from denizen.onetime import crud
from denizen.onetime.errors import LinkInvalid
from denizen.onetime.models import OneTimeToken

CODE_LIFETIME: Final = timedelta(minutes=10)
CODE_TRIES: Final = 5
_PURPOSES: Final[Mapping[str, Prefix]] = {
    "verify": "dzv_",
    "reset": "dzp_",
    "change_email": "dze_",
    "undo_email": "dzu_",
    "magic_link": "dzm_",
    "mailed_code": "dzc_",
    "sign_up": "dzn_",
    "first_admin": "dza_",
}
"""What can be opened once, and what the tokens for it begin with."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What a token opened.

    Attributes:
        user_id: whose it was; `None` where there is no account yet.
        email: where it was sent, which having it proves.
        payload: what was put by when it was made.
    """

    user_id: UUID | None
    email: str | None
    payload: dict[str, Any] = field(repr=False)


async def issue(
    accounts: Accounts,
    db: AsyncSession,
    purpose: str,
    *,
    at: datetime,
    lifetime: timedelta,
    user_id: UUID | None = None,
    email: str | None = None,
    payload: Mapping[str, Any] | None = None,
    token: str | None = None,
    alone: bool = True,
) -> str:
    """Make a token for one purpose; earlier ones of the same person for the same purpose open nothing any more.

    As many statements run whether it is somebody's or nobody's, so that the time does not tell which.

    Args:
        accounts: where.
        db: a writing session; it is not committed.
        purpose: one of `_PURPOSES`.
        at: now.
        lifetime: from now.
        user_id: whose it is.
        email: where it is sent.
        payload: put by, sealed, for when it is spent; plain JSON.
        token: that opens it, where it has to be made again later; 256 bits that nobody can guess.
        alone: `False` lets earlier ones be.

    Returns:
        The token, which nobody will see again.
    """
    token = token or new_token(_PURPOSES[purpose])
    if alone:
        await crud.delete_earlier(db, new_id() if user_id is None else user_id, purpose=purpose)
    await _store(accounts, db, purpose, token, at=at, lifetime=lifetime, user_id=user_id, email=email, payload=payload)
    return token


async def issue_code(
    accounts: Accounts,
    db: AsyncSession,
    *,
    at: datetime,
    user_id: UUID | None,
    email: str | None,
    payload: Mapping[str, Any] | None = None,
) -> tuple[str, str]:
    """Make a ticket and the six digits that open it, for ten minutes and five tries.

    Earlier tickets stay as they are, so that nobody finds out by asking anew whether they were anybody's, or takes the
    owner of an account his own code: each is bound to who asked for it, and guesses are counted for the account.

    Returns:
        The ticket, for whoever asked; the code, for the mail.
    """
    ticket, code = new_token("dzc_"), f"{secrets.randbelow(1_000_000):06}"
    await _store(
        accounts,
        db,
        "mailed_code",
        ticket,
        code_digest=_code_digest(accounts, ticket, code),
        at=at,
        lifetime=CODE_LIFETIME,
        user_id=user_id,
        email=email,
        payload=payload,
    )
    return ticket, code


async def _store(
    accounts: Accounts,
    db: AsyncSession,
    purpose: str,
    token: str,
    *,
    code_digest: bytes | None = None,
    at: datetime,
    lifetime: timedelta,
    user_id: UUID | None,
    email: str | None,
    payload: Mapping[str, Any] | None,
) -> None:
    sealed = None if payload is None else accounts.secret.seal("one-time token", json.dumps(payload).encode())
    made = OneTimeToken(
        purpose=purpose,
        token_digest=digest(token),
        created_at=at,
        expires_at=at + lifetime,
        user_id=user_id,
        email=email,
        email_key=None if email is None else email_key(email),
        payload=sealed,
        code_digest=code_digest,
    )
    await crud.create_token(db, made)


async def spend(accounts: Accounts, db: AsyncSession, purpose: str, token: str, *, at: datetime) -> Opened:
    """Spend a token, in the transaction of what it opens: undone with it.

    Raises:
        LinkInvalid: it opens nothing, or not this; which of them is not said.
    """
    row = await crud.spend_token(db, digest(token), purpose=purpose, at=at) if _fits(purpose, token) else None
    return _opened(accounts, row)


async def spend_code(accounts: Accounts, ticket: str, code: str, *, at: datetime) -> Opened:
    """Spend a ticket with its code, in a transaction of its own: a try counts whatever becomes of it.

    Raises:
        LinkInvalid: not this ticket, not this code, or tried too often; which of them is not said.
    """
    async with accounts.writing() as db:
        known, row = _fits("mailed_code", ticket), None
        if known and await crud.count_try(db, digest(ticket), purpose="mailed_code", at=at, most=CODE_TRIES):
            fits = _code_digest(accounts, ticket, code)
            row = await crud.spend_token(db, digest(ticket), purpose="mailed_code", at=at, code_digest=fits)
    return _opened(accounts, row)


async def take_back(db: AsyncSession, token: str) -> None:
    """Let a token open nothing, in the transaction in which it was made."""
    await crud.delete_token(db, digest(token))


async def peek(accounts: Accounts, purpose: str, token: str, *, at: datetime) -> Opened:
    """Look what a token would open, without spending it: for the pages that links lead to.

    Raises:
        LinkInvalid: as `spend`.
    """
    async with accounts.database.read.session() as db:
        row = await crud.find_token(db, digest(token), purpose=purpose, at=at) if _fits(purpose, token) else None
        return _opened(accounts, row)


async def look_again(accounts: Accounts, db: AsyncSession, purpose: str, *, at: datetime) -> Opened | None:
    """Look what the latest token that is nobody's would open for a purpose, where there is one."""
    row = await crud.find_latest(db, purpose=purpose, at=at)
    return None if row is None else _opened(accounts, row)


def _fits(purpose: str, token: str) -> bool:
    return looks_like(token, _PURPOSES[purpose])


def _opened(accounts: Accounts, row: Any | None) -> Opened:
    if row is None:
        raise LinkInvalid("This link or code is not valid: it is unknown, has been used, or has expired.")
    payload = {} if row.payload is None else json.loads(accounts.secret.unseal("one-time token", row.payload))
    return Opened(row.user_id, row.email, payload)


def _code_digest(accounts: Accounts, ticket: str, code: str) -> bytes:
    """Six digits are found out in a moment; keyed by the secret and bound to the ticket they are not."""
    return accounts.secret.digest("code 1", digest(ticket), code.encode("utf-8", "surrogatepass"))
