"""CSV as RFC 4180 has it and as spreadsheets write it.

Python's own reader is not used: it cannot go on behind a row that is broken, does not know on which line a row began,
and takes a whole file for one value where a quote is never closed.
"""

from __future__ import annotations

import csv
import io
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

from denizen.core.errors import DenizenError
from denizen.core.json import JsonRefused, read_json
from denizen.core.profiles import Profile, ProfileInvalid
from denizen.core.text import is_encodable
from denizen.transfer.adapters.lines import MAX_LINE_BYTES, NOT_UTF8, Line, Lines
from denizen.transfer.errors import (
    BooleanInvalid,
    ColumnMissing,
    ColumnRepeated,
    ColumnsMissing,
    ColumnsSurplus,
    EncodingInvalid,
    HeaderMissing,
    QuoteMisplaced,
    QuoteUnclosed,
    RowRefused,
    RowTooLong,
    TypeInvalid,
    VersionInvalid,
)
from denizen.transfer.schemas import IGNORED, NO_OWN, OWN, TEXTS, Columns, ImportOptions, Row, gather_own

_DELIMITERS: Final = (",", ";", "\t")
_MAX_LINES: Final = 10_000
"""In one row."""
_MAX_COLUMNS: Final = 1_000
"""A line of a megabyte can have a million, and to look at each would take all others' time for seconds."""

_SEPARATOR_HINT: Final = re.compile(r"sep=([^\w\"])", re.IGNORECASE)
_QUOTED: Final = re.compile(r'[^"]*+(?:""[^"]*+)*+')
_FORMULA: Final = re.compile(r"'*(?:[=+\-@\t\r\n]|\Z)")
_NEUTRALISED: Final = re.compile(r"'+(?:[=+\-@\t\r\n]|\Z)")
_UNSEEN: Final = re.compile("[\u200b-\u200f\u2060\ufeff]")
"""Spaces of no width, marks of direction, byte order marks: what is copied into a header by mistake."""

_TRUE: Final = frozenset({"true", "t", "yes", "y", "1"})
_FALSE: Final = frozenset({"false", "f", "no", "n", "0"})


def neutralise(text: str) -> str:
    """Put a `'` before what a spreadsheet would run as a formula, and before what `restore` would take for its work.

    An empty text becomes `'` alone, so that it differs from an absent one.

    Source: OWASP, CSV Injection.
    """
    return f"'{text}" if _FORMULA.match(text) else text


def restore(text: str) -> str:
    """Undo `neutralise`."""
    return text[1:] if text[:1] == "'" and _NEUTRALISED.match(text) else text


# --- Reading -----------------------------------------------------------------------------------------


def _name(text: str) -> str | None:
    name = text.strip()
    return (restore(name) if name[:1] == "'" else name) or None


def _boolean(text: str) -> bool:
    word = text.strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise BooleanInvalid("is_active is true or false.", field="is_active")


def _version(text: str) -> int:
    digits = text.strip()
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= 10):
        raise VersionInvalid("version is a whole number.", field="version")
    return int(digits)


def _words(cell: str) -> list[str]:
    """Read names with spaces, semicolons or commas between them."""
    return re.split(r"[\s;,]+", cell.strip(" \t;,"))


def _object(cell: str) -> Any:
    try:
        return read_json(cell.encode())
    except JsonRefused:
        raise TypeInvalid('profile is an object of JSON, such as {"department": "sales"}.', field="profile") from None


def _own(profile: Profile, name: str, cell: str) -> Any:
    return profile.read(name, restore(cell))


_CONVERT: Final[dict[str, Callable[[str], Any]]] = {
    "username": _name,
    "email": _name,
    "external_id": restore,
    "full_name": restore,
    "is_active": _boolean,
    "version": _version,
    "password": str,
    "roles": _words,
    "profile": _object,
}


class _Fields:
    """The values of one row, which may go on over several lines."""

    def __init__(self, delimiter: str, most: int) -> None:
        self.values: list[str] = []
        self._delimiter = delimiter
        self._most = most
        self._quoted: list[str] | None = None

    def take(self, line: str, end: str) -> bool:
        """Take one more line of the row; tell whether the row ends with it.

        Raises:
            QuoteMisplaced: text behind a closing quote.
            ColumnsSurplus: so many values that no row is meant.
        """
        text, position = line.removesuffix("\r"), 0
        while True:
            if self._quoted is None and text.startswith('"', position):
                self._quoted, position = [], position + 1
            if self._quoted is None:
                stop = text.find(self._delimiter, position)
                self.values.append(text[position:] if stop < 0 else text[position:stop])
            else:
                stop = self._close(text, position)
                if self._quoted is not None:
                    self._quoted.append(line[len(text) :] + end)
                    return False
            if stop < 0:
                return True
            if len(self.values) > self._most:
                raise ColumnsSurplus("This row has far more values than the header has names.")
            position = stop + 1

    def _close(self, text: str, position: int) -> int:
        """Go on inside quotes; give the place of the delimiter behind them, or -1 at the end of the line."""
        assert self._quoted is not None  # noqa: S101  (for mypy: callers looked)
        found = _QUOTED.match(text, position)
        stop = found.end() if found else position
        self._quoted.append(text[position:stop])
        if stop == len(text):
            return -1
        self.values.append("".join(self._quoted).replace('""', '"'))
        self._quoted = None
        if stop + 1 == len(text):
            return -1
        if text[stop + 1] != self._delimiter:
            raise QuoteMisplaced("Text follows a closing quote. A quote inside a quoted value is written twice.")
        return stop + 1


