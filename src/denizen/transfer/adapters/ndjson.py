"""NDJSON: one JSON object a line, read as strictly as the bodies of requests are."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any, Final, NoReturn

from denizen.core.errors import DenizenError
from denizen.transfer.adapters.lines import Line, Lines
from denizen.transfer.errors import (
    EncodingInvalid,
    FormatUnknown,
    JsonMalformed,
    MemberRepeated,
    MemberUnknown,
    RowRefused,
    RowTooLong,
)
from denizen.transfer.schemas import COLUMNS, Row, unknown_columns

_KNOWN: Final = frozenset(COLUMNS)
_MAX_DIGITS: Final = 19
_MAX_INTEGER: Final = 2**63 - 1
_BLANK: Final = b" \t\r\n"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise MemberRepeated("An object has a member twice.")
    return found


def _integer(digits: str) -> int:
    number = int(digits) if len(digits) <= _MAX_DIGITS + 1 else _MAX_INTEGER + 1
    if not -_MAX_INTEGER <= number <= _MAX_INTEGER:
        raise JsonMalformed("A number is beyond 64 bits.")
    return number


def _float(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise JsonMalformed("A number is beyond what a double holds.")
    return number


def _constant(_: str) -> NoReturn:
    raise JsonMalformed("NaN and Infinity are not JSON.")


_decode: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant
).decode


class NdjsonReader:
    """Reads NDJSON; empty lines are left out.

    Args:
        ignore_unknown: leave out members that accounts do not have. Otherwise one in the first row refuses the file,
            since it will be in all the others, and one in a later row refuses that row.
    """

    def __init__(self, *, ignore_unknown: bool = False) -> None:
        self._ignore_unknown = ignore_unknown
        self._lines = Lines()
        self._begun = False

    def feed(self, data: bytes) -> Iterator[Row]:
        """Take the next piece; give the rows that end in it."""
        return self._rows(self._lines.feed(data))

    def finish(self) -> Iterator[Row]:
        """Give the last row, where no line feed ended it."""
        return self._rows(self._lines.finish())

    def _rows(self, lines: Iterator[Line]) -> Iterator[Row]:
        for number, line in lines:
            if line is not None and not line.strip(_BLANK):
                continue
            values: dict[str, Any] | DenizenError
            try:
                values = self._values(line)
            except RowRefused as error:
                values = error
            yield Row(number, values)

    def _values(self, line: bytes | None) -> dict[str, Any]:
        if line is None:
            raise RowTooLong("This row is longer than a megabyte.")
        first, self._begun = not self._begun, True
        if first and line.lstrip(_BLANK).startswith(b"["):
            raise FormatUnknown(
                "The file is a JSON array, not one object a line; jq -c '.[]' makes the one of the other."
            )
        values = _parse(line)
        unknown = values.keys() - _KNOWN
        if not unknown:
            return values
        if not self._ignore_unknown:
            if first:
                raise unknown_columns(sorted(unknown))
            raise MemberUnknown("This row has a member that accounts do not have.")
        return {name: value for name, value in values.items() if name in _KNOWN}


def _parse(line: bytes) -> dict[str, Any]:
    try:
        found = _decode(line.decode())
    except UnicodeDecodeError:
        raise EncodingInvalid("This row is not UTF-8. Save the file as UTF-8, or mend the row.") from None
    except RecursionError:
        raise JsonMalformed("This row is nested too deeply.") from None
    except json.JSONDecodeError as error:
        raise JsonMalformed(f"This row is not JSON: column {error.colno}.") from None
    if not isinstance(found, dict):
        raise JsonMalformed("This row is JSON, but not an object.")
    return found


class NdjsonWriter:
    """Writes NDJSON, every column in every row."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = columns
        self._encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

    def begin(self) -> str:
        """Give nothing: there is no header."""
        return ""

    def write(self, rows: Sequence[Sequence[Any]]) -> str:
        """Give one line for each row."""
        encode, columns = self._encode, self._columns
        return "".join([encode(dict(zip(columns, row, strict=True))) + "\n" for row in rows])
