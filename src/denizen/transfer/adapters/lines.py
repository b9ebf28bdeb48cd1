"""Bytes in pieces of any size, as lines: with memory for one line, however long the file or one of its lines is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from denizen.transfer.errors import EncodingUnsupported

MAX_LINE_BYTES: Final = 1024 * 1024
"""No row that could be imported is a twentieth of it."""

NOT_UTF8: Final = "This row is not UTF-8. Save the file as UTF-8, or mend the row."
"""What is said of a row, in whichever form it was written."""

_BOM: Final = b"\xef\xbb\xbf"
_WIDE_BOMS: Final = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")
_UNDECIDED_BYTES: Final = 64 * 1024

Line = tuple[int, bytes | None]
"""Its number, from 1, and its bytes without the line feed; `None` for one that is longer than `MAX_LINE_BYTES`."""


class Lines:
    """Splits at line feeds, which UTF-8 never uses otherwise; at carriage returns where a file has nothing else.

    Attributes:
        end: what ends a line.
    """

    def __init__(self) -> None:
        self.end = b""
        self._number = 0
        self._rest = b""
        self._begun = False
        self._skipping = False

    def feed(self, data: bytes) -> Iterator[Line]:
        """Take the next piece; give the lines that end in it.

        Raises:
            EncodingUnsupported: the file begins as UTF-16 or UTF-32 does.
        """
        if self._skipping:
            _, found, data = data.partition(self.end or b"\n")
            if not found:
                return
            self._skipping = False
        data = self._rest + data
        if not self._begun:
            if len(data) < 4:
                self._rest = data
                return
            data = self._begin(data)
        if not self.end and not self._decide(data):
            self._rest = data
            return
        *lines, self._rest = data.split(self.end)
        for line in lines:
            self._number += 1
            yield self._number, line if len(line) <= MAX_LINE_BYTES else None
        if len(self._rest) > MAX_LINE_BYTES:
            self._skipping, self._rest = True, b""
            self._number += 1
            yield self._number, None

    def finish(self) -> Iterator[Line]:
        """Give the last line, which nothing ended."""
        data, self._rest = self._rest, b""
        if not self._begun:
            data = self._begin(data)
        if not self.end:
            self.end = b"\r" if b"\r" in data.rstrip(b"\r\n") else b"\n"
            *lines, data = data.split(self.end)
            for line in lines:
                self._number += 1
                yield self._number, line
        if data:
            yield self._number + 1, data

    def _begin(self, data: bytes) -> bytes:
        self._begun = True
        if data.startswith(_WIDE_BOMS) or b"\x00" in data[:4]:
            raise EncodingUnsupported("The file is in UTF-16 or UTF-32. Save it as UTF-8, then import it again.")
        return data.removeprefix(_BOM)

    def _decide(self, data: bytes) -> bool:
        """Find out what ends a line, once there is enough to tell; by that much alone, in whichever pieces it came."""
        beginning = data[:_UNDECIDED_BYTES]
        if b"\n" in beginning:
            self.end = b"\n"
        elif len(beginning) == _UNDECIDED_BYTES:
            self.end = b"\r" if b"\r" in beginning[:-1] else b"\n"  # one at the end may be half of a CRLF
        return bool(self.end)
