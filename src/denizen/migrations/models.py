"""The table in which a database says of itself which revisions it has."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, String
from sqlalchemy.orm import Mapped, mapped_column

from denizen.core.base import Base
from denizen.core.types import key

VERSION_TABLE = "denizen_alembic_version"
"""Alembic's own table; named so that a host's `alembic_version` may stand beside it."""


class AppliedRevision(Base):
    """One revision that this database has.

    Alembic keeps no more than the newest one, and a release that does not know it cannot tell what it means. So each
    revision also leaves a row here, which older releases can read.

    Attributes:
        revision: its id.
        breaking: whether releases that do not know it must keep off.
        release: the version of Denizen that applied it.
        applied_at: when, by the database's clock.
    """

    __tablename__ = "denizen_schema"
    __table_args__ = (CheckConstraint("length(revision) <= 32", name="revision_length"),)

    revision: Mapped[str] = mapped_column(key(32), primary_key=True)
    breaking: Mapped[bool]
    release: Mapped[str] = mapped_column(String(64))
    applied_at: Mapped[datetime]
