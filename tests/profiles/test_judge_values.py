"""What is stored can be shown, exported and imported again; what cannot work is refused at the start."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from fastapi import FastAPI
from httpx import AsyncClient
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, field_validator

from denizen.core.json import read_json
from denizen.core.profile_sources import profile_of_model, profile_of_schema
from denizen.core.profiles import Profile, ProfileInvalid
from tests.conftest import MakeKey

READ_ONLY: dict[str, Any] = {"readOnly": True}


class Measured(BaseModel):
    """What takes more than JSON has."""

    height: float = 0.0
    count: int = 0
    note: str = ""
    places: dict[str, int] = {}
    anything: Any = None

    @field_validator("note")
    @classmethod
    def _end(cls, value: str) -> str:
        return value + "\x00" if value == "end" else value


MEASURED = profile_of_model(Measured)


def schema(properties: dict[str, Any], **others: Any) -> Profile:
    return profile_of_schema({"type": "object", "properties": properties, **others})


def refused(profile: Profile, given: dict[str, Any], *, stored: Any = None, by_owner: bool = True) -> list[str]:
    with pytest.raises(ProfileInvalid) as caught:
        profile.change(stored or {}, given, by_owner=by_owner)
    return [f"{each.field} {each.code}" for each in caught.value.errors]


@pytest.mark.parametrize("height", ["NaN", "inf", "-Infinity", "1e400", 1e300, -1e19, 5e-324])
def test_a_number_that_cannot_be_written_is_refused(height: object) -> None:
    assert refused(MEASURED, {"height": height}) == ["profile.height number_unacceptable"]
    if isinstance(height, float):  # others are no JSON, where there is no field that reads text
        assert refused(MEASURED, {"anything": [{"deep": height}]}) == ["profile.anything number_unacceptable"]
    with pytest.raises(ProfileInvalid):
        MEASURED.read_wanted("height", str(height))


def test_what_validators_make_of_values_is_judged_too() -> None:
    assert refused(MEASURED, {"count": "9" * 30, "note": "end"}) == [
        "profile.count number_unacceptable",
        "profile.note string_unacceptable",
    ]
    assert refused(MEASURED, {"note": "x" * 17_000}) == ["profile too_large"]
    assert MEASURED.change({}, {"height": -0.1, "count": -(2**63)}, by_owner=True)["count"] == -(2**63)


@pytest.mark.parametrize("height", [0.1, 1e-30, 1.2345678901234567e-30, 9.2e18, -1234.5678])
def test_a_number_that_is_taken_comes_back_and_is_read_again(height: float) -> None:
    stored = MEASURED.change({}, {"height": height}, by_owner=True)["height"]

    written = format(stored, ".50f").rstrip("0").rstrip(".")  # as PostgreSQL writes it, without exponent
    assert read_json(written.encode()) == height


async def test_nobody_breaks_lists_and_exports(app: FastAPI, client: AsyncClient, make_key: MakeKey) -> None:
    ada = {"username": "ada", "email": "ada@example.org", "password": "correct horse battery"}
    for height in ("NaN", 1e300):
        answer = await client.post("/users/", json={**ada, "profile": {"department": "sales", "height": height}})
        assert (answer.status_code, answer.json()["code"]) == (422, "profile_invalid")
    profile = {"department": "sales", "height": 1.5e-30}
    assert (await client.post("/users/", json={**ada, "profile": profile})).status_code == 201

    exported = await client.get("/users/export", headers=await make_key(), params={"format": "ndjson"})
    assert read_json(exported.content.splitlines()[0])["profile"]["height"] == 1.5e-30


def test_much_is_refused_before_it_is_judged() -> None:
    judged = []

    class Slow(BaseModel):
        items: list[Any] = []

        @field_validator("items")
        @classmethod
        def _judge(cls, value: list[Any]) -> list[Any]:
            judged.append(len(value))
            return value

    assert refused(profile_of_model(Slow), {"items": [{"a": n} for n in range(9_000)]}) == ["profile too_large"]
    assert not judged


def test_unique_items_are_those_that_json_schema_calls_so_and_errors_are_few() -> None:
    tags = schema({"tags": {"type": "array", "uniqueItems": True}, "n": {"type": "array", "items": {"type": "string"}}})
    kept = [1, True, 0, False, "1", [1], [True], {"a": 1, "b": 2}, None]

    assert tags.change({}, {"tags": kept}, by_owner=True)["tags"] == kept
    for twice in ([1, 1.0], [[1], [1.0]], [{"a": 1, "b": 2}, {"b": 2.0, "a": 1}]):
        assert refused(tags, {"tags": twice}) == ["profile.tags uniqueItems"]
    assert len(refused(tags, {"n": [1] * 5_000})) == 100


def test_what_is_read_only_is_so_behind_references_and_to_the_letter() -> None:
    profile = schema(
        {
            "by_ref": {"$ref": "#/$defs/c"},
            "all_of": {"allOf": [{"$ref": "#/$defs/c"}]},
            "any_of": {"anyOf": [{"$ref": "#/$defs/c"}, {"type": "null"}]},
            "list": {"type": "array", **READ_ONLY},
            "default": {"$ref": "#/$defs/c"},
        },
        **{"$defs": {"c": {"type": "number", **READ_ONLY}}},
    )

    assert all(field.read_only for field in profile.fields.values())
    assert refused(profile, {"list": [True]}, stored={"list": [1]}) == ["profile.list read_only"]
    # What a browser sends back of 5.0.
    assert profile.change({"by_ref": 5.0}, {"by_ref": 5}, by_owner=True) == {"by_ref": 5}


@pytest.mark.parametrize("inside", ["properties", "items", "default"])
def test_read_only_inside_a_field_is_refused_at_the_start(inside: str) -> None:
    part = {"type": "integer", **READ_ONLY}
    field: dict[str, Any] = {"items": part} if inside == "items" else {"properties": {inside: part}}

    with pytest.raises(ValueError, match="readOnly inside a field"):
        schema({"a": field})


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"populate_by_name": True, "extra": "allow"}, Field(None, alias="level", json_schema_extra=READ_ONLY)),
        ({"validate_by_name": True}, Field(None, alias="level", json_schema_extra=READ_ONLY)),
        ({"extra": "allow"}, Field(None, validation_alias=AliasChoices("clearance", "level"))),
    ],
)
def test_a_field_with_several_names_is_refused_at_the_start(config: ConfigDict, field: Any) -> None:
    class Several(BaseModel):
        model_config = config
        clearance: int | None = field

    with pytest.raises(ValueError, match=r"several names|other names"):
        profile_of_model(Several)


def test_what_is_stored_and_read_only_and_does_not_fit_any_more_locks_nobody_out() -> None:
    class Staff(BaseModel):
        clearance: Annotated[int | None, Field(json_schema_extra=READ_ONLY)] = None
        badge: int = 0

    by_schema = schema({"clearance": {"type": "integer", **READ_ONLY}, "badge": {"type": "integer"}})
    stored = {"clearance": "high", "badge": 1}

    assert profile_of_model(Staff).change(stored, {"badge": 2}, by_owner=True) == {"clearance": None, "badge": 2}
    assert by_schema.change(stored, {"badge": 2}, by_owner=True) == {"badge": 2}
    assert refused(by_schema, {"badge": "x"}, stored=stored) == ["profile.badge type"]
    # Whoever may set it is told.
    assert refused(by_schema, {"badge": 2}, stored=stored, by_owner=False) == ["profile.clearance type"]


@pytest.mark.parametrize(
    ("field", "sentence"),
    [
        ({"$ref": "#nope"}, "its own `.defs` alone"),
        ({"$ref": "#/$defs/nope"}, "which it does not have"),
        ({"$ref": "#/title"}, "which it does not have"),
        ({"$dynamicRef": "#/$defs/n"}, "dynamicRef"),
        ({"$id": "https://example.org/n", "type": "integer"}, "id inside"),
        ({"$ref": "#/$defs/n"}, "without end"),
        ({"type": "array", "items": {"$ref": "#/$defs/m"}}, "without end"),
        ({"type": "integer", "default": "x"}, "default that its own schema refuses"),
    ],
)
def test_a_schema_that_would_fail_when_it_is_used_is_refused_at_the_start(field: Any, sentence: str) -> None:
    circle = {"n": {"$ref": "#/$defs/n"}, "m": {"anyOf": [{"$ref": "#/$defs/o"}]}, "o": {"$ref": "#/$defs/m"}}

    with pytest.raises(ValueError, match=sentence):
        schema({"a": field}, title="T", **({"$defs": circle} if sentence == "without end" else {}))


def test_references_that_work_are_taken() -> None:
    tree = {"type": "object", "properties": {"below": {"type": "array", "items": {"$ref": "#/$defs/a%20tree"}}}}
    for word in ("$defs", "definitions"):
        here = {"a": {"$ref": f"#/{word}/n"}, "b": {"$ref": "#/properties/a", "type": "integer"}}
        profile = schema(here, **{word: {"n": {"type": "integer"}}})
        assert profile.change({}, {"a": 1, "b": 2}, by_owner=True) == {"a": 1, "b": 2}
        assert profile.read_wanted("b", "7") == 7
    assert schema({"t": {"$ref": "#/$defs/a%20tree"}}, **{"$defs": {"a tree": tree}}).fields["t"].kinds


def test_whole_numbers_are_integers_to_filters_but_not_where_text_may_be() -> None:
    assert repr(MEASURED.read_wanted("count", "5.0")) == "5"
    assert schema({"a": {"type": ["string", "integer"]}}).read_wanted("a", "5.0") == "5.0"


def test_errors_repeat_the_names_of_the_schema_alone() -> None:
    by_schema = schema(
        {"places": {"additionalProperties": {"type": "object", "properties": {"at": {"type": "integer"}}}}}
    )

    for key in ("topsecret", "4915123"):
        assert refused(MEASURED, {"places": {key: "x"}}) == ["profile.places int_parsing"]
        assert refused(by_schema, {"places": {key: {"at": "x"}}}) == ["profile.places type"]
