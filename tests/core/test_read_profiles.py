"""What may be an account's own fields: read from models and JSON Schemas, judged alike, and refused with a sentence."""

from __future__ import annotations

import json
import sys
from datetime import date
from decimal import Decimal
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, RootModel, computed_field, field_validator

from denizen.core.assembly import find_profile
from denizen.core.profile_sources import load_profile, profile_of_model, profile_of_schema
from denizen.core.profiles import Profile, ProfileInvalid, new_profile
from denizen.profiles.models import MAX_VALUE_LENGTH, compared
from denizen.settings import Settings, SettingsError
from tests.conftest import SECRET


class Grade(IntEnum):
    """By number."""

    LOW = 1
    HIGH = 2


class Inner(BaseModel):
    """A tree."""

    name: str
    below: list[Inner] = []


class Model(BaseModel):
    """As a host may write one."""

    department: Annotated[str, Field(min_length=1)]
    cost_centre: Annotated[int | None, Field(alias="costCentre")] = None
    grade: Grade = Grade.LOW
    joined: date | None = None
    share: Decimal | None = None
    tree: Inner | None = None
    internal: Annotated[bool, Field(json_schema_extra={"readOnly": True})] = False

    @field_validator("department")
    @classmethod
    def _trim(cls, value: str) -> str:
        return value.strip()

    @computed_field  # type: ignore[prop-decorator]  # Pydantic's own order
    @property
    def shout(self) -> str:
        return self.department.upper()


SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "department": {"type": "string", "minLength": 1},
        "costCentre": {"type": ["integer", "null"]},
        "grade": {"$ref": "#/$defs/grade", "default": 1},
        "joined": {"type": "string", "format": "date"},
        "tree": {"$ref": "#/$defs/tree"},
        "internal": {"type": "boolean", "default": False, "readOnly": True},
    },
    "required": ["department"],
    "$defs": {
        "grade": {"enum": [1, 2]},
        "tree": {"type": "object", "properties": {"below": {"type": "array", "items": {"$ref": "#/$defs/tree"}}}},
    },
}

BOTH = pytest.mark.parametrize("profile", [profile_of_model(Model), profile_of_schema(SCHEMA)], ids=["model", "schema"])


def faults(profile: Profile, given: dict[str, Any], *, stored: Any = None, by_owner: bool = False) -> list[str]:
    with pytest.raises(ProfileInvalid) as caught:
        profile.change(stored or {}, given, by_owner=by_owner)
    return [each.field for each in caught.value.errors]


@BOTH
def test_model_and_schema_judge_alike(profile: Profile) -> None:
    found = profile.change({}, {"department": "sales", "costCentre": 7, "joined": "2020-02-29"}, by_owner=False)

    assert found["department"] == "sales"
    assert (found["costCentre"], found["grade"], found["joined"]) == (7, 1, "2020-02-29")
    assert (found["internal"], "shout" in found) == (False, False)
    assert faults(profile, {}) == ["profile.department"]
    assert faults(profile, {"department": "", "grade": 3}) == ["profile.department", "profile.grade"]
    assert faults(profile, {"department": "x", "joined": "2021-02-29"}) == ["profile.joined"]
    assert faults(profile, {"department": "x", "cost_centre": 1}) == ["profile.cost_centre"]
    assert faults(profile, {"department": "x", "shout": "X"}) == ["profile.shout"]
    assert faults(profile, {"department": "x", "tree": {"name": "x", "below": [{"below": 1}]}})[0].startswith(
        "profile.tree.below.0"
    )
    assert faults(profile, {"department": "x", "internal": True}, by_owner=True) == ["profile.internal"]
    assert profile.change({}, {"department": "x", "internal": True}, by_owner=False)["internal"] is True
    assert profile.filters == {f"profile.{name}" for name in profile.fields} - {"profile.tree"}


