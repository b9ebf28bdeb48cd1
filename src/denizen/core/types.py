"""Column types that give the same Python values on SQLite and on PostgreSQL.

What is stored (ADR 0007):

| type | PostgreSQL | SQLite | Python |
| --- | --- | --- | --- |
| `Uuid` | `uuid` | 36 characters, lower case, with hyphens | `uuid.UUID` |
| `UtcDateTime` | `timestamptz` | `2026-01-31T09:30:00.000000Z`, 27 characters | aware `datetime` in UTC |
| `Key` | `varchar COLLATE "C"` | text, compared byte by byte | `str` |
| `StringList` | `json` | JSON text | `list[str]` |
| `JsonObject` | `jsonb` | JSON text | `dict[str, Any]` |

The two text forms sort as the values do, can be read and pasted in any SQLite shell, and are what the API answers with.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import JSON, DateTime, String, types
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine


def in_utc(value: datetime) -> datetime:
    """Give the same instant in UTC.

    Raises:
        ValueError: `value` carries no time zone, so that nobody can know which instant it means.
        OverflowError: in UTC it lies before the year 1 or after 9999.
    """
    if value.utcoffset() is None:
        raise ValueError("a time without a time zone cannot be stored")
    return value if value.tzinfo is UTC else value.astimezone(UTC)


def format_utc(value: datetime) -> str:
    """Write an aware `datetime` as RFC 3339 in UTC, always with six digits of microseconds and `Z` (27 characters).

    One fixed width, so that the text sorts as the time does.

    Raises:
        As `in_utc`.
    """
    return in_utc(value).isoformat(timespec="microseconds")[:26] + "Z"


def parse_utc(text: str) -> datetime:
    """Read what `format_utc` wrote."""
    return datetime.fromisoformat(text)


def shown_utc(text: str) -> str:
    """Give what `format_utc` wrote as JSON shows it: without microseconds where there are none, as Pydantic does."""
    return text[:19] + "Z" if text.endswith(".000000Z") else text


class UtcDateTime(TypeDecorator[datetime]):
    """An instant, to the microsecond, always aware and in UTC. A naive `datetime` is refused on its way in."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Text on SQLite, which has no type for times; `timestamptz` elsewhere."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(String(27))
        return dialect.type_descriptor(DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Refuse what has no time zone; bring the rest to UTC."""
        if value is None:
            return None
        return format_utc(value) if dialect.name == "sqlite" else in_utc(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Give UTC, whatever zone the connection shows times in."""
        if value is None:
            return None
        if isinstance(value, str):
            return datetime.fromisoformat(value)
        instant: datetime = value
        return instant if instant.tzinfo is UTC else instant.astimezone(UTC)

    def shown_processor(self, dialect: Dialect) -> Callable[[Any], Any] | None:
        """Give what turns a stored value into one that JSON shows alike; `None` where it can stay as it is."""
        if dialect.name != "sqlite":
            return self.result_processor(dialect, None)
        return lambda text: None if text is None else shown_utc(text)


class Uuid(TypeDecorator[UUID]):
    """A UUID: PostgreSQL's own type, canonical text on SQLite."""

    impl = types.Uuid
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """36 characters on SQLite; `uuid` elsewhere."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(String(36))
        return dialect.type_descriptor(types.Uuid())

    def process_bind_param(self, value: UUID | None, dialect: Dialect) -> Any:
        """Write the canonical form."""
        if value is None or dialect.name != "sqlite":
            return value
        return str(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> UUID | None:
        """Give a `UUID`."""
        return UUID(value) if isinstance(value, str) else value

    def shown_processor(self, dialect: Dialect) -> Callable[[Any], Any] | None:
        """The same as of `UtcDateTime`: the stored text is the one that JSON shows."""
        return None if dialect.name == "sqlite" else self.result_processor(dialect, None)


class StringList(TypeDecorator[list[str]]):
    """A short list of strings, as JSON on both databases."""

    impl = JSON
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Text on SQLite (what its JSON type is underneath); `json` elsewhere."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(String())
        return dialect.type_descriptor(JSON())

    def process_bind_param(self, value: list[str] | None, dialect: Dialect) -> Any:
        """Write JSON text on SQLite."""
        return json.dumps(value) if value is not None and dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> list[str] | None:
        """Read JSON text on SQLite."""
        if value is None:
            return None
        found: list[str] = json.loads(value) if isinstance(value, str) else value
        return found


class JsonObject(TypeDecorator[dict[str, Any]]):
    """A JSON object: `jsonb` on PostgreSQL, which can look into it, and text on SQLite."""

    impl = JSON
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Text on SQLite; `jsonb` elsewhere."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(String())
        return dialect.type_descriptor(JSONB())

    def process_bind_param(self, value: dict[str, Any] | None, dialect: Dialect) -> Any:
        """Write JSON text on SQLite."""
        return write_json(value) if value is not None and dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> dict[str, Any] | None:
        """Read JSON text on SQLite."""
        found: dict[str, Any] | None = _read_object(value)
        return found

    def shown_processor(self, dialect: Dialect) -> Callable[[Any], Any] | None:
        """Give what `core.statements` reads a row with: the same without the calls around it, of which a list has
        hundreds.
        """
        return _read_object if dialect.name == "sqlite" else None


def _read_object(value: Any) -> Any:
    if value == "{}":  # as it is of most accounts, and to read it costs a microsecond
        return {}
    return json.loads(value) if isinstance(value, str) else value


write_json: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
"""Writes JSON as `JsonObject` stores it on SQLite. Made once: that takes as long as to write a small object."""


def key(length: int) -> TypeEngine[str]:
    """Text that is compared, ordered and made unique by its code points, alike on both databases.

    SQLite compares text byte by byte by itself. PostgreSQL would use the locale of the database, under which order
    differs from machine to machine and cursors would skip rows; `COLLATE "C"` stops that.

    Args:
        length: the most characters (code points) it may have.
    """
    return String(length).with_variant(String(length, collation="C"), "postgresql")
