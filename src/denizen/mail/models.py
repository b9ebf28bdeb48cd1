"""The table of the outbox."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from denizen.core.base import Base
from denizen.core.ids import new_id
from denizen.users.models import User

MAX_ADDRESS_LENGTH: Final = 320
MAX_ERROR_LENGTH: Final = 500


class Mail(Base):
    """One letter, written in the transaction of what it tells of.

    Attributes:
        template: which letter it is: `verify`, `reset` ...
        address: where it goes.
        state: `waiting` (to be sent), `sent`, `failed` (given up), or `kept` (there is no mail server to send it).
        content: subject, text and HTML, sealed under the install's secret, since letters carry links that open
            accounts; `None` once it is sent.
        user_id: whom it is about; it goes with that account.
        attempts: how often it was tried.
        next_attempt_at: when it is tried next, if it waits; while somebody sends it, when others may.
        claim: who sends it just now.
        give_up_at: after which a try that fails is the last.
        error: what went wrong last.
    """

    __tablename__ = "denizen_mails"
    __table_args__ = (
        CheckConstraint(f"length(address) <= {MAX_ADDRESS_LENGTH}", name="address_length"),
        CheckConstraint(f"length(error) <= {MAX_ERROR_LENGTH}", name="error_length"),
        Index("ix_denizen_mails_state_next_attempt_at", "state", "next_attempt_at"),
        Index("ix_denizen_mails_created_at", "created_at"),
        Index("ix_denizen_mails_user_id", "user_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default_factory=new_id, init=False)
    template: Mapped[str] = mapped_column(String(32))
    address: Mapped[str] = mapped_column(String(MAX_ADDRESS_LENGTH))
    state: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime]
    next_attempt_at: Mapped[datetime]
    give_up_at: Mapped[datetime]
    content: Mapped[bytes | None] = mapped_column(LargeBinary, default=None, repr=False)
    user_id: Mapped[UUID | None] = mapped_column(ForeignKey(User.id, ondelete="CASCADE"), default=None)
    attempts: Mapped[int] = mapped_column(default=0)
    claim: Mapped[UUID | None] = mapped_column(default=None)
    sent_at: Mapped[datetime | None] = mapped_column(default=None)
    error: Mapped[str | None] = mapped_column(String(MAX_ERROR_LENGTH), default=None)
