"""Acts on roles: defining them, giving and taking them, and the two rules about that.

**Nobody takes over.** Whoever changes somebody else's account must hold all that this person may do (`guard`), and
whoever defines, changes, gives or takes a role must hold all that it allows. Otherwise the right to change accounts
would be the right to become anybody.

**Somebody is left.** The last person who has the role `admin` and can sign in cannot be taken it, nor be deleted,
suspended or made inactive.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.auth import BeyondCaller, Caller, Scope, covers
from denizen.core.database import Reader
from denizen.core.errors import Invalid
from denizen.core.events import guard, record
from denizen.core.ids import parse_id
from denizen.roles import crud
from denizen.roles.errors import LastAdministrator, RoleBuiltIn, RoleNotFound
from denizen.roles.events import RoleChanged, RoleCreated, RoleDeleted, RoleGranted, RoleRevoked
from denizen.roles.models import ADMIN_ID, Role
from denizen.roles.schemas import MAX_ROLES, READ_FIELDS, RoleCreate, RoleUpdate
from denizen.users.crud import read_user


async def permissions_of(db: AsyncSession, user_ids: Collection[UUID]) -> dict[UUID, frozenset[str]]:
    """Tell what people may do, by one statement; whoever has no role may nothing."""
    found = {user_id: frozenset[str]() for user_id in user_ids}
    for user_id, permissions in await crud.list_permissions(db, user_ids):
        found[user_id] |= frozenset(permissions)
    return found


async def guard_people(db: AsyncSession, caller: Caller, user_ids: Sequence[UUID]) -> None:
    """Refuse that a caller changes somebody who may do what he may not: the rule against take-over, by one statement.

    Raises:
        BeyondCaller: one of them may.
    """
    for permissions in await crud.list_permissions_beyond(db, user_ids):
        if not covers(caller.scopes, frozenset(permissions)):
            raise BeyondCaller("This account may do what you may not, so that it is not yours to change.")


def _check_covered(caller: Caller | None, permissions: Iterable[str], sentence: str) -> None:
    """Let a caller have to do with a role that allows `permissions`; `None` is the operator, or a host's own code.

    Raises:
        BeyondCaller: he lacks one of them.
    """
    if caller is not None and not covers(caller.scopes, frozenset(permissions)):
        raise BeyondCaller(sentence)


# --- Roles --------------------------------------------------------------------------------------------


async def define_role(db: AsyncSession, data: RoleCreate, *, caller: Caller | None, at: datetime) -> Role:
    """Define a role.

    Args:
        db: a writing session; it is not committed.
        caller: who does; `None` for the operator at the command line and for a host's own code.
        at: now.

    Raises:
        BeyondCaller: it would allow what the caller may not do.
        RoleNameTaken: the name is taken.
    """
    _check_covered(caller, data.permissions, "A role cannot be given permissions that you lack.")
    role = Role(
        name=data.name,
        description=data.description,
        permissions=sorted(data.permissions),
        created_at=at,
        updated_at=at,
    )
    await crud.create_role(db, role)
    await record(db, RoleCreated(role.id, role.name, tuple(role.permissions)))
    return role


async def change_role(db: AsyncSession, which: str, data: RoleUpdate, *, caller: Caller | None, at: datetime) -> Role:
    """Set the fields that `data` names. What the role allows changes at once for all who have it; where it allows less
    than before, their sign-ins end.

    Args:
        which: its name or its id.

    Raises:
        RoleNotFound, RoleBuiltIn: it is not there, or it is not to be changed.
        BeyondCaller: it allows, or would allow, what the caller may not do; or it would allow less to somebody who may.
        RoleNameTaken: the new name is taken.
    """
    role = await _hold_own(db, which, caller)
    values = data.model_dump(include=data.model_fields_set)
    if "permissions" in values:
        _check_covered(caller, data.permissions, "A role cannot be given permissions that you lack.")
        values["permissions"] = sorted(data.permissions)
    if not values:
        return role
    before = frozenset(role.permissions)
    if before.difference(values.get("permissions", before)):
        await _check_holders(db, role, caller)
    await crud.update_role(db, role, {**values, "updated_at": at})
    await db.refresh(role)
    now = frozenset(role.permissions)
    lost, gained = tuple(sorted(before - now)), tuple(sorted(now - before))
    await record(db, RoleChanged(role.id, role.name, tuple(role.permissions), lost, gained))
    return role


async def delete_role(db: AsyncSession, which: str, *, caller: Caller | None) -> None:
    """Delete a role: nobody has it any more, and the sign-ins of those who had it end.

    Raises:
        RoleNotFound, RoleBuiltIn, BeyondCaller: as `change_role`.
    """
    role = await _hold_own(db, which, caller)
    await _check_holders(db, role, caller)
    await record(db, RoleChanged(role.id, role.name, (), tuple(role.permissions)))
    await crud.delete_role(db, role.id)
    await record(db, RoleDeleted(role.id, role.name))


async def _hold_own(db: AsyncSession, which: str, caller: Caller | None) -> Role:
    role = await crud.get_role(db, which, for_update=True)
    if role.is_built_in:
        raise RoleBuiltIn(f"The role {role.name} is built in: it can be neither changed nor deleted.")
    _check_covered(caller, role.permissions, "This role allows what you may not do, so that it is not yours to change.")
    return role


async def _check_holders(db: AsyncSession, role: Role, caller: Caller | None) -> None:
    """Refuse to take something from all who have a role, if one of them may do what the caller may not: each would be
    refused alone.
    """
    if caller is None:
        return
    for permissions in await crud.list_permissions_of_holders(db, role.id, but=caller.user_id):
        _check_covered(caller, permissions, "Somebody who has this role may do what you may not.")


# --- Who has them -------------------------------------------------------------------------------------


async def read_role(reads: Reader, which: str, *, caller: Caller) -> crud.Row:
    """Return the row of a role, by name or id, for somebody who may see it: with `users:read` or `roles:write`.

    Raises:
        RoleNotFound: it is not there, or not his to see.
    """
    if caller.may(Scope.ROLES_WRITE) or caller.may(Scope.USERS_READ):
        rows = await crud.list_roles(reads)
    else:
        rows = [] if caller.user_id is None else await crud.list_roles_of(reads, caller.user_id)
    role_id = parse_id(which)
    for row in rows:
        shown = dict(zip(READ_FIELDS, row, strict=True))
        if shown["name"] == which or (role_id is not None and str(shown["id"]) == str(role_id)):
            return row
    raise RoleNotFound("Role not found")


async def list_roles_of(reads: Reader, user_id: UUID) -> list[crud.Row]:
    """Return the roles of one person, by name.

    Raises:
        UserNotFound: there is no such account.
    """
    roles = await crud.list_roles_of(reads, user_id)
    if not roles:
        await read_user(reads, user_id)
    return roles


async def check_grantable(db: AsyncSession, caller: Caller | None, names: Iterable[str]) -> list[Role]:
    """Give the roles called `names`, if the caller may give them to somebody, by one statement.

    Raises:
        RoleNotFound: one of them is not there.
        BeyondCaller: one of them allows what he may not do.
    """
    wanted = frozenset(names)
    if not wanted:
        return []
    roles = list(await crud.find_roles(db, wanted))
    if len(roles) < len(wanted):
        # A name that is none of a role may be anything that somebody typed: it is not repeated.
        raise RoleNotFound("One of these roles does not exist.", field="roles")
    for role in roles:
        _check_covered(caller, role.permissions, f"The role {role.name} allows what you may not do.")
    return roles


async def grant_roles(
    db: AsyncSession, user_id: UUID, names: Iterable[str], *, caller: Caller | None, at: datetime
) -> list[Role]:
    """Give somebody roles, beside those that he has; gives all that he has then, by name.

    Args:
        db: a writing session of an install; it is not committed.
        caller: who gives; `None` for the operator at the command line and for a host's own code.
        at: now.

    Raises:
        UserNotFound, RoleNotFound: there is no such person or role.
        BeyondCaller: the person may do what the caller may not, or a role allows it.
    """
    await crud.hold_person(db, user_id)
    await guard(db, caller, [user_id])
    wanted = await check_grantable(db, caller, names)
    held = {role.name: role for role in await crud.list_held_roles(db, user_id)}
    await _give(db, user_id, [role for role in wanted if role.name not in held], held=len(held), at=at)
    return _by_name([*held.values(), *wanted])


async def set_roles(
    db: AsyncSession, user_id: UUID, names: Iterable[str], *, caller: Caller | None, at: datetime
) -> list[Role]:
    """Give somebody these roles and take all others; gives them by name. Where one is taken his sign-ins end.

    Raises:
        UserNotFound, RoleNotFound, BeyondCaller: as `grant_roles`; also for a role that is taken.
        LastAdministrator: he is the last one, and `admin` is not among them.
    """
    await crud.hold_person(db, user_id)
    await guard(db, caller, [user_id])
    held = {role.name: role for role in await crud.list_held_roles(db, user_id)}
    wanted = frozenset(names)
    gained = await check_grantable(db, caller, wanted - held.keys())
    for name in sorted(held.keys() - wanted):
        await _take(db, user_id, held[name], caller=caller, at=at)
    await _give(db, user_id, gained, held=len(held.keys() & wanted), at=at)
    return _by_name([*(held[name] for name in held.keys() & wanted), *gained])


def _by_name(roles: Iterable[Role]) -> list[Role]:
    return sorted({role.id: role for role in roles}.values(), key=lambda role: role.name)


async def revoke_role(db: AsyncSession, user_id: UUID, name: str, *, caller: Caller | None, at: datetime) -> None:
    """Take a role from somebody; his sign-ins end.

    Raises:
        UserNotFound, RoleNotFound: there is no such person or role, or he does not have it.
        BeyondCaller: as `grant_roles`.
        LastAdministrator: he is the last one.
    """
    await crud.hold_person(db, user_id)
    await guard(db, caller, [user_id])
    held = {role.name: role for role in await crud.list_held_roles(db, user_id)}
    if name not in held:
        raise RoleNotFound("The account does not have this role.")
    await _take(db, user_id, held[name], caller=caller, at=at)


async def _give(db: AsyncSession, user_id: UUID, roles: Sequence[Role], *, held: int, at: datetime) -> None:
    if held + len(roles) > MAX_ROLES:
        raise Invalid(f"Nobody can have more than {MAX_ROLES} roles.", field="roles")
    await give_many(db, [(user_id, role) for role in roles], at=at)


async def give_many(db: AsyncSession, grants: Sequence[tuple[UUID, Role]], *, at: datetime) -> None:
    """Give people roles which they do not have yet, by one statement. Who gives is not asked: for code that has.

    Args:
        db: a writing session; it is not committed.
        at: now.
    """
    if not grants:
        return
    await crud.create_grants(db, [(user_id, role.id) for user_id, role in grants], at=at)
    for user_id, role in grants:
        await record(db, RoleGranted(user_id, role.name))


async def _take(db: AsyncSession, user_id: UUID, role: Role, *, caller: Caller | None, at: datetime) -> None:
    _check_covered(caller, role.permissions, f"The role {role.name} allows what you may not do.")
    await crud.delete_grant(db, user_id, role.id)
    if role.id == ADMIN_ID:
        await _leave_somebody(db, [user_id], at=at)
    await record(db, RoleRevoked(user_id, role.name))


# --- Somebody is left ---------------------------------------------------------------------------------


async def check_administrator_may_go(db: AsyncSession, user_id: UUID, *, at: datetime) -> None:
    """Refuse that the last administrator goes, in the transaction in which he does.

    Raises:
        LastAdministrator: he has the role `admin`, and nobody else who has it can sign in.
    """
    if await crud.is_administrator(db, user_id):
        await _leave_somebody(db, [user_id], at=at)


async def _leave_somebody(db: AsyncSession, going: Collection[UUID], *, at: datetime) -> None:
    # Of two that go at once the second waits here for the first, and then no longer counts him.
    await crud.hold_administrators(db)
    if not await crud.count_administrators(db, at=at, but=going):
        raise LastAdministrator("Nobody who can sign in would be left with the role admin. Give it to somebody first.")
