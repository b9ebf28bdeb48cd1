"""The tables of roles and of who has them."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from denizen.core.base import Base
from denizen.core.bounds import MAX_DESCRIPTION_LENGTH, MAX_ROLE_NAME_LENGTH
from denizen.core.ids import new_id
from denizen.core.types import StringList, key
from denizen.users.models import User

ADMIN: Final = "admin"
"""The role that is always there and holds every permission, those of later releases included."""

ADMIN_ID: Final = UUID("019ab000-0000-7000-8000-000000000001")
"""Its id, alike in every database, so that accounts move from one to another with their roles."""


class Role(Base):
    """A named bundle of permissions.

    Attributes:
        name: lower-case ASCII, unique: what people and imports call it.
        permissions: what it allows, such as `users:read`; `*` is every permission there is or will be.
        is_built_in: it can be neither changed nor deleted.
    """

    __tablename__ = "denizen_roles"
    __table_args__ = (
        CheckConstraint(f"length(name) <= {MAX_ROLE_NAME_LENGTH}", name="name_length"),
        CheckConstraint(f"length(description) <= {MAX_DESCRIPTION_LENGTH}", name="description_length"),
        Index("uq_denizen_roles_name", "name", unique=True),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default_factory=new_id, init=False)
    name: Mapped[str] = mapped_column(key(MAX_ROLE_NAME_LENGTH))
    description: Mapped[str] = mapped_column(String(MAX_DESCRIPTION_LENGTH))
    permissions: Mapped[list[str]] = mapped_column(StringList)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    is_built_in: Mapped[bool] = mapped_column(default=False)


class UserRole(Base):
    """One person has one role."""

    __tablename__ = "denizen_user_roles"
    __table_args__ = (Index("ix_denizen_user_roles_role_id", "role_id"),)

    user_id: Mapped[UUID] = mapped_column(ForeignKey(User.id, ondelete="CASCADE"), primary_key=True)
    role_id: Mapped[UUID] = mapped_column(ForeignKey(Role.id, ondelete="CASCADE"), primary_key=True)
    granted_at: Mapped[datetime]
