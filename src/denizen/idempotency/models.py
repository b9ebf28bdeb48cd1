"""The table of requests that may be sent again."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, LargeBinary, Text
from sqlalchemy.orm import Mapped, mapped_column

from denizen.core.base import Base
from denizen.core.types import Uuid


class KeptAnswer(Base):
    """One request that was sent under an Idempotency-Key: in flight, or answered.

    Attributes:
        digest: of who asked, for which route, under which key; made with the install's secret, so that it cannot be
            tried out.
        body_digest: of the body, made alike: another body under the same key is a mistake.
        claim: names the attempt that is at it, so that one which lost its claim does not answer.
        expires_at: when it is forgotten; while it is in flight, when another attempt may take over.
        status: of the answer; `None` while it is in flight.
        headers: of the answer, as a JSON object.
        body: of the answer, without secrets.
        user_id: whom the answer tells of, where it is one account: erased with it.
    """

    __tablename__ = "denizen_idempotency"
    __table_args__ = (
        CheckConstraint("length(digest) = 32", name="digest_length"),
        CheckConstraint("length(body_digest) = 32", name="body_digest_length"),
    )

    digest: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    body_digest: Mapped[bytes] = mapped_column(LargeBinary(32))
    claim: Mapped[UUID]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    status: Mapped[int | None] = mapped_column(default=None)
    headers: Mapped[str | None] = mapped_column(Text, default=None)
    body: Mapped[bytes | None] = mapped_column(LargeBinary, default=None, repr=False)
    # By name: `users` stands above this room, since it uses it; it may be loaded later, so the type is said.
    user_id: Mapped[UUID | None] = mapped_column(
        Uuid, ForeignKey("denizen_users.id", ondelete="CASCADE"), index=True, default=None
    )
