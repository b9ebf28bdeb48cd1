"""The table of refresh tokens."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from denizen.core.base import Base
from denizen.sessions.models import Session


class RefreshToken(Base):
    """One refresh token of a sign-in. Spent ones stay as long as it does: who shows one again has stolen it, or was
    stolen from.

    Attributes:
        token_digest: its SHA-256.
        spent_at: when it was exchanged for the next; `None` for the one that can be.
    """

    __tablename__ = "denizen_refresh_tokens"
    __table_args__ = (
        CheckConstraint("length(token_digest) = 32", name="token_digest_length"),
        Index("ix_denizen_refresh_tokens_session_id", "session_id"),
    )

    token_digest: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    session_id: Mapped[UUID] = mapped_column(ForeignKey(Session.id, ondelete="CASCADE"))
    issued_at: Mapped[datetime]
    spent_at: Mapped[datetime | None] = mapped_column(default=None)
