"""Cursors: opaque, signed, and of one list."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from denizen.core.paging import CursorInvalid, CursorSigner

SIGNER = CursorSigner(lambda: b"a secret of thirty-two characters")
values = st.lists(st.text() | st.integers() | st.none(), max_size=3)


@given(st.text(), values)
def test_a_cursor_gives_back_what_it_was_made_of(listing: str, place: list[Any]) -> None:
    cursor = SIGNER.make(listing, place)

    assert SIGNER.read(listing, cursor) == place
    assert cursor.isascii()
    assert not set(cursor) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")


@given(st.text(), st.text(), values)
def test_a_cursor_is_of_one_list(listing: str, other: str, place: list[Any]) -> None:
    cursor = SIGNER.make(listing, place)

    if listing != other:
        with pytest.raises(CursorInvalid):
            SIGNER.read(other, cursor)


@given(values, st.data())
def test_an_altered_cursor_is_refused(place: list[Any], data: st.DataObject) -> None:
    cursor = SIGNER.make("list", place)
    raw = bytearray(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))

    with pytest.raises(CursorInvalid):
        SIGNER.read("list", base64.urlsafe_b64encode(raw).rstrip(b"=").decode())


@given(st.text() | st.binary().map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_what_was_not_made_here_is_refused(cursor: str) -> None:
    with pytest.raises(CursorInvalid):
        SIGNER.read("list", cursor)


def test_a_cursor_of_another_secret_is_refused() -> None:
    cursor = CursorSigner(lambda: b"another secret of this many letters").make("list", [1])

    with pytest.raises(CursorInvalid):
        SIGNER.read("list", cursor)
