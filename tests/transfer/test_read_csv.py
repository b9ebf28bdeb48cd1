"""CSV as it is found in life: read row by row, with what is wrong told about the row it is wrong with."""

from __future__ import annotations

import csv
import io
import time
import tracemalloc
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from denizen.core.errors import DenizenError
from denizen.transfer.adapters.csv import CsvReader, CsvWriter, neutralise, restore
from denizen.transfer.errors import ColumnRepeated, ColumnUnknown, EncodingUnsupported, HeaderMissing
from denizen.transfer.schemas import EXPORTED, IGNORED, Row

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=30)


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[begin : begin + size] for begin in range(0, len(data), size))


def read(data: bytes | str, *, size: int = 1 << 18, ignore_unknown: bool = False) -> list[tuple[int, Any]]:
    """Give (line, values), or (line, code) for what is wrong."""
    reader = CsvReader(ignore_unknown=ignore_unknown)
    found: list[Row] = []
    for piece in pieces(data if isinstance(data, bytes) else data.encode(), size):
        found += reader.feed(piece)
    found += reader.finish()
    return [(line, values.code if isinstance(values, DenizenError) else values) for line, values in found]


# -- forms ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("last", ["", "end"])
def test_every_delimiter_line_end_and_bom_is_found_out(delimiter: str, end: str, bom: bytes, last: str) -> None:
    lines = [["email", "full_name"], ["ada@example.org", "Ada, Countess; of\tLovelace"], ["é@example.org", "É"]]
    body = end.join(delimiter.join(f'"{cell}"' for cell in line) for line in lines) + (end if last else "")

    rows = read(bom + body.encode(), size=7)

    assert rows == [
        (2, {"email": "ada@example.org", "full_name": "Ada, Countess; of\tLovelace"}),
        (3, {"email": "é@example.org", "full_name": "É"}),
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("first", [65_533, 65_534, 65_535, 65_536, 65_537])
def test_what_ends_a_line_does_not_depend_on_the_pieces(end: str, first: int) -> None:
    """Also where a first line is as long as what is looked at, and where something else ends a line further on."""
    head = "username,".ljust(first - 1, " ") + "x"
    data = f"{head}{end}ada,{end}bob,{end}".encode() + b"carl,\rdora,\n" * 3

    at_once, in_bits = read(data, size=1 << 18, ignore_unknown=True), read(data, size=1_000, ignore_unknown=True)

    assert at_once == in_bits
    short = f"username,{end}".encode() + (f"u{'x' * 30},{end}".encode() * 5_000) + b"ada,\n"
    assert read(short, size=1 << 20) == read(short, size=777)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_header_has_at_most_a_thousand_columns(delimiter: str) -> None:
    most = delimiter.join(["username", *(f"c{n}" for n in range(999))])

    assert read(f"{most}\nada{delimiter * 999}\n", ignore_unknown=True) == [(2, {"username": "ada"})]
    for header in (f"{most}{delimiter}one_more", f"username{delimiter * 900_000}"):
        with pytest.raises(HeaderMissing):
            read(f"{header}\nada\n", ignore_unknown=True)


def test_a_hint_for_excel_names_the_delimiter() -> None:
    assert read("sep=|\r\nemail|full_name\r\na@example.org|Ada\r\n") == [
        (3, {"email": "a@example.org", "full_name": "Ada"})
    ]


def test_names_of_columns_may_be_written_as_people_write_them() -> None:
    assert read(' Email ,"Full Name",IS-ACTIVE\na@example.org,Ada,YES\n') == [
        (2, {"email": "a@example.org", "full_name": "Ada", "is_active": True})
    ]


def test_empty_cells_are_absent_and_empty_lines_are_none() -> None:
    assert read('\n\nemail,username\na@example.org,\n\n,\n"",""\n   ,b\n') == [
        (4, {"email": "a@example.org"}),
        (8, {"email": None, "username": "b"}),
    ]


def test_values_that_a_spreadsheet_would_run_come_back_as_they_were() -> None:
    rows = read(
        "email,full_name\n'+tag@example.org,'=1+1\na@example.org,'plain'\nb@example.org,''@x\nc@example.org,'\n"
    )

    assert [values["full_name"] for _, values in rows] == ["=1+1", "'plain'", "'@x", ""]
    assert rows[0][1]["email"] == "+tag@example.org"


def test_lines_are_those_of_the_file_where_values_go_on_over_several() -> None:
    data = 'email,full_name\r\na@example.org,"one\r\ntwo\r\n\r\nthree"\r\nb@example.org,"x"\r\n'

    assert read(data, size=3) == [
        (2, {"email": "a@example.org", "full_name": "one\r\ntwo\r\n\r\nthree"}),
        (6, {"email": "b@example.org", "full_name": "x"}),
    ]


# -- what is wrong with a file ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [b"", b"\n\n", b"a@example.org,Ada\n", b"\xff\xfename", b'"email\n', b"x" * 2_000_000, b"full_name\nAda\n"],
    ids=["empty", "blank", "no header", "Latin-1", "unclosed", "2 MB", "nobody to be"],
)
def test_a_file_without_a_header_is_refused(data: bytes) -> None:
    with pytest.raises((HeaderMissing, EncodingUnsupported)):
        read(data)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_file_in_another_unicode_is_refused_as_a_whole(encoding: str) -> None:
    with pytest.raises(EncodingUnsupported):
        read("email\na@example.org\n".encode(encoding))


