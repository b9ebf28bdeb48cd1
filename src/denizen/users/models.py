"""The table of accounts."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from denizen.core.base import Base
from denizen.core.bounds import MAX_REASON_LENGTH
from denizen.core.identifiers import (
    MAX_EMAIL_LENGTH,
    MAX_EXTERNAL_ID_LENGTH,
    MAX_FULL_NAME_LENGTH,
    MAX_KEY_LENGTH,
    MAX_USERNAME_LENGTH,
)
from denizen.core.ids import new_id
from denizen.core.types import JsonObject, key

MAX_HASH_LENGTH = 1024
"""What PostgreSQL's `integer` holds."""


def _at_most(column: str, length: int) -> CheckConstraint:
    """Bound a column's length in the database too: not everything that writes there is this program."""
    return CheckConstraint(f"length({column}) <= {length}", name=f"{column}_length")


def _without(column: str) -> Index:
    condition = text(f"{column} IS NULL")
    return Index(f"ix_denizen_users_id_no_{column}", "id", sqlite_where=condition, postgresql_where=condition)


class User(Base):
    """One account.

    Attributes:
        id: UUIDv7, so that order by id is the order of creation.
        username: as its owner writes it; `None` where only an address is known.
        email: as its owner writes it; `None` where only a username is known. One of the two is always there.
        external_id: what another system calls this person.
        hashed_password: a PHC string; `None` for an account that nobody can sign in to with a password.
        version: counts the changes; the `ETag`.
        email_verified_at: when somebody first proved to read mail at `email`; `None` for never, and after a change.
        profile: the fields that are the host's or the operator's own, by name; see `core.profiles`.
        suspended_at: when an administrator suspended it; `None` while it is not.
        suspended_until: when that ends by itself; `None` for not.
        suspension_reason: what the administrator gave as the reason.
        deleted_at: when it was deleted; from then on it is hidden, and its names stay taken.
        erase_at: when a deleted account is erased for good.
        email_key: `email` in the form that uniqueness is judged by, the same for all spellings.
        username_key: the same of `username`.
        username_skeleton: `username` with look-alike characters folded together.
    """

    __tablename__ = "denizen_users"
    __table_args__ = (
        CheckConstraint("username IS NOT NULL OR email IS NOT NULL", name="username_or_email"),
        CheckConstraint("(username IS NULL) = (username_key IS NULL)", name="username_has_key"),
        CheckConstraint("(username IS NULL) = (username_skeleton IS NULL)", name="username_has_skeleton"),
        CheckConstraint("(email IS NULL) = (email_key IS NULL)", name="email_has_key"),
        _at_most("username", MAX_USERNAME_LENGTH),
        _at_most("email", MAX_EMAIL_LENGTH),
        _at_most("external_id", MAX_EXTERNAL_ID_LENGTH),
        _at_most("full_name", MAX_FULL_NAME_LENGTH),
        _at_most("hashed_password", MAX_HASH_LENGTH),
        _at_most("email_key", MAX_KEY_LENGTH),
        _at_most("username_key", MAX_KEY_LENGTH),
        _at_most("username_skeleton", MAX_KEY_LENGTH),
        Index("uq_denizen_users_email_key", "email_key", unique=True),
        Index("uq_denizen_users_username_key", "username_key", unique=True),
        Index("uq_denizen_users_username_skeleton", "username_skeleton", unique=True),
        Index("uq_denizen_users_external_id", "external_id", unique=True),
        Index("ix_denizen_users_created_at_id", "created_at", "id"),
        Index("ix_denizen_users_updated_at_id", "updated_at", "id"),
        Index("ix_denizen_users_is_active_id", "is_active", "id"),
        # The accounts that come last when a list is ordered by a name they do not have. Over the name and not its key:
        # where a unique index could find the NULLs, SQLite takes that one and sorts them all for each page.
        _without("username"),
        _without("email"),
        # Deleted accounts alone, of which there are few.
        Index(
            "ix_denizen_users_erase_at",
            "erase_at",
            sqlite_where=text("erase_at IS NOT NULL"),
            postgresql_where=text("erase_at IS NOT NULL"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default_factory=new_id, init=False)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    username: Mapped[str | None] = mapped_column(String(MAX_USERNAME_LENGTH), default=None)
    email: Mapped[str | None] = mapped_column(String(MAX_EMAIL_LENGTH), default=None)
    external_id: Mapped[str | None] = mapped_column(key(MAX_EXTERNAL_ID_LENGTH), default=None)
    full_name: Mapped[str | None] = mapped_column(String(MAX_FULL_NAME_LENGTH), default=None)
    hashed_password: Mapped[str | None] = mapped_column(String(MAX_HASH_LENGTH), default=None, repr=False)
    is_active: Mapped[bool] = mapped_column(default=True)
    version: Mapped[int] = mapped_column(default=1)
    email_key: Mapped[str | None] = mapped_column(key(MAX_KEY_LENGTH), default=None, repr=False)
    username_key: Mapped[str | None] = mapped_column(key(MAX_KEY_LENGTH), default=None, repr=False)
    username_skeleton: Mapped[str | None] = mapped_column(key(MAX_KEY_LENGTH), default=None, repr=False)
    email_verified_at: Mapped[datetime | None] = mapped_column(default=None)
    profile: Mapped[dict[str, Any]] = mapped_column(
        JsonObject, default_factory=dict, server_default=text("'{}'"), repr=False
    )
    suspended_at: Mapped[datetime | None] = mapped_column(default=None)
    suspended_until: Mapped[datetime | None] = mapped_column(default=None)
    suspension_reason: Mapped[str | None] = mapped_column(String(MAX_REASON_LENGTH), default=None)
    deleted_at: Mapped[datetime | None] = mapped_column(default=None)
    erase_at: Mapped[datetime | None] = mapped_column(default=None)
