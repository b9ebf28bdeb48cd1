"""JSON from outside, read strictly: nothing in it is guessed, bent or silently lost.

What is wrong is told as a kind and a place, never with the input: the body of a request and a row of a file each say
it in sentences of their own.

Source: RFC 8259 and RFC 7493 (I-JSON). Lone surrogates are left to `core.text`, which names the field.
"""

from __future__ import annotations

import json
import math
from enum import Enum, auto
from typing import Any, Final, NoReturn

MAX_DEPTH: Final = 64
MAX_MEMBERS: Final = 1_000
MAX_ITEMS: Final = 10_000
_NUMBER_LENGTH: Final = 64
_INT64: Final = 2**63


class Flaw(Enum):
    """What can be wrong with a document."""

    ENCODING = auto()
    """It is not UTF-8."""
    SYNTAX = auto()
    """It is not one JSON document; `JsonRefused` says where it stops being one."""
    CONSTANT = auto()
    """NaN or Infinity, which Python would read and JSON does not have."""
    INTEGER = auto()
    """A whole number beyond 64 bits."""
    NUMBER = auto()
    """A fraction beyond what a double holds, in size or in digits."""
    KEY_TWICE = auto()
    """Of the two values one would be ignored silently."""
    DEPTH = auto()
    """More than `MAX_DEPTH` levels."""
    MEMBERS = auto()
    """An object with more than `MAX_MEMBERS`."""
    ITEMS = auto()
    """An array with more than `MAX_ITEMS`."""


class JsonRefused(ValueError):
    """A document was not read.

    Attributes:
        flaw: why.
        line: where the syntax breaks, from 1; 0 for every other flaw.
        column: the same, in characters.
    """

    def __init__(self, flaw: Flaw, *, line: int = 0, column: int = 0) -> None:
        super().__init__(flaw.name)
        self.flaw = flaw
        self.line = line
        self.column = column


def read_json(document: bytes) -> Any:
    """Read one JSON document.

    Raises:
        JsonRefused: it has one of the flaws above.
    """
    try:
        value = _DECODER.decode(document.decode())
    except UnicodeDecodeError:
        raise JsonRefused(Flaw.ENCODING) from None
    except RecursionError:
        raise JsonRefused(Flaw.DEPTH) from None
    except json.JSONDecodeError as error:
        raise JsonRefused(Flaw.SYNTAX, line=error.lineno, column=error.colno) from None
    # Hardly any document has to be walked: too few brackets to be deep, too few commas for a long array.
    if document.count(b"[") + document.count(b"{") > MAX_DEPTH or document.count(b",") >= MAX_ITEMS:
        _check_shape(value)
    return value


def _check_shape(value: Any) -> None:
    """Look for arrays without end and levels without end, a level at a time: recursion is what they would break."""
    level, depth = [value], 0
    while level:
        if depth > MAX_DEPTH:
            raise JsonRefused(Flaw.DEPTH)
        below: list[Any] = []
        for node in level:
            if isinstance(node, dict):
                below.extend(child for child in node.values() if isinstance(child, dict | list))
            elif isinstance(node, list):
                if len(node) > MAX_ITEMS:
                    raise JsonRefused(Flaw.ITEMS)
                below.extend(child for child in node if isinstance(child, dict | list))
        level, depth = below, depth + 1


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MAX_MEMBERS:
        raise JsonRefused(Flaw.MEMBERS)
    found = dict(pairs)
    if len(found) != len(pairs):
        raise JsonRefused(Flaw.KEY_TWICE)
    return found


def _integer(text: str) -> int:
    number = int(text) if len(text) <= _NUMBER_LENGTH else _INT64
    if not -_INT64 <= number < _INT64:
        raise JsonRefused(Flaw.INTEGER)
    return number


def _float(text: str) -> float:
    number = float(text) if len(text) <= _NUMBER_LENGTH else math.inf
    if not math.isfinite(number):
        raise JsonRefused(Flaw.NUMBER)
    return number


def _constant(_: str) -> NoReturn:
    raise JsonRefused(Flaw.CONSTANT)


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant
)