@BOTH
def test_change_keeps_what_it_does_not_name_and_drops_what_is_no_field_any_more(profile: Profile) -> None:
    stored = {"department": "sales", "costCentre": 7, "former": "gone", "internal": True}

    found = profile.change(stored, {"costCentre": None}, by_owner=True)

    assert (found["department"], found.get("costCentre"), found["internal"]) == ("sales", None, True)
    assert "former" not in found
    assert faults(profile, {"department": None}, stored=stored) == ["profile.department"]
    # Whoever sends back all that he read has set nothing.
    assert profile.change(stored, {"costCentre": 8, "internal": True}, by_owner=True)["costCentre"] == 8
    assert faults(profile, {"internal": False}, stored=stored, by_owner=True) == ["profile.internal"]
    # An account of before the field was required stays readable, and its next change has to give it.
    assert faults(profile, {"costCentre": 1}, stored={"former": "x"}) == ["profile.department"]


@BOTH
@pytest.mark.parametrize("value", ["a\x00b", "\ud800", "x" * 17_000])
def test_what_no_database_stores_or_nobody_wants_to_read_is_refused(profile: Profile, value: str) -> None:
    assert faults(profile, {"department": value})[0].startswith("profile")


@BOTH
def test_names_that_are_no_names_are_not_repeated(profile: Profile) -> None:
    assert faults(profile, {"department": "x", "<script>": 1}) == ["profile"]


@BOTH
def test_text_is_read_as_the_field_wants_it(profile: Profile) -> None:
    assert profile.read_wanted("costCentre", "7") == 7
    assert profile.read_wanted("department", "7") == "7"
    assert profile.read_wanted("internal", "True") is True
    assert profile.read("costCentre", "") is None
    assert profile.read("tree", '{"name": "x"}') == {"name": "x"}
    for name, text in (("costCentre", "x"), ("costCentre", ""), ("grade", "3"), ("tree", "{}"), ("nothing", "x")):
        with pytest.raises(ProfileInvalid):
            profile.read_wanted(name, text)


def test_model_decides_the_form_in_which_values_are_stored_and_sought() -> None:
    profile = profile_of_model(Model)

    found = profile.change({}, {"department": "sales", "share": 0.5}, by_owner=False)

    assert found["share"] == profile.read_wanted("share", "0.5") == "0.5"
    assert profile.read_wanted("joined", "2020-02-29") == "2020-02-29"
    assert profile.read_wanted("department", " sales ") == "sales"


def test_schema_that_takes_others_takes_them_under_names_that_are_names() -> None:
    profile = profile_of_schema({"properties": {"a": {"type": "integer"}}, "additionalProperties": {"type": "string"}})

    assert profile.change({}, {"b": "x"}, by_owner=True) == {"b": "x"}
    assert faults(profile, {"b": 1}) == ["profile.b"]
    assert faults(profile, {"b c": "x"}) == ["profile"]
    assert profile.filters == {"profile.a"}


def test_account_whose_profile_comes_later_has_the_defaults_or_nothing() -> None:
    class Optional(BaseModel):
        level: int = 1

    assert new_profile(profile_of_model(Optional), None, by_owner=False) == {"level": 1}
    assert new_profile(profile_of_model(Model), None, by_owner=False) == {}
    assert new_profile(None, {}, by_owner=False) == {}
    with pytest.raises(ProfileInvalid, match="DENIZEN_PROFILE"):
        new_profile(None, {"level": 1}, by_owner=False)


scalars = (
    st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.booleans()
    | st.text(max_size=200)
)


@given(scalars, scalars)
def test_values_are_compared_as_json_compares_them(one: Any, other: Any) -> None:
    def exact(value: Any) -> Any:
        kind = "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value)
        return kind, Decimal(repr(value)) if kind == "number" else value

    text = compared(one)

    assert text is not None
    assert len(text) <= MAX_VALUE_LENGTH
    assert (text == compared(other)) == (exact(one) == exact(other))


def test_what_is_equal_is_found_by_one_text() -> None:
    assert compared(5) == compared(5.0) == "5"
    assert compared(-0.0) == compared(0) == "0"
    assert compared(1e22) == compared(10**22)
    assert len({compared(each) for each in (1, True, "1", "true", 1.5, "x" * 99, "x" * 98)}) == 7
    assert {compared(None), compared([]), compared({"a": 1}), compared([1])} == {None}


# --- Bad ones ------------------------------------------------------------------------------------------


class Loose(BaseModel):
    """Takes anything."""

    model_config = ConfigDict(extra="allow")


