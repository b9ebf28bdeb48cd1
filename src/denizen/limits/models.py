"""The table of limits."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, Index, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from denizen.core.base import Base


class Limit(Base):
    """How much of one limit is used up.

    Attributes:
        digest: of which limit, for whom: keyed by the install's secret, so that nobody reads from the table who tried
            to sign in from where.
        count: how many, for limits that count; for limits on rates, when all that was taken is paid off, in
            microseconds since 1970: both databases can add to a number alike, and not to a time.
        free_at: until when whoever comes has to wait.
        expires_at: when it is as if it had never been.
    """

    __tablename__ = "denizen_limits"
    __table_args__ = (
        CheckConstraint("length(digest) = 32", name="digest_length"),
        Index("ix_denizen_limits_expires_at", "expires_at"),
    )

    digest: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    count: Mapped[int] = mapped_column(BigInteger)
    free_at: Mapped[datetime]
    expires_at: Mapped[datetime]
