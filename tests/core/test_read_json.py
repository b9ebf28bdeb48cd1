"""One strict reader of JSON for requests and files: what it refuses, and where it says so."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from denizen.core.bodies import parse_json
from denizen.core.errors import Malformed
from denizen.core.json import MAX_DEPTH, MAX_ITEMS, MAX_MEMBERS, Flaw, JsonRefused, read_json
from denizen.transfer.adapters.ndjson import NdjsonReader
from denizen.transfer.errors import RowRefused


def members(count: int) -> bytes:
    return json.dumps({str(number): number for number in range(count)}).encode()


def items(count: int) -> bytes:
    return json.dumps([1] * count).encode()


FLAWED: list[tuple[bytes, Flaw]] = [
    (b'"\xe9"', Flaw.ENCODING),
    ("{}".encode("utf-16"), Flaw.ENCODING),
    (b"{'a': 1}", Flaw.SYNTAX),
    (b"[NaN]", Flaw.CONSTANT),
    (b"-Infinity", Flaw.CONSTANT),
    (b"9223372036854775808", Flaw.INTEGER),
    (b"9" * 5000, Flaw.INTEGER),
    (b"-1e999", Flaw.NUMBER),
    (b"0." + b"1" * 1000, Flaw.NUMBER),
    (b'{"a": {"b": 1, "\\u0062": 2}}', Flaw.KEY_TWICE),
    (b"[" * (MAX_DEPTH + 2) + b"]" * (MAX_DEPTH + 2), Flaw.DEPTH),
    (b"[" * 100_000, Flaw.DEPTH),
    (members(MAX_MEMBERS + 1), Flaw.MEMBERS),
    (items(MAX_ITEMS + 1), Flaw.ITEMS),
]


@pytest.mark.parametrize(("document", "flaw"), FLAWED, ids=[flaw.name for _, flaw in FLAWED])
def test_a_flaw_is_told(document: bytes, flaw: Flaw) -> None:
    with pytest.raises(JsonRefused) as refused:
        read_json(document)

    assert refused.value.flaw is flaw
    assert refused.value.__suppress_context__ or refused.value.__context__ is None  # which would quote the document


@pytest.mark.parametrize(("document", "flaw"), FLAWED, ids=[flaw.name for _, flaw in FLAWED])
def test_requests_and_rows_have_a_sentence_for_every_flaw(document: bytes, flaw: Flaw) -> None:
    reader = NdjsonReader()

    with pytest.raises(Malformed) as refused:
        parse_json(document)
    (row,) = [*reader.feed(b'{"email": null, "id":' + document + b"}"), *reader.finish()]

    assert isinstance(row.values, RowRefused)
    for sentence in (refused.value.detail, row.values.detail):
        assert sentence.endswith(".")
        assert "{" not in sentence


def test_no_flaw_goes_untested() -> None:
    assert {flaw for _, flaw in FLAWED} == set(Flaw)


@pytest.mark.parametrize("document", [members(MAX_MEMBERS), items(MAX_ITEMS), b"-9223372036854775808"])
def test_what_just_fits_is_read(document: bytes) -> None:
    assert read_json(document) == json.loads(document)


def test_the_place_of_broken_syntax_is_told() -> None:
    with pytest.raises(JsonRefused) as refused:
        read_json(b'{\n  "a": 1,\n  b: 2}')

    assert (refused.value.flaw, refused.value.line, refused.value.column) == (Flaw.SYNTAX, 3, 3)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_read_or_refused(document: bytes) -> None:
    with suppress(JsonRefused):
        read_json(document)


@pytest.mark.slow
@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**63 - 1)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda below: st.lists(below) | st.dictionaries(st.text(), below),
        max_leaves=20,
    )
)
def test_what_json_can_say_comes_through(value: Any) -> None:
    assert read_json(json.dumps(value).encode()) == value
