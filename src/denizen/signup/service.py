"""Acts of signing up: mailing who opened an account, and opening none before the address is proved.

While addresses have to be proved, nobody learns from an answer whether one is known here: for each the same is judged,
hashed, looked up and written, and each gets a letter. What the letter for a known address would open is made like the
others and thrown away.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.accounts import Accounts
from denizen.core.events import record
from denizen.core.hashing import Lane
from denizen.core.identifiers import Identity
from denizen.core.origin import current_origin
from denizen.core.profiles import ProfileInvalid, new_profile
from denizen.mail.service import may_post, post
from denizen.onetime.service import issue, peek, spend
from denizen.pages.templates import choose_language
from denizen.signup import crud
from denizen.signup.schemas import SignUpConfirm
from denizen.users.errors import TAKEN
from denizen.users.events import EmailProved
from denizen.users.models import User
from denizen.users.schemas import UserCreate
from denizen.users.service import judge_account, judge_profile, store_account

_PURPOSE: Final = "sign_up"


def _lifetime(accounts: Accounts) -> timedelta:
    return timedelta(seconds=accounts.settings.verify_lifetime)


def _span(life: timedelta) -> dict[str, int]:
    """Give a length of time as letters tell it."""
    minutes = int(life.total_seconds() // 60)
    return {"minutes": minutes} if minutes % 60 else {"hours": minutes // 60}


def _language() -> str | None:
    """Give the language of whoever signs up; `None` where his client does not say."""
    languages = current_origin().languages
    return None if languages is None else choose_language(languages)


async def mail_proof(accounts: Accounts, db: AsyncSession, user_id: UUID, email: str, *, at: datetime) -> None:
    """Mail the link that proves an address to somebody who has just opened an account.

    Args:
        accounts: where.
        db: the writing session in which it was opened; it is not committed.
        user_id: of the account.
        email: its address.
        at: now.
    """
    life = _lifetime(accounts)
    token = await issue(accounts, db, "verify", at=at, lifetime=life, user_id=user_id, email=email)
    values = {"link": accounts.public_url(f"/auth/verify?token={token}"), **_span(life)}
    await post(accounts, db, "verify", to=email, at=at, values=values, user_id=user_id, language=_language())


async def ask_for_account(accounts: Accounts, db: AsyncSession, data: UserCreate) -> None:
    """Mail a link that opens the account, or, where the address has one, that it has.

    A username that is taken is told, by one look that is the same for known and unknown addresses; one that is an
    address (and then it is the same address) is not, since that would tell whether the address is known.

    Args:
        accounts: where.
        db: a writing session that has not begun; it is not committed.
        data: of the account.

    Raises:
        EmailInvalid, UsernameInvalid, PasswordRefused, ProfileInvalid: as `core` judges them.
        UsernameTaken, UsernameTooSimilar: somebody has it just now.
        HashingBusy: too many passwords wait.
    """
    identity = judge_account(accounts, data.username, data.email, data.full_name, password=data.password)
    own = judge_profile(accounts, data.profile, caller=None)
    # It is not kept, since who chose it is not known; the work is that of opening an account at once.
    await accounts.hashing.hash(data.password, lane=Lane.PUBLIC)
    is_mailed = await may_post(accounts, _PURPOSE, str(identity.email))
    taken = await crud.find_taken(db, identity)
    _refuse_username(identity, taken)
    at, life, email = accounts.clock(), _lifetime(accounts), str(identity.email)
    wanted = {"username": identity.username, "full_name": data.full_name, "profile": own}
    token = await issue(accounts, db, _PURPOSE, at=at, lifetime=life, email=email, payload=wanted)
    if not is_mailed:
        return
    link = accounts.public_url(f"/auth/register/confirm?token={token}")
    values = {} if taken.user_id else {"link": link, **_span(life)}
    letter = "sign_up_known" if taken.user_id else "sign_up"
    await post(accounts, db, letter, to=email, at=at, values=values, user_id=taken.user_id, language=_language())


def _refuse_username(identity: Identity, taken: crud.Taken) -> None:
    if "@" in str(identity.username):
        return
    broken = "username_key" if taken.username else "username_skeleton" if taken.skeleton else None
    if broken is not None:
        kind, detail, field = TAKEN[broken]
        raise kind(detail, field=field)


async def find_sign_up(accounts: Accounts, token: str, *, at: datetime) -> tuple[str, str]:
    """Give the username and the address that a token would open an account for, without spending it.

    Raises:
        LinkInvalid: it opens none.
    """
    opened = await peek(accounts, _PURPOSE, token, at=at)
    return opened.payload["username"], str(opened.email)


def _what_fits(accounts: Accounts, kept: Mapping[str, Any] | None) -> dict[str, Any]:
    """Judge once more what somebody signed up with: the profile may have changed since. Then he sets it anew, later;
    that is no reason to keep him out. What is read-only by now has its default, as if he signed up today.
    """
    fields = {} if accounts.profile is None else accounts.profile.fields
    his = {name: value for name, value in (kept or {}).items() if name not in fields or not fields[name].read_only}
    with suppress(ProfileInvalid):
        return new_profile(accounts.profile, his or None, by_owner=True)
    return new_profile(accounts.profile, None, by_owner=False)


async def confirm_sign_up(accounts: Accounts, db: AsyncSession, data: SignUpConfirm, *, at: datetime) -> User:
    """Open the account that somebody signed up for, who proves by the token that he reads mail at the address.

    Its password is the one he brings now: whoever signed up may have been a stranger, in the hope that the owner of the
    address would let him in.

    Args:
        accounts: where.
        db: a writing session that has not begun; it is not committed.
        at: now.

    Raises:
        LinkInvalid: the token opens nothing; also for all but one of those who spend it at once.
        UsernameInvalid, PasswordRefused, HashingBusy: a username or password that will not do.
        EmailTaken, UsernameTaken, UsernameTooSimilar: somebody was faster. The token stays valid, for another name.
    """
    seen = await peek(accounts, _PURPOSE, data.token, at=at)
    username, email, full_name = data.username or seen.payload["username"], seen.email, seen.payload["full_name"]
    identity = judge_account(accounts, username, email, full_name, password=data.password)
    hashed = await accounts.hashing.hash(data.password, lane=Lane.PUBLIC)
    await spend(accounts, db, _PURPOSE, data.token, at=at)
    user = await store_account(
        db,
        identity,
        full_name=full_name,
        hashed_password=hashed,
        profile=_what_fits(accounts, seen.payload.get("profile")),
        email_verified_at=at,
        at=at,
    )
    await record(db, EmailProved(user.id))
    return user
