"""The table of what opens once."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from denizen.core.base import Base
from denizen.core.identifiers import MAX_EMAIL_LENGTH, MAX_KEY_LENGTH
from denizen.core.ids import new_id
from denizen.core.types import key
from denizen.users.models import User

MAX_PURPOSE_LENGTH: Final = 32


class OneTimeToken(Base):
    """One link, code or ticket. To spend it is to delete it.

    Attributes:
        purpose: what it opens; part of what is asked for when it is spent, so that it opens nothing else.
        token_digest: SHA-256 of the token.
        user_id: whose it is; `None` where there is no account yet.
        email: the address it was sent to, and which showing it therefore proves.
        email_key: the same as uniqueness judges it.
        payload: what is to be done once it is spent, JSON sealed under the install's secret.
        code_digest: keyed digest of the six digits that have to come with it, for codes.
        tries: wrong codes so far.
    """

    __tablename__ = "denizen_one_time_tokens"
    __table_args__ = (
        CheckConstraint("length(token_digest) = 32", name="token_digest_length"),
        CheckConstraint("length(code_digest) = 32", name="code_digest_length"),
        Index("uq_denizen_one_time_tokens_token_digest", "token_digest", unique=True),
        Index("ix_denizen_one_time_tokens_user_id_purpose", "user_id", "purpose"),
        Index("ix_denizen_one_time_tokens_email_key", "email_key"),
        Index("ix_denizen_one_time_tokens_expires_at", "expires_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default_factory=new_id, init=False)
    purpose: Mapped[str] = mapped_column(String(MAX_PURPOSE_LENGTH))
    token_digest: Mapped[bytes] = mapped_column(LargeBinary(32), repr=False)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    user_id: Mapped[UUID | None] = mapped_column(ForeignKey(User.id, ondelete="CASCADE"), default=None)
    email: Mapped[str | None] = mapped_column(String(MAX_EMAIL_LENGTH), default=None)
    email_key: Mapped[str | None] = mapped_column(key(MAX_KEY_LENGTH), default=None, repr=False)
    payload: Mapped[bytes | None] = mapped_column(LargeBinary, default=None, repr=False)
    code_digest: Mapped[bytes | None] = mapped_column(LargeBinary(32), default=None, repr=False)
    tries: Mapped[int] = mapped_column(default=0)
