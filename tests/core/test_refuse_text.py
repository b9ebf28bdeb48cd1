"""Strings and numbers that cannot be stored never get past a schema."""

from __future__ import annotations

import json
from typing import Annotated, Any

import pytest
from annotated_types import MaxLen
from fastapi import FastAPI, Query
from httpx import ASGITransport, AsyncClient
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from denizen.core.text import MAX_INTEGER, Count, Integer, Line, Storable, Text, Word, is_storable

BAD: list[str | bytes] = [b"a\x00", "\x00", "a\x00b", "\ud800", "a\udfff", "\ud83d", "\ude00\ud83d"]
GOOD = ["", "a", "é", "e\u0301", "😀", "\u200f", "\ufffe", "日本", "\x01", "a" * 255]


class Thing(BaseModel):
    name: Line
    other: Annotated[str, MaxLen(5), Storable] | None = None
    own: Annotated[str, Field(max_length=3), Storable] = ""
    many: list[Text] = []


def codes(error: ValidationError) -> list[str]:
    return [each["type"] for each in error.errors()]


@pytest.mark.parametrize("text", BAD)
@pytest.mark.parametrize("kind", [Text, Line, Word, Annotated[Text, Field(max_length=1)], Text | None])
def test_half_characters_and_nul_are_refused_under_a_code_of_their_own(text: str | bytes, kind: Any) -> None:
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(kind).validate_python(text)

    assert codes(refused.value) == ["string_unacceptable"]


@pytest.mark.parametrize("text", GOOD)
def test_everything_else_passes_unchanged(text: str) -> None:
    assert TypeAdapter(Line).validate_python(text) == text
    assert TypeAdapter(Line).validate_json(json.dumps(text)) == text


@given(st.text(st.characters(), max_size=20))
def test_what_passes_can_be_written_as_utf_8_without_nul(text: str) -> None:
    if is_storable(text):
        assert b"\x00" not in text.encode("utf-8", "strict")
    else:
        assert "\x00" in text or any("\ud800" <= each <= "\udfff" for each in text)


def test_lengths_are_counted_in_code_points() -> None:
    assert Thing(name="😀" * 255).name == "😀" * 255
    with pytest.raises(ValidationError) as refused:
        Thing(name="a" * 256, other="a" * 6, own="abcd", many=["a" * 10_001])

    assert codes(refused.value) == ["string_too_long"] * 4


def test_parts_of_models_and_lists_are_checked_too() -> None:
    with pytest.raises(ValidationError) as refused:
        Thing.model_validate({"name": "\x00", "other": "\ud800", "own": "a\x00", "many": ["a", "\ud800"]})

    assert codes(refused.value) == ["string_unacceptable"] * 4
    assert [each["loc"] for each in refused.value.errors()][-1] == ("many", 1)


@pytest.mark.parametrize("value", [1, None, ["a"]])
def test_what_is_no_string_gets_the_ordinary_answer(value: object) -> None:
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(Line).validate_python(value)

    assert codes(refused.value) == ["string_type"]


def test_the_schema_shows_a_plain_string_with_its_limits() -> None:
    assert TypeAdapter(Word).json_schema() == {"type": "string", "minLength": 1, "maxLength": 64}


@pytest.mark.parametrize(
    ("kind", "value"), [(Count, -1), (Count, MAX_INTEGER + 1), (Integer, 2**63), (Integer, -(2**63))]
)
def test_numbers_are_bounded(kind: Any, value: int) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(value)


async def test_a_query_parameter_is_checked_as_a_body_is() -> None:
    app = FastAPI()

    @app.get("/")
    async def read(q: Annotated[Line, Query()], skip: Count = 0) -> str:
        return q

    async with AsyncClient(transport=ASGITransport(app), base_url="http://test") as client:
        good = await client.get("/", params={"q": "é"})
        nul = await client.get("/?q=a%00b")
        far = await client.get(f"/?q=a&skip={2**63}")

    assert good.json() == "é"
    assert nul.status_code == 422
    assert nul.json()["detail"][0]["type"] == "string_unacceptable"
    assert far.status_code == 422