def test_a_header_alone_has_no_rows() -> None:
    assert read("email,username\n") == []
    assert read("email") == []


def test_unknown_columns_are_told_once_and_refuse_the_file() -> None:
    with pytest.raises(ColumnUnknown, match="phone, fax") as refusal:
        read("email,phone,fax\na@example.org,1,2\n")

    assert refusal.value.field == "phone"
    assert read("email,phone,fax\na@example.org,1,2\n", ignore_unknown=True) == [(2, {"email": "a@example.org"})]


def test_fifty_thousand_columns_are_refused_in_a_sentence() -> None:
    def header(count: int) -> str:
        return ",".join(["email", *(f"column{number}" for number in range(count))]) + "\n"

    with pytest.raises(HeaderMissing, match=r"more than 1,000 columns\."):
        read(header(50_000))
    with pytest.raises(ColumnUnknown) as refusal:
        read(header(999))

    assert "994 more" in refusal.value.detail
    assert len(refusal.value.detail) < 500


def test_names_that_are_none_are_not_repeated() -> None:
    with pytest.raises(ColumnUnknown) as refusal:
        read("email,<script>alert(1)</script>\n")

    assert "script" not in refusal.value.detail


def test_a_column_twice_refuses_the_file() -> None:
    with pytest.raises(ColumnRepeated):
        read("email,Email\na@example.org,b@example.org\n")


# -- what is wrong with a row -----------------------------------------------------------------------------------------

GOOD = "good@example.org,Good"


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"caf\xe9@example.org,x", "encoding_invalid"),
        (b'"caf\xe9@example.org",x', "encoding_invalid"),
        (b"torn@example.org", "columns_missing"),
        (b"a@example.org,x,y", "columns_surplus"),
        (b"a@example.org" + b"," * 50_000 + b"x", "columns_surplus"),
        (b'"a@example.org,x', "quote_misplaced"),
        (b'"a@example.org"x,y', "quote_misplaced"),
        (b"a@example.org," + b"x" * 10_000_000, "row_too_long"),
        (b'a@example.org,"' + b"x" * 10_000_000 + b'"', "row_too_long"),
    ],
    ids=["Latin-1", "quoted Latin-1", "torn", "surplus", "50,000", "unclosed", "misplaced", "10 MB", "quoted 10 MB"],
)
def test_a_broken_row_is_told_and_the_others_are_read(line: bytes, code: str) -> None:
    # The row behind it has a quote at its very beginning, where an unclosed one would end.
    data = b"email,full_name\n" + GOOD.encode() + b"\n" + line + b'\n"good@example.org",Good\n' + GOOD.encode() + b"\n"

    rows = read(data, size=100_000)

    good = {"email": "good@example.org", "full_name": "Good"}
    assert rows == [(2, good), (3, code), (4, good), (5, good)]


def test_a_quote_that_is_never_closed_costs_one_row() -> None:
    data = 'email,full_name\n"open@example.org,x\n' + "".join(f"p{number}@example.org,P\n" for number in range(100))

    rows = read(data)

    assert rows[0] == (2, "quote_unclosed")
    assert [line for line, _ in rows[1:]] == list(range(3, 103))
    assert all(isinstance(values, dict) for _, values in rows[1:])


def test_a_torn_last_line_is_told() -> None:
    assert read("email,full_name\na@example.org,A\nb@exam")[1] == (3, "columns_missing")
    assert read('email,full_name\na@example.org,A\nb@example.org,"B')[1] == (3, "quote_unclosed")


