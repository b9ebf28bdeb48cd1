"""The string, number and time types that schemas and query parameters are made of.

Every string from outside goes through `Text`: a lone surrogate cannot be written as UTF-8 (it would surface as an
error deep in a driver), and U+0000 is text to SQLite but not to PostgreSQL. Both are refused at the door.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Final

from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic import AfterValidator, AwareDatetime, BeforeValidator
from pydantic_core import PydanticCustomError

MAX_INTEGER: Final = 2**53 - 1
"""The largest integer that every JSON reader keeps exact; SQLite and PostgreSQL hold it with room to spare."""


def is_encodable(text: str) -> bool:
    """Tell whether `text` can be written as UTF-8: half of a surrogate pair cannot."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_storable(text: str) -> bool:
    """Tell whether both databases and every encoder take `text`: no lone surrogate, no U+0000."""
    return "\x00" not in text and is_encodable(text)


def _refuse_unstorable(value: object) -> object:
    # Pydantic reads bytes as text too, where no JSON came before.
    if (isinstance(value, str) and not is_storable(value)) or (isinstance(value, bytes) and b"\x00" in value):
        raise PydanticCustomError("string_unacceptable", "must not contain U+0000 or half of a surrogate pair")
    return value


Storable: Final = BeforeValidator(_refuse_unstorable)
"""The check alone, for a type with limits of its own: `Annotated[str, MaxLen(20), Storable]`, in this order.

Limits put around `Text` instead hold as well, but are reported under another code (`too_long`).
"""

LeftEmpty: Final = BeforeValidator(lambda value: None if value == "" else value)
"""A form sends the fields that people leave empty: around a type that may be `None`, it is as if they were not sent."""

Text = Annotated[str, MaxLen(10_000), Storable]
"""Any string; at most 10,000 code points."""

Line = Annotated[str, MaxLen(255), Storable]
"""A string for one column or one filter; at most 255 code points."""

Word = Annotated[str, MinLen(1), MaxLen(64), Storable]
"""A short name of something, 1 to 64 code points."""

Count = Annotated[int, Ge(0), Le(MAX_INTEGER)]
"""How many, or how many to skip: 0 to 2^53 - 1."""

Integer = Annotated[int, Ge(-MAX_INTEGER), Le(MAX_INTEGER)]
"""Any whole number that survives JSON, Python and both databases unchanged."""

_PLUS_LOST: Final = re.compile(r"(T\d\d:\d\d(?::\d\d(?:\.\d+)?)?) (\d\d:?\d\d)", re.IGNORECASE)


def _restore_plus(value: object) -> object:
    """Read `...T09:30:00 01:00` as it was meant: in a query string a `+` that is not escaped arrives as a space."""
    return _PLUS_LOST.sub(r"\1+\2", value) if isinstance(value, str) else value


def _in_utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise PydanticCustomError("datetime_out_of_range", "must lie between the years 1 and 9999") from None


Instant = Annotated[AwareDatetime, BeforeValidator(_restore_plus), AfterValidator(_in_utc)]
"""A time with its zone, as in RFC 3339; brought to UTC, so that one instant has one form."""
