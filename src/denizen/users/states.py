"""What moves an account from one state to another: suspending it, deleting it in two steps, restoring and erasing it.

Who may is asked as in `service`.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.accounts import Accounts
from denizen.core.auth import Caller
from denizen.core.errors import Invalid
from denizen.core.events import check_session, guard, record
from denizen.reach.service import find_reach, is_kept_at_commit, is_refused
from denizen.search import crud as search
from denizen.search.models import FOUND_BY
from denizen.users import crud, plans
from denizen.users.crud import Row
from denizen.users.errors import UserChanged, UserInUse, UserNotFound
from denizen.users.events import UserDeleted, UserErased, UserRestored, UserSuspended, UserUnsuspended
from denizen.users.models import User
from denizen.users.schemas import READ_FIELDS, Deletion


async def suspend_user(
    db: AsyncSession,
    user_id: UUID,
    *,
    reason: str | None = None,
    until: datetime | None = None,
    at: datetime,
    caller: Caller | None = None,
) -> Row:
    """Let nobody sign in to an account, and end what is signed in, until somebody ends that or `until` has come. Of one
    that is suspended already, this is the new reason and the new end.

    Args:
        db: a writing session.
        user_id: whose.
        reason: for administrators.
        until: when it ends by itself; `None` for not.
        at: now.
        caller: who asks.

    Raises:
        UserNotFound: there is none.
        OwnAccount: his own.
        Invalid: `until` has passed.
        BeyondCaller: as `change_user`.
    """
    plans.not_on_oneself(caller, user_id)
    if until is not None and until <= at:
        raise Invalid("until: lies in the past.", field="until")
    await guard(db, caller, [user_id])
    before = dict(zip(READ_FIELDS, await crud.lock_user(db, user_id, versions=None, unique=False), strict=True))
    again = before["suspended_at"] is not None and before["suspended_until"] == until
    values = {"suspended_at": at, "suspended_until": until, "suspension_reason": reason}
    row = await crud.update_user(db, user_id, values, versions=None, at=at)
    await record(db, UserSuspended(user_id, until, again, after={"reason": reason} if reason else {}))
    return row


async def unsuspend_user(db: AsyncSession, user_id: UUID, *, at: datetime, caller: Caller | None = None) -> Row:
    """End a suspension; where there is none nothing changes. Sign-ins that it ended stay so.

    Raises:
        UserNotFound, OwnAccount, BeyondCaller: as `suspend_user`.
    """
    plans.not_on_oneself(caller, user_id)
    await guard(db, caller, [user_id])
    row = await crud.lock_user(db, user_id, versions=None)
    if dict(zip(READ_FIELDS, row, strict=True))["suspended_at"] is None:
        return row
    values = dict.fromkeys(("suspended_at", "suspended_until", "suspension_reason"))
    row = await crud.update_user(db, user_id, values, versions=None, at=at)
    await record(db, UserUnsuspended(user_id))
    return row


async def delete_user(
    accounts: Accounts,
    db: AsyncSession,
    user_id: UUID,
    *,
    versions: AbstractSet[int] | None,
    at: datetime,
    caller: Caller | None = None,
    erase: bool = False,
) -> datetime | None:
    """Hide an account from everybody, and erase it once `DENIZEN_DELETE_GRACE` is over: until then its names stay taken
    and `restore_user` brings it back.

    Who leaves without ever having proved his address is erased at once: nobody is to sign up with somebody else's,
    leave, and keep it from its owner for as long.

    Args:
        accounts: where.
        db: a writing session.
        user_id: whose.
        versions: those that may be deleted (`If-Match`), or `None` for whichever there is.
        at: now.
        caller: who asks.
        erase: at once, for good, and one that is hidden already as well.

    Returns:
        When it is erased; `None` for now.

    Raises:
        UserNotFound, UserChanged: nothing to delete, or none of those versions.
        UserInUse: it could not be erased, now or later: a host's table keeps it.
        NotWhileImpersonating, BeyondCaller: as `change_user`.
        SessionNeeded, ReauthenticationNeeded: his own, which takes a recent proof of who he is.
    """
    plans.not_in_anothers_place(caller)
    if caller is not None and caller.is_self(user_id):
        plans.must_be_fresh(accounts, caller, at=at)
    await guard(db, caller, [user_id])
    grace = timedelta(seconds=accounts.settings.delete_grace)
    if erase or not grace:
        await erase_user(db, user_id, versions=versions, hidden=erase)
        return None
    held = dict(zip(READ_FIELDS, await crud.lock_user(db, user_id, versions=versions), strict=True))
    if _is_leaving_unproved(held, caller):
        await erase_user(db, user_id, versions=None)
        return None
    await crud.check_erasable(db, user_id)
    await _check_commit(db, user_id)
    values = {"deleted_at": at, "erase_at": at + grace}
    await crud.update_user(db, user_id, values, versions=None, at=at)
    await search.delete_entry(db, user_id)
    await record(db, UserDeleted(user_id, at + grace))
    return at + grace


async def plan_deletion(
    accounts: Accounts,
    db: AsyncSession,
    user_id: UUID,
    *,
    versions: AbstractSet[int] | None,
    at: datetime,
    caller: Caller | None = None,
    erase: bool = False,
) -> Deletion:
    """Tell what `delete_user` would do to which rows of which tables, a host's too, and do none of it.

    Args:
        accounts, user_id, versions, at, caller, erase: as `delete_user`.
        db: any session; nothing is written.

    Raises:
        As `delete_user`, but for `UserInUse`, which the answer tells of.
    """
    plans.not_in_anothers_place(caller)
    if caller is not None and caller.is_self(user_id):
        plans.must_be_fresh(accounts, caller, at=at)
    await guard(db, caller, [user_id])
    held = await crud.describe_user(db, user_id)
    if held["deleted_at"] is not None and not erase:
        raise UserNotFound("User not found")
    if versions is not None and held["version"] not in versions:
        raise UserChanged(crud.CHANGED)
    grace = timedelta(seconds=accounts.settings.delete_grace)
    at_once = erase or _is_leaving_unproved(held, caller)
    tables = await find_reach(db, User.__tablename__, "id", user_id)
    return Deletion(
        erased_at=at if at_once else at + grace,
        refused=is_refused(tables),
        tables=tables,
    )


def _is_leaving_unproved(held: Mapping[str, Any], caller: Caller | None) -> bool:
    unproved = held["email"] is not None and held["email_verified_at"] is None
    return unproved and caller is not None and caller.is_self(held["id"])


async def restore_user(db: AsyncSession, user_id: UUID, *, at: datetime, caller: Caller | None = None) -> Row:
    """Let a deleted account be there again, as it was; of one that is not deleted nothing changes. Sign-ins, links and
    keys that ended with it stay so.

    Raises:
        UserNotFound: there is none, or none any more.
        NotWhileImpersonating, BeyondCaller: as `change_user`.
    """
    plans.not_in_anothers_place(caller)
    await guard(db, caller, [user_id])
    row, was_deleted = await crud.restore_user(db, user_id, at=at)
    if was_deleted:
        shown = dict(zip(READ_FIELDS, row, strict=True))
        await search.create_entry(db, user_id, *(shown[name] for name in FOUND_BY))
        await record(db, UserRestored(user_id))
    return row


async def erase_user(
    db: AsyncSession, user_id: UUID, *, versions: AbstractSet[int] | None, hidden: bool = False
) -> None:
    """Erase an account at once and for good and, through their foreign keys, the rows that belong to it.

    Args:
        db: a writing session.
        user_id: whose.
        versions: those that may be erased, or `None` for whichever there is.
        hidden: whether it may be one that was deleted before.

    Raises:
        UserNotFound, UserChanged: nothing to erase, or none of those versions.
        UserInUse: rows that are not ours keep it.
    """
    check_session(db)
    number = await search.get_number(db, user_id)
    was_hidden = await crud.hold_user(db, user_id, versions=versions, hidden=hidden)
    await _check_commit(db, user_id)
    async with crud.erasing(db):
        if not was_hidden:
            # Told before it is done, while what belongs to the account is there: who hears of it sees its roles.
            await record(db, UserDeleted(user_id))
        await crud.delete_user(db, user_id)
    await search.forget_number(db, number)
    await record(db, UserErased(user_id))


async def _check_commit(db: AsyncSession, user_id: UUID) -> None:
    """Refuse an erasure that only the commit would: nobody could be told why, and of many erasures none would be made.

    Raises:
        UserInUse: rows that are not ours keep the account.
    """
    if await is_kept_at_commit(db, User.__tablename__, "id", user_id):
        raise UserInUse(crud.KEPT)


_AT_ONCE: Final = 100
"""Accounts that are erased in one transaction, with all that belongs to them."""

_POSTPONED: Final = timedelta(days=1)


async def erase_due(accounts: Accounts, db: AsyncSession, at: datetime, limit: int) -> int:
    """Erase deleted accounts whose time has come, `limit` at most, a hundred at most; give how many that were.

    One that somebody's table keeps by now is tried again a day later.
    """
    erased = 0
    for user_id in await crud.list_due(db, at=at, limit=min(limit, _AT_ONCE)):
        try:
            await erase_user(db, user_id, versions=None, hidden=True)
        except UserInUse:
            await crud.postpone_erasure(db, user_id, until=at + _POSTPONED)
        else:
            erased += 1
    return erased