class CsvReader:
    """Reads CSV.

    A row that is broken is told, and reading goes on at the line behind the one it began on.

    Args:
        ignore_unknown: leave out columns that accounts do not have, and members of `profile`, instead of refusing.
        renamed: names of columns, in any case, with ours in their place; an empty one leaves the column out.
        needed: the columns of which the file has to have one.
        columns: that accounts have.
    """

    def __init__(
        self,
        *,
        ignore_unknown: bool = False,
        renamed: Mapping[str, str] | None = None,
        needed: frozenset[str] = ImportOptions().needed,
        columns: Columns = NO_OWN,
    ) -> None:
        self._ignore_unknown = ignore_unknown
        self._renamed = {_column(old): new for old, new in (renamed or {}).items()}
        self._needed = needed
        self._columns = columns
        self._has_own = False
        self._lines = Lines()
        self._delimiter = ""
        self._width = 0
        self._plan: list[tuple[int, str, Callable[[str], Any]]] = []
        self._unnamed: list[int] = []
        self._held: list[Line] = []
        self._held_bytes = 0
        self._open: _Fields | None = None

    def feed(self, data: bytes) -> Iterator[Row]:
        """Take the next piece; give the rows that end in it."""
        return self._rows(self._lines.feed(data))

    def finish(self) -> Iterator[Row]:
        """Give what is left at the end of the file."""
        yield from self._rows(self._lines.finish())
        while self._held:
            error = QuoteUnclosed("The file ends inside a quoted value.")
            yield from self._break_off(error)
        if not self._width:
            raise HeaderMissing(f"The file is empty. Its first line names the columns: {self._columns.listed}.")

    def _rows(self, lines: Iterator[Line]) -> Iterator[Row]:
        for number, line in lines:
            if self._open is not None or line is None or b'"' in line or not self._width:
                yield from self._careful(number, line)
                continue
            try:
                text = line.decode()
            except UnicodeDecodeError:
                yield Row(number, EncodingInvalid(NOT_UTF8))
                continue
            row = self._row(number, text.removesuffix("\r").split(self._delimiter))
            if row is not None:
                yield row

    def _row(self, number: int, cells: list[str]) -> Row | None:
        """Make a row of its cells; nothing of one that is empty."""
        if len(cells) != self._width:
            if not any(cells):
                return None
            if len(cells) < self._width:
                return Row(number, ColumnsMissing(f"This row has {len(cells)} values, the header {self._width} names."))
            if any(cells[self._width :]):
                return Row(number, ColumnsSurplus(f"This row has {len(cells)} values, the header {self._width} names."))
        if self._unnamed and any(cells[index] for index in self._unnamed):
            return Row(number, ColumnsSurplus("This row has a value in a column without a name."))
        try:
            values = {name: convert(cells[index]) for index, name, convert in self._plan if cells[index]}
            if self._ignore_unknown and isinstance(own := values.get("profile"), dict):
                values["profile"] = {name: value for name, value in own.items() if f"{OWN}{name}" in self._columns}
            if self._has_own:
                values = gather_own(values)
        except (RowRefused, ProfileInvalid) as error:
            return Row(number, error)
        return Row(number, values) if values or any(cells) else None

    # Rows with quotes, rows that are broken, and the header.

    def _careful(self, number: int, line: bytes | None) -> Iterator[Row]:
        waiting = deque([(number, line)])
        while waiting:
            self._held.append(waiting.popleft())
            try:
                row = self._next()
            except RowRefused as error:
                begun, *others = self._let_go()
                yield Row(begun[0], error)
                waiting.extendleft(reversed(others))
            else:
                if row is not None:
                    yield row

    def _break_off(self, error: DenizenError) -> Iterator[Row]:
        """Refuse the row that is being read, and read the lines behind its first one anew."""
        begun, *others = self._let_go()
        yield Row(begun[0], error)
        for number, line in others:
            yield from self._careful(number, line)

    def _let_go(self) -> list[Line]:
        held, self._held, self._held_bytes, self._open = self._held, [], 0, None
        return held

    def _next(self) -> Row | None:
        """Read the line last held; give the row if it ends there."""
        _, line = self._held[-1]
        self._held_bytes += len(line or b"")
        if line is None or self._held_bytes > MAX_LINE_BYTES or len(self._held) > _MAX_LINES:
            if not self._width:
                raise HeaderMissing("The first line is longer than a megabyte.")
            raise RowTooLong("This row is longer than a megabyte or 10,000 lines, or a quote in it is never closed.")
        if not self._width:
            self._let_go()
            self._begin(line)
            return None
        if self._open is None:
            self._open = _Fields(self._delimiter, self._width + 8)
        text = line.decode(errors="surrogateescape")
        if not self._open.take(text, self._lines.end.decode()):
            return None
        cells = self._open.values
        begun = self._let_go()[0][0]
        if not all(map(is_encodable, cells)):  # a byte that is no UTF-8 was escaped as a surrogate above
            return Row(begun, EncodingInvalid(NOT_UTF8))
        return self._row(begun, cells)

    def _begin(self, line: bytes) -> None:
        """Read the header."""
        try:
            text = line.decode().strip("\r\n ")
        except UnicodeDecodeError:
            raise HeaderMissing("The first line is not UTF-8. Save the file as UTF-8, then import it again.") from None
        if not text:
            return
        if (hint := _SEPARATOR_HINT.fullmatch(text)) and not self._delimiter:
            self._delimiter = hint[1]
            return
        candidates = [_split_header(text, each) for each in ([self._delimiter] if self._delimiter else _DELIMITERS)]
        delimiter, found = max(candidates, key=lambda each: sum(name in self._columns for name in self._named(each[1])))
        if len(found) < 2 and any(text.count(each) >= _MAX_COLUMNS for each, _ in candidates):
            raise HeaderMissing(f"The first line names more than {_MAX_COLUMNS:,} columns.")
        names = self._named(found)
        self._check_header(found, names)
        self._delimiter, self._width = delimiter, len(names)
        self._unnamed = [] if self._ignore_unknown else [index for index, name in enumerate(found) if not _column(name)]
        self._plan = [(index, name, self._reads(name)) for index, name in enumerate(names) if name in self._columns]
        self._has_own = any(name.startswith(OWN) for _, name, _ in self._plan)

    def _reads(self, name: str) -> Callable[[str], Any]:
        profile = self._columns.profile
        if profile is not None and name.startswith(OWN):
            return partial(_own, profile, name.removeprefix(OWN))
        return _CONVERT.get(name, str.strip)

    def _named(self, found: Sequence[str]) -> list[str]:
        return [
            self._renamed.get(name := _column(text), self._columns.find(_UNSEEN.sub("", text).strip(), name))
            for text in found
        ]

    def _check_header(self, found: Sequence[str], names: Sequence[str]) -> None:
        known = [name for name in names if name in self._columns]
        if not self._needed.intersection(known):
            asked = " or ".join(sorted(self._needed, reverse=True))
            raise HeaderMissing(
                f"The first line has to name the columns, {asked} among them. Known are: {self._columns.listed}."
            )
        if not self._renamed.keys() <= set(map(_column, found)):
            raise ColumnMissing("A mapping renames a column that the file does not have.")
        if len(set(known)) < len(known):
            twice = next(name for name in known if known.count(name) > 1)
            raise ColumnRepeated(f"The column {twice} is there twice.", field=twice)
        unknown = [name for name in names if name and name not in self._columns and name not in IGNORED]
        if unknown and not self._ignore_unknown:
            raise self._columns.unknown(unknown)


