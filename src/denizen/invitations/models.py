"""The table of invitations."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from denizen.core.base import Base
from denizen.core.identifiers import MAX_EMAIL_LENGTH, MAX_KEY_LENGTH
from denizen.core.ids import new_id
from denizen.core.types import StringList, key
from denizen.keys.models import Key
from denizen.users.models import User


class Invitation(Base):
    """Somebody was asked in. The token itself is never stored, only its SHA-256.

    Attributes:
        email: where it was sent, which accepting it therefore proves; `None` for one that is handed over by hand.
        roles: names of the roles its acceptance gives.
        inviter_id: who asked; `None` for the operator.
        inviter_key_id: the key that it was made with; `None` for none. It gives no more than that key may, and ends
            with it.
        accepted_at: when it was used; it works once.
        user_id: the account that came of it.
        revoked_at: when it was taken back.
    """

    __tablename__ = "denizen_invitations"
    __table_args__ = (
        CheckConstraint("length(token_digest) = 32", name="token_digest_length"),
        Index("uq_denizen_invitations_token_digest", "token_digest", unique=True),
        Index("ix_denizen_invitations_email_key", "email_key"),
        Index("ix_denizen_invitations_inviter_id", "inviter_id"),
        Index("ix_denizen_invitations_inviter_key_id", "inviter_key_id"),
        Index("ix_denizen_invitations_user_id", "user_id"),
        Index("ix_denizen_invitations_expires_at", "expires_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default_factory=new_id, init=False)
    token_digest: Mapped[bytes] = mapped_column(LargeBinary(32), repr=False)
    roles: Mapped[list[str]] = mapped_column(StringList)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    email: Mapped[str | None] = mapped_column(String(MAX_EMAIL_LENGTH), default=None)
    email_key: Mapped[str | None] = mapped_column(key(MAX_KEY_LENGTH), default=None, repr=False)
    inviter_id: Mapped[UUID | None] = mapped_column(ForeignKey(User.id, ondelete="CASCADE"), default=None)
    inviter_key_id: Mapped[UUID | None] = mapped_column(ForeignKey(Key.id, ondelete="CASCADE"), default=None)
    accepted_at: Mapped[datetime | None] = mapped_column(default=None)
    user_id: Mapped[UUID | None] = mapped_column(ForeignKey(User.id, ondelete="CASCADE"), default=None)
    revoked_at: Mapped[datetime | None] = mapped_column(default=None)