def test_surplus_cells_that_are_empty_do_no_harm() -> None:
    assert read("email,full_name,\na@example.org,A,,,\n") == [(2, {"email": "a@example.org", "full_name": "A"})]
    assert read("email,full_name,\na@example.org,A,b\n") == [(2, "columns_surplus")]


@pytest.mark.parametrize("cell", ["maybe", "2", "null"])
def test_what_is_neither_true_nor_false_is_refused(cell: str) -> None:
    assert read(f"email,is_active\na@example.org,{cell}\n") == [(2, "boolean_invalid")]


@pytest.mark.parametrize("cell", ["one", "1.0", "-1", "99999999999", "١"])
def test_a_version_is_a_whole_number(cell: str) -> None:
    assert read(f"email,version\na@example.org,{cell}\n") == [(2, "version_invalid")]


# -- any file ---------------------------------------------------------------------------------------------------------


@given(rows=st.lists(st.tuples(TEXT, TEXT, TEXT), max_size=5), size=st.integers(1, 60), quoting=st.sampled_from([0, 1]))
def test_what_pythons_writer_writes_is_read(rows: Sequence[tuple[str, ...]], size: int, quoting: int) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=quoting, lineterminator="\r\n")  # type: ignore[arg-type]  # 0 and 1 are two of them
    writer.writerow(["external_id", "full_name", "email"])
    writer.writerows((f"x{first}", second, f"x{third}") for first, second, third in rows)

    found = read(text.getvalue(), size=size)

    for (first, second, third), (_, values) in zip(rows, found, strict=True):
        assert values["external_id"] == f"x{first}"
        assert values.get("full_name", "") == restore(second)
        assert values["email"] == f"x{third}".strip()


@given(names=st.lists(TEXT | st.none(), min_size=1, max_size=5))
def test_what_we_write_is_read_back(names: list[str | None]) -> None:
    values = {"id": "i", "username": "+u", "email": "-e", "external_id": "x", "is_active": True}
    rest = {"email_verified_at": "v", "created_at": "c", "updated_at": "u", "version": 7}
    ignored = dict.fromkeys(IGNORED, "s")  # what comes out and is left out on the way in
    writer = CsvWriter(EXPORTED)
    rows = [[{**values, **rest, **ignored, "full_name": name}[column] for column in EXPORTED] for name in names]

    found = read(writer.begin() + writer.write(rows))

    shown = [{**values, **rest, **({} if name is None else {"full_name": name})} for name in names]
    assert [row for _, row in found] == shown


@given(text=TEXT)
def test_neutralised_text_starts_no_formula_and_comes_back(text: str) -> None:
    safe = neutralise(text)

    assert not safe.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert safe
    assert restore(safe) == text


@given(data=st.binary(max_size=300), size=st.integers(1, 50))
def test_no_bytes_make_it_stumble(data: bytes, size: int) -> None:
    whole = read(b"email,full_name\n" + data)

    assert read(b"email,full_name\n" + data, size=size) == whole
    assert [line for line, _ in whole] == sorted({line for line, _ in whole})


@given(st.lists(st.sampled_from([b'"', b",", b"\n", b"\r", b"a", b'""', b"\xff"]), max_size=60), st.integers(1, 20))
def test_no_quotes_and_line_ends_make_it_stumble(parts: list[bytes], size: int) -> None:
    data = b"email,full_name\n" + b"".join(parts)

    assert read(data, size=size) == read(data)


@pytest.mark.slow
@pytest.mark.parametrize(
    "line",
    [b'x","y\n', b'"""x\n', b'""x\n', b'"\n', b'","\n', b'a,"b\n', b'"a\n,\n'],
)
def test_files_made_to_be_slow_are_not(line: bytes) -> None:
    data = b"email,full_name\n" + b'"open,x\n' + line * (60_000 // len(line))
    began = time.process_time()

    read(data)

    assert time.process_time() - began < 10


@pytest.mark.slow
def test_memory_does_not_grow_with_a_line_or_an_open_quote() -> None:
    reader = CsvReader()
    list(reader.feed(b"email,full_name\n"))
    tracemalloc.start()
    for beginning, filling in ((b'"', b"x"), (b'"', b"\n"), (b"\n", b"x")):
        list(reader.feed(beginning))
        for _ in range(100 if filling == b"x" else 5):
            for _ in reader.feed(filling * 65_536):
                pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 16_000_000
