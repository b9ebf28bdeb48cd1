"""How the first administrator comes to his account: by one link, for one hour, while nobody is an administrator."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.accounts import Accounts
from denizen.core.hashing import Lane
from denizen.core.secret import Unreadable
from denizen.core.tokens import make_token
from denizen.founder import crud
from denizen.founder.errors import AdministratorExists
from denizen.founder.schemas import FirstAdministrator
from denizen.onetime.service import issue, look_again, peek, spend
from denizen.roles.models import ADMIN
from denizen.roles.service import grant_roles
from denizen.sessions.crud import lock_owners
from denizen.sessions.service import Opened, open_session
from denizen.users.service import judge_account, store_account

OFFER_LIFE: Final = timedelta(hours=1)
SHOWN_BY_ANOTHER: Final = timedelta(seconds=10)
_PURPOSE: Final = "first_admin"


async def offer_first_administrator(accounts: Accounts, hand_over: Callable[[str], None]) -> bool:
    """While nobody has the role `admin`, give a link to become the first one: valid for an hour, once.

    It is the same for all servers that start within the hour: what it is derived from is stored beside its digest.

    Args:
        accounts: where.
        hand_over: brings the link to whoever is to have it; a new one before the transaction commits, which on SQLite
            keeps all other writers out meanwhile. When it raises there is no new link.

    Returns:
        Whether it was handed over: not where there is an administrator, nor a few seconds after somebody else did.
    """
    at = accounts.clock()
    async with accounts.database.read.session() as db:  # first without a lock: at nearly every start there is one
        if await crud.has_administrator(db):
            return False
        offered = await _look_again(accounts, db, at=at)
    if offered is None:
        async with accounts.writing() as db:
            await crud.hold_first(db)
            if await crud.has_administrator(db):
                return False
            offered = await _look_again(accounts, db, at=at)
            if offered is None:
                hand_over(_offer_link(accounts, await _issue_offer(accounts, db, at=at)))
                return True
    if at - datetime.fromisoformat(offered["at"]) < SHOWN_BY_ANOTHER:
        return False
    hand_over(_offer_link(accounts, _offer_token(accounts, offered["nonce"])))
    return True


async def _look_again(accounts: Accounts, db: AsyncSession, *, at: datetime) -> dict[str, Any] | None:
    try:
        offered = await look_again(accounts, db, _PURPOSE, at=at)
    except Unreadable:  # made under another secret, as is everything that could make it again
        return None
    return None if offered is None else offered.payload


async def _issue_offer(accounts: Accounts, db: AsyncSession, *, at: datetime) -> str:
    nonce = secrets.token_hex(32)
    token = _offer_token(accounts, nonce)
    payload = {"nonce": nonce, "at": at.isoformat()}
    return await issue(accounts, db, _PURPOSE, at=at, lifetime=OFFER_LIFE, payload=payload, token=token)


def _offer_token(accounts: Accounts, nonce: str) -> str:
    return make_token("dza_", accounts.secret.digest("first administrator 1", nonce.encode()))


def _offer_link(accounts: Accounts, token: str) -> str:
    return accounts.public_url(f"/auth/first-administrator?token={token}")


async def find_offer(accounts: Accounts, token: str, *, at: datetime) -> None:
    """Look whether a token opens the first administrator's account, without spending it.

    Raises:
        LinkInvalid: it does not.
        AdministratorExists: there is an administrator.
    """
    async with accounts.database.read.session() as db:
        if await crud.has_administrator(db):
            raise AdministratorExists("There is an administrator already. Ask them for an invitation.")
    await peek(accounts, _PURPOSE, token, at=at)


async def open_first_administrator(
    accounts: Accounts, db: AsyncSession, data: FirstAdministrator, *, at: datetime, instead_of: str | None = None
) -> Opened:
    """Open the account of the first administrator and sign him in. Of several who try at once, one becomes it.

    Args:
        accounts: where.
        db: a writing session that has not begun; it is not committed.
        at: now.
        instead_of: as of `sessions.service.sign_in`.

    Returns:
        The sign-in, and the token that opens it, which nobody will see again.

    Raises:
        LinkInvalid, AdministratorExists: as `find_offer`.
        EmailInvalid, UsernameInvalid, PasswordRefused, EmailTaken, UsernameTaken, UsernameTooSimilar, HashingBusy: as
            `users` has them; the link stays valid.
    """
    await find_offer(accounts, data.token, at=at)
    identity = judge_account(accounts, data.username, data.email, data.full_name, password=data.password)
    hashed = await accounts.hashing.hash(data.password, lane=Lane.PUBLIC)
    await lock_owners(db, instead_of)
    await crud.hold_first(db)
    if await crud.has_administrator(db):
        raise AdministratorExists("There is an administrator already. Ask them for an invitation.")
    await spend(accounts, db, _PURPOSE, data.token, at=at)
    user = await store_account(db, identity, full_name=data.full_name, hashed_password=hashed, at=at)
    await grant_roles(db, user.id, [ADMIN], caller=None, at=at)
    return await open_session(accounts, db, user.id, method=_PURPOSE, at=at, instead_of=instead_of)
