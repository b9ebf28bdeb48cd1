"""The table of signing keys."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import Index, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from denizen.core.base import Base
from denizen.core.ids import new_id

NOBODY: Final = UUID(int=0)
"""The predecessor of the first one."""


class SigningKey(Base):
    """A pair of keys that signs access tokens.

    Attributes:
        id: its `kid`.
        predecessor_id: the one it takes over from. Unique: of processes that make the next key at once one succeeds.
        algorithm: `ES256`.
        public: the public half, a JWK as JSON.
        private: the private half, sealed under the install's secret.
        signs_from: when it begins to sign; published before, so that whoever caches the set knows it by then.
        signs_until: when the next one takes over; `None` for the newest.
        published_until: when nothing it signed can still be valid; `None` for the newest.
    """

    __tablename__ = "denizen_signing_keys"
    __table_args__ = (Index("uq_denizen_signing_keys_predecessor_id", "predecessor_id", unique=True),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default_factory=new_id, init=False)
    predecessor_id: Mapped[UUID]
    algorithm: Mapped[str] = mapped_column(String(16))
    public: Mapped[str] = mapped_column(Text)
    private: Mapped[bytes] = mapped_column(LargeBinary, repr=False)
    created_at: Mapped[datetime]
    signs_from: Mapped[datetime]
    signs_until: Mapped[datetime | None] = mapped_column(default=None)
    published_until: Mapped[datetime | None] = mapped_column(default=None)