def _split_header(text: str, delimiter: str) -> tuple[str, list[str]]:
    fields = _Fields(delimiter, _MAX_COLUMNS - 1)
    try:
        if not fields.take(text, ""):
            return delimiter, []
    except RowRefused:
        return delimiter, []
    return delimiter, fields.values


def _column(name: str) -> str:
    """Write the name of a column as ours are written; what nobody sees in it is left out."""
    return re.sub(r"[\s-]+", "_", _UNSEEN.sub("", name).strip().lower())


# --- Writing -----------------------------------------------------------------------------------------


class CsvWriter:
    """Writes CSV: commas, CRLF, quotes where they are needed, formulas neutralised."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = columns
        self._texts = [index for index, name in enumerate(columns) if name in TEXTS or name.startswith(OWN)]

    def begin(self) -> str:
        """Give the header."""
        return ",".join(self._columns) + "\r\n"

    def write(self, rows: Sequence[Sequence[Any]]) -> str:
        """Give `rows`, absent values as empty cells."""
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\r\n").writerows(map(self._cells, rows))
        return text.getvalue()

    def _cells(self, row: Sequence[Any]) -> list[Any]:
        cells = [("true" if value else "false") if value is True or value is False else value for value in row]
        for index in self._texts:
            if isinstance(cells[index], str):
                cells[index] = neutralise(cells[index])
        return cells
