"""Which adapter a file takes: as told, by its name, or by what it begins with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Final

from denizen.transfer.adapters.csv import CsvReader, CsvWriter
from denizen.transfer.adapters.ndjson import NdjsonReader, NdjsonWriter
from denizen.transfer.schemas import NO_OWN, Columns, Format, ImportOptions, RowReader, RowWriter

_BY_SUFFIX: Final[dict[str, Format]] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
}


def format_of(name: str) -> Format | None:
    """Give the form that a file's name says, if it says one."""
    return _BY_SUFFIX.get(PurePath(name).suffix.lower())


def sniff(beginning: bytes) -> Format:
    """Guess the form from the first bytes: JSON begins with a bracket, and the name of a column does not."""
    return "ndjson" if beginning.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"[") else "csv"


def make_reader(
    form: Format,
    *,
    ignore_unknown: bool = False,
    renamed: Mapping[str, str] | None = None,
    needed: frozenset[str] = ImportOptions().needed,
    columns: Columns = NO_OWN,
) -> RowReader:
    """Make a reader of `form`.

    Args:
        form: which.
        ignore_unknown: leave out columns that accounts do not have.
        renamed: names in the file, with ours in their place; an empty one leaves the column out.
        needed: the columns of which a CSV file has to have one.
        columns: that accounts have.
    """
    if form == "csv":
        return CsvReader(ignore_unknown=ignore_unknown, renamed=renamed, needed=needed, columns=columns)
    return NdjsonReader(ignore_unknown=ignore_unknown, renamed=renamed, columns=columns)


def make_writer(form: Format, columns: Sequence[str]) -> RowWriter:
    """Make a writer of rows with `columns`."""
    return (CsvWriter if form == "csv" else NdjsonWriter)(columns)
