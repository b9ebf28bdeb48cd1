"""Every SQL statement about roles and about who has them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, bindparam, delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.base import Base
from denizen.core.database import Reader, constraint_of
from denizen.core.ids import parse_id
from denizen.core.statements import Statement
from denizen.roles.errors import RoleNameTaken, RoleNotFound
from denizen.roles.models import ADMIN_ID, Role, UserRole
from denizen.roles.schemas import NAME, READ_FIELDS
from denizen.users.errors import UserNotFound
from denizen.users.models import User

Row = tuple[Any, ...]
"""Values in the order of `READ_FIELDS`."""

_COLUMNS = tuple(getattr(Role, name) for name in READ_FIELDS)
_ALL = Statement(select(*_COLUMNS).order_by(Role.name), shown=True)
_HELD = select(*_COLUMNS).join(UserRole, UserRole.role_id == Role.id).where(UserRole.user_id == bindparam("user_id"))
_OF_ONE = Statement(_HELD.order_by(Role.name), shown=True)


def row_of(role: Role) -> Row:
    """Give the row that a list would show."""
    return tuple(getattr(role, name) for name in READ_FIELDS)


async def list_roles(reads: Reader) -> list[Row]:
    """Return all roles, by name: there are few."""
    return await reads.rows(_ALL)


async def list_roles_of(reads: Reader, user_id: UUID) -> list[Row]:
    """Return the roles of one person, by name."""
    return await reads.rows(_OF_ONE, user_id=user_id)


async def hold_person(db: AsyncSession, user_id: UUID) -> None:
    """Let nobody else give somebody roles, or take them, before this transaction ends.

    Raises:
        UserNotFound: there is no such account, or it was deleted.
    """
    query = select(User.id).where(User.id == user_id, User.deleted_at.is_(None)).with_for_update(key_share=True)
    if (await db.execute(query)).one_or_none() is None:
        raise UserNotFound("User not found")


async def list_held_roles(db: AsyncSession, user_id: UUID) -> Sequence[Role]:
    """Return the roles of one person, by name."""
    query = select(Role).join(UserRole, UserRole.role_id == Role.id).where(UserRole.user_id == user_id)
    return (await db.scalars(query.order_by(Role.name))).all()


async def get_role(db: AsyncSession, which: str, *, for_update: bool = False) -> Role:
    """Return the role that `which` names or is the id of.

    Raises:
        RoleNotFound: there is none.
    """
    role_id = parse_id(which)
    if role_id is None and NAME.fullmatch(which) is None:  # not to be sent to a database, which may not take it
        raise RoleNotFound("Role not found")
    query = select(Role).where(Role.id == role_id if role_id is not None else Role.name == which)
    role = (await db.scalars(query.with_for_update() if for_update else query)).one_or_none()
    if role is None:
        raise RoleNotFound("Role not found")
    return role


async def find_roles(db: AsyncSession, names: Iterable[str]) -> Sequence[Role]:
    """Return those of the roles called `names` that there are, by name."""
    possible = sorted(name for name in names if NAME.fullmatch(name) is not None)
    return (await db.scalars(select(Role).where(Role.name.in_(possible)).order_by(Role.name))).all()


async def create_role(db: AsyncSession, role: Role) -> Role:
    """Store a new role.

    Raises:
        RoleNameTaken: another has the name.
    """
    try:
        async with db.begin_nested():
            db.add(role)
            await db.flush()
    except IntegrityError as error:
        raise _taken(error) from error
    return role


async def update_role(db: AsyncSession, role: Role, values: Mapping[str, Any]) -> None:
    """Set columns of a role.

    Raises:
        RoleNameTaken: another has the name.
    """
    try:
        async with db.begin_nested():
            await db.execute(update(Role).where(Role.id == role.id).values(**values))
    except IntegrityError as error:
        raise _taken(error) from error


def _taken(error: IntegrityError) -> Exception:
    if constraint_of(error, Base.metadata) != "uq_denizen_roles_name":
        return error
    return RoleNameTaken("There is a role of this name already.", field="name")


async def delete_role(db: AsyncSession, role_id: UUID) -> None:
    """Delete a role, and with it that people have it."""
    await db.execute(delete(Role).where(Role.id == role_id).execution_options(synchronize_session=False))


async def create_grants(db: AsyncSession, grants: Sequence[tuple[UUID, UUID]], *, at: datetime) -> None:
    """Store that people have roles which they do not have yet: pairs of a person and a role."""
    await db.execute(
        insert(UserRole), [{"user_id": user_id, "role_id": role_id, "granted_at": at} for user_id, role_id in grants]
    )


async def delete_grant(db: AsyncSession, user_id: UUID, role_id: UUID) -> None:
    """Delete that a person has a role."""
    gone = delete(UserRole).where(UserRole.user_id == user_id, UserRole.role_id == role_id)
    await db.execute(gone.execution_options(synchronize_session=False))


async def list_permissions(db: AsyncSession, user_ids: Collection[UUID]) -> Sequence[tuple[UUID, list[str]]]:
    """Return whose role allows what: a row for each person and role, none for who has no role."""
    query = (
        select(UserRole.user_id, Role.permissions)
        .join(Role, Role.id == UserRole.role_id)
        .where(UserRole.user_id.in_(user_ids))
    )
    return [(user_id, permissions) for user_id, permissions in await db.execute(query)]


async def list_held_by(db: AsyncSession, user_ids: Collection[UUID]) -> Sequence[tuple[UUID, str, list[str]]]:
    """Return who has which role, by name, and what it allows."""
    query = (
        select(UserRole.user_id, Role.name, Role.permissions)
        .join(Role, Role.id == UserRole.role_id)
        .where(UserRole.user_id.in_(user_ids))
    )
    return [(user_id, name, permissions) for user_id, name, permissions in await db.execute(query)]


async def list_permissions_beyond(db: AsyncSession, user_ids: Collection[UUID]) -> Sequence[list[str]]:
    """Return what each of the roles allows that one of these people has: few rows, however many people."""
    held = select(UserRole.role_id).where(UserRole.user_id.in_(user_ids))
    return (await db.scalars(select(Role.permissions).where(Role.id.in_(held)))).all()


async def list_permissions_of_holders(db: AsyncSession, role_id: UUID, *, but: UUID | None) -> Sequence[list[str]]:
    """Return what each of the roles allows that somebody has who has this one, other than `but`: few rows, however many
    people.
    """
    holders = select(UserRole.user_id).where(UserRole.role_id == role_id)
    if but is not None:
        holders = holders.where(UserRole.user_id != but)
    held = select(UserRole.role_id).where(UserRole.user_id.in_(holders))
    return (await db.scalars(select(Role.permissions).where(Role.id.in_(held)))).all()


async def is_administrator(db: AsyncSession, user_id: UUID) -> bool:
    """Tell whether somebody has the role `admin`."""
    query = select(UserRole.user_id).where(UserRole.user_id == user_id, UserRole.role_id == ADMIN_ID)
    return (await db.execute(query)).one_or_none() is not None


async def hold_administrators(db: AsyncSession) -> None:
    """Let nobody else judge whether an administrator may go before this transaction ends: two who take away each
    other's role would each count the other.
    """
    # Weaker than FOR UPDATE: who gives somebody the role, which refers to this row, need not wait.
    await db.execute(select(Role.id).where(Role.id == ADMIN_ID).with_for_update(key_share=True))


async def list_administrators(db: AsyncSession, *, at: datetime) -> Sequence[UUID]:
    """Return those who have the role `admin` and can sign in at `at`: there are few."""
    query = select(UserRole.user_id).join(User, User.id == UserRole.user_id)
    return (await db.scalars(query.where(UserRole.role_id == ADMIN_ID, can_sign_in(at)))).all()


async def count_administrators(db: AsyncSession, *, at: datetime, but: Collection[UUID] = ()) -> int:
    """Count those who have the role `admin` and can sign in at `at`, without those of `but`."""
    query = (
        select(func.count())
        .select_from(UserRole)
        .join(User, User.id == UserRole.user_id)
        .where(UserRole.role_id == ADMIN_ID, UserRole.user_id.not_in(but), can_sign_in(at))
    )
    return int((await db.execute(query)).scalar_one())


def can_sign_in(at: datetime) -> ColumnElement[bool]:
    """Give the condition that an account is one that can be signed in to at `at`."""
    free = or_(User.suspended_at.is_(None), User.suspended_until <= at)
    return User.is_active & User.deleted_at.is_(None) & free


async def describe_roles(db: AsyncSession, user_id: UUID) -> list[dict[str, Any]]:
    """Give which roles somebody has, and since when."""
    query = select(Role.name, UserRole.granted_at).join(UserRole, UserRole.role_id == Role.id)
    return [row._asdict() for row in await db.execute(query.where(UserRole.user_id == user_id).order_by(Role.name))]
