"""The table by which SQLite finds accounts by their own fields."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import DDL, JSON, ForeignKey, String, event
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import TypeDecorator, TypeEngine

from denizen.core.base import Base
from denizen.core.profiles import MAX_FIELD_NAME
from denizen.core.types import Uuid, key, write_json

PROFILE_INDEX: Final = "ix_denizen_users_profile"
"""PostgreSQL's index of accounts, which looks into own fields. SQLAlchemy cannot say that SQLite has none."""


MAX_VALUE_LENGTH: Final = 80
"""Characters; of a longer value the digest is compared. A digest with its mark has 65."""


def compared(value: Any) -> str | None:
    """Give the text by which a value is found; `None` for one by which nobody is found: `null`, an array, an object.

    As `jsonb` compares: `5` and `5.0` are alike, `"5"` and `true` are not.
    """
    match value:
        case None | list() | dict():
            return None
        case bool():
            text = "true" if value else "false"
        case int() | float():
            text = _number(value)
        case _:
            text = json.dumps(value, ensure_ascii=False)
    # No JSON begins with this mark.
    return text if len(text) <= MAX_VALUE_LENGTH else f"#{hashlib.sha256(text.encode()).hexdigest()}"


def _number(value: float) -> str:
    """Write a number without exponent, as `numeric` does, and without what does not tell it from others."""
    text = format(Decimal(repr(value)), "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in {"-0", ""} else text


def values_of(profile: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Give the names of fields, each with the text by which it is found."""
    for name, value in profile.items():
        text = compared(value)
        if text is not None:
            yield name, text


class ProfileValue(Base):
    """One value of an own field of one account. PostgreSQL has an index that looks into the profile itself, and leaves
    this table empty.

    Attributes:
        name: of the field.
        value: as `compared` writes it.
        user_id: whose; last in the key, so that those with one value are found in the order of their ids.
    """

    __tablename__ = "denizen_profile_values"
    __table_args__ = ({"sqlite_with_rowid": False},)

    name: Mapped[str] = mapped_column(key(MAX_FIELD_NAME), primary_key=True)
    value: Mapped[str] = mapped_column(key(MAX_VALUE_LENGTH), primary_key=True)
    # By name: `users` stands above this room, since it writes this table; it may be loaded later, so the type is said.
    user_id: Mapped[UUID] = mapped_column(
        Uuid, ForeignKey("denizen_users.id", ondelete="CASCADE"), primary_key=True, index=True
    )


class Wanted(TypeDecorator[dict[str, Any]]):
    """Values by name that accounts are to have: an object for PostgreSQL; for SQLite a list of names and values as they
    are compared.
    """

    impl = JSON
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Text on SQLite; `jsonb` elsewhere."""
        return dialect.type_descriptor(String() if dialect.name == "sqlite" else JSONB())

    def process_bind_param(self, value: dict[str, Any] | None, dialect: Dialect) -> Any:
        """Write JSON text on SQLite."""
        if value is None or dialect.name != "sqlite":
            return value
        return write_json(list(values_of(value)))


ON_POSTGRESQL: Final = (
    "CREATE INDEX ix_denizen_users_profile ON denizen_users USING gin (profile jsonb_path_ops) "
    "WITH (gin_pending_list_limit = 512) WHERE profile <> '{}'"
)
"""Only those that have own fields are in it, so that it costs nothing where there are none. What waits to be sorted in
is read by every search, so that it is a short list."""

event.listen(ProfileValue.__table__, "after_create", DDL(ON_POSTGRESQL).execute_if(dialect="postgresql"))  # type: ignore[no-untyped-call]  # SQLAlchemy's DDL is
