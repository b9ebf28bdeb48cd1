"""Values of own fields as they are compared: one text for each, the same for all that is equal in JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

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
