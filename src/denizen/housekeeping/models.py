"""The table of who does what only one process at a time should do."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from denizen.core.base import Base


class Lease(Base):
    """One kind of work, and the process that has it.

    Attributes:
        name: of the work.
        holder: names the process.
        until: when another may take it.
    """

    __tablename__ = "denizen_leases"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    holder: Mapped[UUID]
    until: Mapped[datetime]
