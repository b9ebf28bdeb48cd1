"""NDJSON, as strict as the API is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from denizen.core.errors import DenizenError
from denizen.transfer.adapters.ndjson import NdjsonReader, NdjsonWriter, dump_results
from denizen.transfer.errors import ColumnUnknown, EncodingUnsupported, FormatUnknown
from denizen.transfer.schemas import Row, RowResult

GOOD = b'{"email":"good@example.org"}\n'


def read(data: bytes, *, size: int = 1 << 18, ignore_unknown: bool = False) -> list[tuple[int, Any]]:
    """Give (line, values), or (line, code) for what is wrong."""
    reader = NdjsonReader(ignore_unknown=ignore_unknown)
    found: list[Row] = []
    for begin in range(0, len(data), size):
        found += reader.feed(data[begin : begin + size])
    found += reader.finish()
    return [(line, values.code if isinstance(values, DenizenError) else values) for line, values in found]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b'{"email":"a@exam', "json_malformed"),
        (b'{"version":NaN}', "json_malformed"),
        (b'{"version":-Infinity}', "json_malformed"),
        (b'{"version":1e999}', "json_malformed"),
        (b'{"version":9223372036854775808}', "json_malformed"),
        (b'{"version":' + b"9" * 5000 + b"}", "json_malformed"),
        (b'{"email":"a"}{"email":"b"}', "json_malformed"),
        (b"{'email':'a'}", "json_malformed"),
        (b'"a@example.org"', "json_malformed"),
        (b'["a@example.org"]', "json_malformed"),
        (b"null", "json_malformed"),
        (b"[" * 100_000, "json_malformed"),
        (b'{"email":' + b"[" * 65 + b"]" * 65 + b"}", "json_malformed"),
        (b'{"email":[' + b"1," * 10_000 + b"1]}", "json_malformed"),
        (b"{" + b",".join(b'"%d":1' % number for number in range(1001)) + b"}", "json_malformed"),
        (b'{"email":"a@example.org","email":"b@example.org"}', "member_repeated"),
        (b'{"email":"caf\xe9@example.org"}', "encoding_invalid"),
        (b'{"email":"a","phone":"1"}', "column_unknown"),
        (b'{"email":"' + b"x" * 10_000_000 + b'"}', "row_too_long"),
    ],
    ids=lambda value: value[:24].decode(errors="replace") if isinstance(value, bytes) else value,
)
def test_a_broken_row_is_told_and_the_others_are_read(line: bytes, code: str) -> None:
    good = {"email": "good@example.org"}

    assert read(GOOD + line + b"\n" + GOOD) == [(1, good), (2, code), (3, good)]


def test_blank_lines_bom_and_a_missing_line_end_do_no_harm() -> None:
    rows = read(b"\xef\xbb\xbf" + GOOD + b"\n  \r\n" + GOOD.rstrip(), size=5)

    assert [line for line, _ in rows] == [1, 4]


def test_an_empty_file_has_no_rows() -> None:
    assert read(b"") == []


def test_an_array_is_refused_with_what_to_do() -> None:
    with pytest.raises(FormatUnknown, match="jq"):
        read(b'[{"email":"a@example.org"}]')


def test_a_file_in_utf16_is_refused() -> None:
    with pytest.raises(EncodingUnsupported):
        read('{"email":"a@example.org"}'.encode("utf-16"))


def test_unknown_members_of_the_first_row_refuse_the_file() -> None:
    with pytest.raises(ColumnUnknown, match="phone"):
        read(b'{"email":"a@example.org","phone":"1"}\n')

    assert read(b'{"email":"a@example.org","tags":["x",{"y":1.5}]}\n', ignore_unknown=True) == [
        (1, {"email": "a@example.org"})
    ]


@given(names=st.lists(st.text(max_size=20), max_size=5), size=st.integers(1, 50))
def test_what_we_write_is_read_back(names: list[str], size: int) -> None:
    rows = [[name, True, index] for index, name in enumerate(names)]
    text = NdjsonWriter(("full_name", "is_active", "version")).write(rows)

    found = read(text.encode(errors="surrogatepass").replace(b"\xed", b"?"), size=size)

    assert len(found) == len(names)
    for name, (_, values) in zip(names, found, strict=True):
        if name.isascii():
            assert values["full_name"] == name


@given(data=st.binary(max_size=200), size=st.integers(1, 50))
def test_no_bytes_make_it_stumble(data: bytes, size: int) -> None:
    assert read(GOOD + data, size=size) == read(GOOD + data)


@given(value=st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists, max_leaves=5))
def test_any_json_value_is_read_or_refused(value: object) -> None:
    line = json.dumps({"email": value}, allow_nan=True).encode()

    ((_, found),) = read(line)

    assert found == "json_malformed" or found.keys() == {"email"}


def test_results_are_written_as_any_rows_are() -> None:
    results = [
        RowResult(2, "created", "019a5c1e-7f00-7a11-8b22-3c33d44e55f6"),
        RowResult(3, "refused", None, "email_taken", "email", 'Es ist "belegt", Zoë'),
        RowResult(4, "valid"),
        RowResult(5, "refused", None, "row_rejected", None, "No."),
    ]

    assert dump_results(results) == NdjsonWriter(RowResult._fields).write(results)