class Callback(BaseModel):
    """Nothing that JSON has."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    when: type


class Dotted(BaseModel):
    """A name that no query parameter can have."""

    a: Annotated[int, Field(alias="a.b")] = 1


class OneWay(BaseModel):
    """Writes what it does not read."""

    a: Annotated[int, Field(serialization_alias="b")] = 1


class Locked(BaseModel):
    """Nobody could sign up."""

    level: Annotated[int, Field(json_schema_extra={"readOnly": True})]


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (dict, "subclass of pydantic.BaseModel"),
        (Model.model_validate({"department": "x"}), "subclass of pydantic.BaseModel"),
        (RootModel[dict[str, int]], "subclass of pydantic.BaseModel"),
        (Loose, "between 1 and 100 fields"),
        (Callback, "nothing in JSON"),
        (Dotted, "'a.b' is not"),
        (OneWay, "under other names"),
        (Locked, "nobody could sign up"),
    ],
)
def test_model_that_can_be_no_profile_is_refused(model: Any, sentence: str) -> None:
    with pytest.raises((TypeError, ValueError), match=sentence):
        profile_of_model(model)


@pytest.mark.parametrize(
    ("schema", "sentence"),
    [
        ([], "needs `properties`"),
        ({"type": "string"}, "needs `properties`"),
        ({"properties": {}}, "needs `properties`"),
        ({"properties": {"a": {"type": "strnig"}}}, "no valid JSON Schema"),
        ({"properties": {"a": {"$ref": "https://example.org/a"}}}, "its own `\\$defs` alone"),
        ({"properties": {"_a": {}}}, "begins with a letter"),
        ({"properties": {"a" * 41: {}}}, "at most 40 characters"),
        ({"properties": {f"f{n}": {} for n in range(101)}}, "between 1 and 100"),
        ({"properties": {"a": {"readOnly": True}}, "required": ["a"]}, "nobody could sign up"),
        ({"properties": {"a": {"$ref": "#/$defs/none"}}}, "which it does not have"),
        ({"properties": {"a": {"pattern": "("}}}, "\\("),
    ],
)
def test_schema_that_can_be_no_profile_is_refused(schema: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        profile_of_schema(schema)


def settings(profile: str) -> Settings:
    return Settings(_env_file=None, database_url="sqlite:///x.db", secret_key=SECRET, profile=profile)


def test_setting_names_a_class_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "staff.json").write_text(json.dumps(SCHEMA))
    (tmp_path / "own_fields_of_ours.py").write_text(
        "from pydantic import BaseModel\nclass Staff(BaseModel):\n    a: int = 1\n"
    )
    monkeypatch.setattr(sys, "path", [*sys.path])

    assert next(iter(load_profile("staff.json").fields)) == "department"
    by_class = find_profile(settings("own_fields_of_ours:Staff"))

    assert by_class is not None
    assert (by_class.name, list(by_class.fields)) == ("Staff", ["a"])


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("nowhere_at_all:Profile", "DENIZEN_PROFILE names the module nowhere_at_all, which cannot be imported: "),
        ("broken_fields:Profile", "DENIZEN_PROFILE names the module broken_fields, which cannot be imported: "),
        ("pydantic:Nothing", "DENIZEN_PROFILE names Nothing, which is not in the module pydantic"),
        ("pydantic", "DENIZEN_PROFILE is written module:Class"),
        (":Profile", "DENIZEN_PROFILE is written module:Class"),
        ("json:dumps", "DENIZEN_PROFILE: A profile is a class of fields"),
        ("missing.json", "DENIZEN_PROFILE names the file missing.json, which cannot be read: "),
        ("torn.json", "DENIZEN_PROFILE names the file torn.json, which is no JSON"),
        ("text.json", "DENIZEN_PROFILE is no JSON Schema of an object"),
    ],
)
def test_setting_that_names_none_is_refused_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, sentence: str
) -> None:
    (tmp_path / "torn.json").write_text('{"properties": ')
    (tmp_path / "text.json").write_text('"text"')
    (tmp_path / "broken_fields.py").write_text("1 / 0\n")
    monkeypatch.setattr(sys, "path", [*sys.path])

    with pytest.raises(SettingsError) as caught:
        find_profile(settings(setting))

    assert str(caught.value).startswith(sentence)
