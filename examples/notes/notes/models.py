"""The tables: notebooks with notes in them, who may read a note, and what moderators ruled.

Each foreign key to an account says what becomes of the row when that account is erased.
"""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import DateTime, Dialect, ForeignKey, Index, MetaData, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.types import TypeDecorator

from denizen import User


class UtcDateTime(TypeDecorator[datetime]):
    """A time with its zone on both databases: SQLite keeps none, so that it is UTC there by agreement."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Write it in UTC."""
        return value and value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Read it as UTC where the database says nothing."""
        return value and (value if value.tzinfo else value.replace(tzinfo=UTC))


class Base(DeclarativeBase):
    """What every table of this application derives from; Denizen's have a base of their own."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: dict[Any, Any] = {datetime: UtcDateTime}  # noqa: RUF012  (SQLAlchemy's own form)


class Notebook(Base):
    """A notebook goes with its owner."""

    __tablename__ = "notebooks"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    owner_id: Mapped[UUID] = mapped_column(ForeignKey(User.id, ondelete="CASCADE"))

    __table_args__ = (Index(None, "owner_id", "id"),)


class Note(Base):
    """A note goes with its notebook. Whoever wrote in it last may leave, and the note stays."""

    __tablename__ = "notes"

    id: Mapped[int] = mapped_column(primary_key=True)
    notebook_id: Mapped[int] = mapped_column(ForeignKey(Notebook.id, ondelete="CASCADE"))
    title: Mapped[str] = mapped_column(String(200))
    text: Mapped[str] = mapped_column(Text)
    edited_at: Mapped[datetime]
    edited_by_id: Mapped[UUID | None] = mapped_column(ForeignKey(User.id, ondelete="SET NULL"), index=True)

    # `lazy="raise"`: what a query did not ask for is an error, and never a statement for each row.
    notebook: Mapped[Notebook] = relationship(lazy="raise")
    edited_by: Mapped[User | None] = relationship(User, lazy="raise")
    ruling: Mapped["Ruling | None"] = relationship(lazy="raise", viewonly=True)

    __table_args__ = (Index(None, "notebook_id", "id"),)


class Share(Base):
    """Somebody besides its owner may read a note. It goes with the note, and with that person."""

    __tablename__ = "shares"

    user_id: Mapped[UUID] = mapped_column(ForeignKey(User.id, ondelete="CASCADE"), primary_key=True)
    note_id: Mapped[int] = mapped_column(ForeignKey(Note.id, ondelete="CASCADE"), primary_key=True, index=True)
    may_edit: Mapped[bool]

    user: Mapped[User] = relationship(User, lazy="raise")


class Ruling(Base):
    """A moderator hid a note. He answers for it: while rulings of his stand, his account cannot be deleted."""

    __tablename__ = "rulings"

    note_id: Mapped[int] = mapped_column(ForeignKey(Note.id, ondelete="CASCADE"), primary_key=True)
    moderator_id: Mapped[UUID] = mapped_column(ForeignKey(User.id, ondelete="RESTRICT"), index=True)
    reason: Mapped[str] = mapped_column(String(500))
    ruled_at: Mapped[datetime]
