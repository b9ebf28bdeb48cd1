"""What would get around a profile: numbers that no database takes, other names, references, long work."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, field_validator

from denizen.core.profile_sources import profile_of_model, profile_of_schema
from denizen.core.profiles import Profile, ProfileInvalid

READ_ONLY = Field(json_schema_extra={"readOnly": True})


class Scored(BaseModel):
    score: float = 0
    count: int = 0
    nick: str = ""

    @field_validator("nick")
    @classmethod
    def spoil(cls, nick: str) -> str:
        return nick.replace("nul", "\0")


def refused(profile: Profile, given: dict[str, Any], *, stored: dict[str, Any] | None = None) -> list[str]:
    with pytest.raises(ProfileInvalid) as caught:
        profile.change(stored or {}, given, by_owner=True)
    return [error.code for error in caught.value.errors]


@pytest.mark.parametrize("score", ["NaN", "inf", "-Infinity", "1e400", 1e300, 5e-324, 2**70])
def test_numbers_that_cannot_be_written_everywhere_are_refused(score: Any) -> None:
    assert refused(profile_of_model(Scored), {"score": score}) == ["number_unacceptable"]


def test_whole_numbers_have_64_bits_and_validators_make_no_text_that_cannot_be_stored() -> None:
    profile = profile_of_model(Scored)

    assert refused(profile, {"count": "9" * 30}) == ["number_unacceptable"]
    assert refused(profile, {"nick": "nul"}) == ["string_unacceptable"]
    assert profile.change({}, {"score": 1e-30, "count": 2**63 - 1}, by_owner=True)["count"] == 2**63 - 1


def test_much_is_refused_before_it_is_judged_and_items_are_compared_in_one_walk() -> None:
    profile = profile_of_schema({"properties": {"tags": {"type": "array", "uniqueItems": True}}})
    many = [{"a": number} for number in range(1_500)]

    assert refused(profile, {"tags": [{"a": number} for number in range(9_000)]}) == ["too_large"]
    assert refused(profile, {"tags": [*many, {"a": 0}]}) == ["uniqueItems"]
    assert profile.change({}, {"tags": many}, by_owner=True) == {"tags": many}


class ByName(BaseModel):
    model_config = ConfigDict(extra="allow", populate_by_name=True)
    clearance: Annotated[int, READ_ONLY] = Field(0, alias="clearanceLevel")


class ByChoice(BaseModel):
    clearance: int = Field(0, validation_alias=AliasChoices("level", "clearance"), serialization_alias="level")


@pytest.mark.parametrize("model", [ByName, ByChoice])
def test_a_field_has_one_name(model: type[BaseModel]) -> None:
    with pytest.raises(ValueError, match="names"):
        profile_of_model(model)


class Grade(BaseModel):
    model_config = ConfigDict(json_schema_extra={"readOnly": True})
    number: int = 0


class Graded(BaseModel):
    grade: Grade = Grade()


@pytest.mark.parametrize(
    "profile",
    [
        profile_of_model(Graded),
        profile_of_schema({"properties": {"grade": {"$ref": "#/$defs/g"}}, "$defs": {"g": {"readOnly": True}}}),
        profile_of_schema({"properties": {"grade": {"allOf": [{"type": "object"}, {"readOnly": True}]}}}),
    ],
    ids=["model", "reference", "all of"],
)
def test_read_only_is_found_behind_references(profile: Profile) -> None:
    assert refused(profile, {"grade": {"number": 9}}) == ["read_only"]


def test_read_only_inside_of_a_field_is_refused_at_the_start() -> None:
    inside = {"type": "object", "properties": {"pay": {"type": "integer", "readOnly": True}}}

    with pytest.raises(ValueError, match="whole fields"):
        profile_of_schema({"properties": {"job": inside}})


def test_what_is_read_only_is_sent_back_to_the_letter_or_not_at_all() -> None:
    profile = profile_of_schema({"properties": {"flags": {"type": "array", "readOnly": True}}})

    assert profile.change({"flags": [1]}, {"flags": [1]}, by_owner=True) == {"flags": [1]}
    assert refused(profile, {"flags": [True]}, stored={"flags": [1]}) == ["read_only"]


class Retyped(BaseModel):
    clearance: Annotated[int, READ_ONLY] = 0
    nick: str = ""


def test_an_owner_writes_although_what_he_may_not_set_does_not_fit_any_more() -> None:
    profile = profile_of_model(Retyped)

    assert profile.change({"clearance": "high"}, {"nick": "ada"}, by_owner=True) == {"clearance": 0, "nick": "ada"}
    with pytest.raises(ProfileInvalid):  # whoever may set it is told
        profile.change({"clearance": "high"}, {"nick": "ada"}, by_owner=False)


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": {"$ref": "#nowhere"}}},
        {"properties": {"a": {"$dynamicRef": "#a"}}},
        {"properties": {"a": {"$id": "https://example.org/a", "type": "string"}}},
        {"properties": {"a": {"$ref": "#/properties/a"}}},
        {"properties": {"a": {"$ref": "#/$defs/b"}}, "$defs": {"b": {"anyOf": [{"$ref": "#/$defs/b"}]}}},
        {"properties": {"a": {"type": "integer", "default": "x"}}},
    ],
    ids=["anchor", "dynamic", "inner id", "itself", "circle", "default"],
)
def test_schemas_that_would_fail_in_use_are_refused_at_the_start(schema: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"refers|has an? |gives"):
        profile_of_schema(schema)


def test_a_tree_is_no_circle_and_a_default_is_enough_for_what_is_required() -> None:
    tree = {"type": "object", "properties": {"left": {"$ref": "#/$defs/tree"}}, "additionalProperties": False}
    schema = {"properties": {"tree": {"$ref": "#/$defs/tree"}, "n": {"type": "integer", "default": 5}}}
    profile = profile_of_schema({**schema, "required": ["n"], "$defs": {"tree": tree}})

    assert profile.change({}, {"tree": {"left": {}}}, by_owner=True) == {"tree": {"left": {}}, "n": 5}
    assert refused(profile, {"tree": {"right": {}}}) == ["additionalProperties"]
    assert profile.read_wanted("n", "5.0") == 5
    assert not profile.fields["n"].required
