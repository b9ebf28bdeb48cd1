"""What is known of many people at once, by a statement each."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.auth import EVERYTHING, Caller
from denizen.roles import crud
from denizen.roles.models import ADMIN
from denizen.roles.plans import Rights


async def read_rights(
    db: AsyncSession,
    caller: Caller | None,
    user_ids: Sequence[str],
    asked: Collection[tuple[Sequence[str], bool]],
    *,
    lock: bool,
    at: datetime,
) -> Rights:
    """Read what some people may do, and what roles may be given; by no statement where nothing of it matters, as where
    the operator brings in people without roles.

    Args:
        db: any session; one that writes, to lock.
        caller: who is to be judged.
        user_ids: who is there already.
        asked: of each row, the names of the roles that are to be given, and whether the account is to be active.
        lock: let nobody else judge meanwhile whether an administrator may go.
        at: now.
    """
    names = {name for roles, _ in asked for name in roles}
    going = not all(is_active for _, is_active in asked)
    held: dict[str, dict[str, frozenset[str]]] = {}
    if user_ids and (names or going or not (caller is None or caller.may(EVERYTHING))):
        for user_id, name, permissions in await crud.list_held_by(db, list(map(UUID, user_ids))):
            held.setdefault(str(user_id), {})[name] = frozenset(permissions)
    administrators: Sequence[UUID] = ()
    if going and any(ADMIN in each for each in held.values()):
        if lock:
            await crud.hold_administrators(db)
        administrators = await crud.list_administrators(db, at=at)
    known = {role.name: role for role in await crud.find_roles(db, names)} if names else {}
    return Rights(caller, held=held, roles=known, administrators=map(str, administrators))
