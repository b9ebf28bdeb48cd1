"""The table of sign-ins."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from denizen.core.base import Base
from denizen.core.ids import new_id
from denizen.users.models import User

MAX_DEVICE_LENGTH: Final = 200
MAX_ADDRESS_LENGTH: Final = 64


class Session(Base):
    """One sign-in. The token itself is never stored, only its SHA-256.

    Attributes:
        user_id: who signed in.
        token_digest: SHA-256 of its token.
        method: how it was opened: `password`, `magic_link`, `code`, `invitation`, `impersonation` ...
        device: what the client called itself, cut to 200 characters.
        address: where it was opened from, or last used.
        authenticated_at: when its owner last proved who he is; sensitive acts want that to be recent.
        last_used_at: to the minute.
        expires_at: when it ends at the latest; unused, it ends earlier.
        impersonator_id: who acts in the owner's place; it goes with that person.
    """

    __tablename__ = "denizen_sessions"
    __table_args__ = (
        CheckConstraint("length(token_digest) = 32", name="token_digest_length"),
        Index("uq_denizen_sessions_token_digest", "token_digest", unique=True),
        Index("ix_denizen_sessions_user_id", "user_id"),
        Index("ix_denizen_sessions_impersonator_id", "impersonator_id"),
        Index("ix_denizen_sessions_expires_at", "expires_at"),
        Index("ix_denizen_sessions_last_used_at", "last_used_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default_factory=new_id, init=False)
    user_id: Mapped[UUID] = mapped_column(ForeignKey(User.id, ondelete="CASCADE"))
    token_digest: Mapped[bytes] = mapped_column(LargeBinary(32), repr=False)
    method: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime]
    authenticated_at: Mapped[datetime]
    last_used_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    device: Mapped[str | None] = mapped_column(String(MAX_DEVICE_LENGTH), default=None)
    address: Mapped[str | None] = mapped_column(String(MAX_ADDRESS_LENGTH), default=None)
    impersonator_id: Mapped[UUID | None] = mapped_column(ForeignKey(User.id, ondelete="CASCADE"), default=None)
