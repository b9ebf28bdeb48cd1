"""The table of API keys."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, String, text
from sqlalchemy.orm import Mapped, mapped_column

from denizen.core.base import Base
from denizen.core.bounds import MAX_KEY_NAME_LENGTH
from denizen.core.ids import new_id
from denizen.core.types import StringList
from denizen.users.models import User


class Key(Base):
    """One API key. The key itself is never stored, only its SHA-256.

    Attributes:
        name: what its makers call it, for people.
        hint: the first characters of the key, to tell keys apart by.
        user_id: the person whose key it is, with whose account it goes; `None` for keys of the operator.
        maker_id: the key it was made with. It lives no longer than that one, and is revoked with it (ADR 0009).
        scopes: what its holder may do.
        expires_at: when it ends; `None` for never.
        last_used_at: to the minute.
        revoked_at: when it was ended by hand.
    """

    __tablename__ = "denizen_keys"
    __table_args__ = (
        CheckConstraint(f"length(name) <= {MAX_KEY_NAME_LENGTH}", name="name_length"),
        CheckConstraint("length(token_digest) = 32", name="token_digest_length"),
        Index("uq_denizen_keys_token_digest", "token_digest", unique=True),
        Index("ix_denizen_keys_user_id_id", "user_id", "id"),
        Index("ix_denizen_keys_maker_id", "maker_id"),
        *(
            Index(
                f"ix_denizen_keys_{column}",
                column,
                sqlite_where=text(f"{column} IS NOT NULL"),
                postgresql_where=text(f"{column} IS NOT NULL"),
            )
            for column in ("expires_at", "revoked_at")
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default_factory=new_id, init=False)
    name: Mapped[str] = mapped_column(String(MAX_KEY_NAME_LENGTH))
    hint: Mapped[str] = mapped_column(String(16))
    token_digest: Mapped[bytes] = mapped_column(LargeBinary(32), repr=False)
    scopes: Mapped[list[str]] = mapped_column(StringList)
    created_at: Mapped[datetime]
    user_id: Mapped[UUID | None] = mapped_column(ForeignKey(User.id, ondelete="CASCADE"), default=None)
    maker_id: Mapped[UUID | None] = mapped_column(ForeignKey("denizen_keys.id", ondelete="CASCADE"), default=None)
    expires_at: Mapped[datetime | None] = mapped_column(default=None)
    last_used_at: Mapped[datetime | None] = mapped_column(default=None)
    revoked_at: Mapped[datetime | None] = mapped_column(default=None)
