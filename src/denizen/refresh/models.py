"""The table of refresh tokens."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from denizen.core.base import Base
from denizen.sessions.models import Session


class RefreshToken(Base):
    """One refresh token of a sign-in: the newest of its family, or one spent a moment ago.

    Attributes:
        token_digest: its SHA-256.
        family_digest: SHA-256 of the part that a token has in common with all that it was exchanged for. Whoever shows
            one of a known family that is not here any more has stolen it, or was stolen from.
        spent_at: when it was exchanged for the next; `None` for the one that can be.
    """

    __tablename__ = "denizen_refresh_tokens"
    __table_args__ = (
        CheckConstraint("length(token_digest) = 32", name="token_digest_length"),
        CheckConstraint("length(family_digest) = 32", name="family_digest_length"),
        Index("ix_denizen_refresh_tokens_family_digest", "family_digest"),
        Index("ix_denizen_refresh_tokens_session_id", "session_id"),
    )

    token_digest: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True, repr=False)
    family_digest: Mapped[bytes] = mapped_column(LargeBinary(32), repr=False)
    session_id: Mapped[UUID] = mapped_column(ForeignKey(Session.id, ondelete="CASCADE"))
    issued_at: Mapped[datetime]
    spent_at: Mapped[datetime | None] = mapped_column(default=None)
