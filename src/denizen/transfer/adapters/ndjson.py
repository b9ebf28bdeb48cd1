"""NDJSON: one JSON object a line, read as strictly as the bodies of requests are."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from denizen.core.errors import DenizenError
from denizen.core.json import MAX_ITEMS, MAX_MEMBERS, Flaw, JsonRefused, read_json
from denizen.transfer.adapters.lines import NOT_UTF8, Line, Lines
from denizen.transfer.errors import (
    EncodingInvalid,
    FormatUnknown,
    JsonMalformed,
    MemberRepeated,
    MemberUnknown,
    RowRefused,
    RowTooLong,
)
from denizen.transfer.schemas import IGNORED, NO_OWN, OWN, Columns, Row, RowResult, gather_own

_BLANK: Final = b" \t\r\n"

_REFUSED: Final[dict[Flaw, tuple[type[RowRefused], str]]] = {
    Flaw.ENCODING: (EncodingInvalid, NOT_UTF8),
    Flaw.SYNTAX: (JsonMalformed, "This row is not JSON: column {column}."),
    Flaw.CONSTANT: (JsonMalformed, "NaN and Infinity are not JSON."),
    Flaw.INTEGER: (JsonMalformed, "A number is beyond 64 bits."),
    Flaw.NUMBER: (JsonMalformed, "A number is beyond what a double holds."),
    Flaw.KEY_TWICE: (MemberRepeated, "An object has a member twice."),
    Flaw.DEPTH: (JsonMalformed, "This row is nested too deeply."),
    Flaw.MEMBERS: (JsonMalformed, f"An object has more than {MAX_MEMBERS:,} members."),
    Flaw.ITEMS: (JsonMalformed, f"An array has more than {MAX_ITEMS:,} items."),
}


class NdjsonReader:
    """Reads NDJSON; empty lines are left out.

    Args:
        ignore_unknown: leave out members that accounts do not have, in `profile` too. Otherwise one in the first row
            refuses the file, since it will be in all the others, and one in a later row refuses that row.
        renamed: names of members, with ours in their place; an empty one leaves the member out.
        columns: that accounts have.
    """

    def __init__(
        self,
        *,
        ignore_unknown: bool = False,
        renamed: Mapping[str, str] | None = None,
        columns: Columns = NO_OWN,
    ) -> None:
        self._ignore_unknown = ignore_unknown
        self._renamed = renamed or {}
        self._columns = columns
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
        if self._renamed:
            values = self._rename(values)
        others = values.keys() - self._columns.known
        if others:
            unknown = {name for name in others if name not in self._columns}
            if not self._ignore_unknown and (told := unknown - IGNORED):
                if first:
                    raise self._columns.unknown(sorted(told))
                raise MemberUnknown("This row has a member that accounts do not have.")
            values = {name: value for name, value in values.items() if name not in unknown}
        if self._ignore_unknown and isinstance(own := values.get("profile"), dict):
            values["profile"] = {name: value for name, value in own.items() if f"{OWN}{name}" in self._columns}
        if self._columns.profile is not None and any(name.startswith(OWN) for name in values):
            values = gather_own(values)
        return values

    def _rename(self, values: dict[str, Any]) -> dict[str, Any]:
        named: dict[str, Any] = {}
        for old, value in values.items():
            new = self._renamed.get(old, old)
            if new in named:
                raise MemberRepeated("Two members of this row have one name once they are renamed.")
            if new:
                named[new] = value
        return named


def _parse(line: bytes) -> dict[str, Any]:
    try:
        found = read_json(line)
    except JsonRefused as error:
        kind, sentence = _REFUSED[error.flaw]
        raise kind(sentence.format(column=error.column)) from None
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


_encode: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def dump_results(results: Sequence[RowResult]) -> str:
    """Write results as `NdjsonWriter` would. Those without a reason, which are most, take a tenth of the time."""
    return "".join(
        f'{{"line":{line},"outcome":"{outcome}","id":"{user_id}","code":null,"field":null,"message":null}}\n'
        if code is None and user_id is not None
        else _encode(dict(zip(RowResult._fields, (line, outcome, user_id, code, field, message), strict=True))) + "\n"
        for line, outcome, user_id, code, field, message in results
    )
