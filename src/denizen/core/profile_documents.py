"""How OpenAPI describes the own fields of accounts: as this install has them, in place of any object.

Models are shared by all installs of a process, so that their schemas say `object`. The whole document is gone over when
it is made: whoever makes it, FastAPI or a host's own function, the result says the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from denizen.core.profiles import FILTER, Profile

Form = Literal["Create", "Update", "Read"]

TOLD: Final[Mapping[Form, str]] = {
    "Create": "The fields that this installation adds to accounts.",
    "Update": "Of the fields that this installation adds to accounts, those to set; `null` empties one, others stay.",
    "Read": "The fields that this installation adds to accounts, as they were stored; `{}` where it adds none.",
}
"""How models describe the place of own fields; it is found in a document by that."""

LATER: Final = "The fields that this installation adds to accounts. Left out, the account gets them later."
"""The same of a new account that may do without, whatever the profile requires."""

_FORMS: Final[Mapping[str, Form]] = {**{sentence: form for form, sentence in TOLD.items()}, LATER: "Create"}
_COMPONENTS: Final = "#/components/schemas/"

Operation = tuple[str, str]
"""A path and a verb, in small letters."""


@dataclass(frozen=True, slots=True)
class Described:
    """An install in a document.

    Attributes:
        profile: its own fields; `None` for none.
        suffix: tells its schemas from those of others in the document.
        operations: what it answers to.
        lists: those of them that take filters.
    """

    profile: Profile | None
    suffix: str
    operations: frozenset[Operation]
    lists: frozenset[Operation]


def with_profiles(document: Mapping[str, Any], installs: Sequence[Described]) -> dict[str, Any]:
    """Give a document in which own fields have their types. The first install's schemas keep their names; what differs
    for another gets one of its own.
    """
    found: dict[str, Any] = json.loads(json.dumps(document))
    schemas: dict[str, Any] = found.get("components", {}).get("schemas", {})
    concerned = _concerned(schemas)
    for install in installs[1:]:
        if install.profile is not installs[0].profile:
            own = {name: _free(f"{name}{install.suffix}", schemas) for name in concerned}
            references = {_COMPONENTS + name: _COMPONENTS + new for name, new in own.items()}
            schemas |= {new: _renamed(schemas[name], references) for name, new in own.items()}
            for operation, whole in _operations(found, install.operations):
                whole[operation[1]] = _renamed(whole[operation[1]], references)
            _describe(schemas, own.values(), install)
    if installs:
        _describe(schemas, concerned, installs[0])
    for install in installs:
        if install.profile is not None:
            added = list(_parameters(install.profile))
            for operation, whole in _operations(found, install.lists):
                given = whole[operation[1]].setdefault("parameters", [])
                known = {each.get("name") for each in given}
                given += [each for each in added if each["name"] not in known]
    return found


def _operations(
    document: Mapping[str, Any], wanted: frozenset[Operation]
) -> Iterator[tuple[Operation, dict[str, Any]]]:
    paths = document.get("paths", {})
    yield from (((path, verb), paths[path]) for path, verb in sorted(wanted) if verb in paths.get(path, {}))


def _concerned(schemas: Mapping[str, Any]) -> list[str]:
    """Give the schemas in which own fields stand, and those that refer to them, however far off."""
    found = {name for name, schema in schemas.items() if any(_places(schema))}
    texts = {name: json.dumps(schema) for name, schema in schemas.items()}
    while True:
        more = {
            name
            for name, text in texts.items()
            if name not in found and any(f'"{_COMPONENTS}{each}"' in text for each in found)
        }
        if not more:
            return sorted(found)
        found |= more


def _places(schema: Any) -> Iterator[tuple[dict[str, Any], str, Form]]:
    """Give the objects in a schema whose properties have own fields, with the property and its form."""
    if isinstance(schema, dict):
        for name, each in (schema.get("properties") or {}).items():
            if isinstance(each, dict) and each.get("description") in _FORMS:
                yield schema, name, _FORMS[each["description"]]
        for each in schema.values():
            yield from _places(each)
    elif isinstance(schema, list):
        for each in schema:
            yield from _places(each)


def _free(name: str, schemas: Mapping[str, Any]) -> str:
    while name in schemas:
        name += "_"
    return name


def _renamed(node: Any, names: Mapping[str, str]) -> Any:
    if isinstance(node, dict):
        return {key: _renamed(each, names) for key, each in node.items()}
    if isinstance(node, list):
        return [_renamed(each, names) for each in node]
    return names.get(node, node) if isinstance(node, str) else node


def _describe(schemas: dict[str, Any], names: Any, install: Described) -> None:
    profile = install.profile
    if profile is None:
        return
    known: dict[Form, str] = {}
    for place, name, form in [found for each in names for found in _places(schemas[each])]:
        if form not in known:
            known[form] = _free(f"AccountProfile{form}{install.suffix}", schemas)
            schemas[known[form]] = schema_of(profile, form)
        may_wait = place["properties"][name]["description"] == LATER
        place["properties"][name] = {"$ref": _COMPONENTS + known[form]}
        if form == "Create" and not may_wait and any(field.required for field in profile.fields.values()):
            place["required"] = [*place.get("required", []), name]


# --- The schema of a profile --------------------------------------------------------------------------


def schema_of(profile: Profile, form: Form) -> dict[str, Any]:
    """Give the schema of own fields, without references.

    Nothing is required of what goes out, since accounts of before a field may lack it, nor of a change.
    """
    whole = profile.shown if form == "Read" else profile.schema
    properties = {
        name: inlined(each, whole) for name, each in whole.get("properties", {}).items() if name in profile.fields
    }
    told: dict[str, Any] = {"type": "object", "title": profile.name, "description": TOLD[form]}
    if form == "Create":
        kept = {name: inlined(each, whole) for name, each in whole.items() if not name.startswith("$")}
        told = {**kept, **told}
        told.pop("definitions", None)
    else:  # where a field that is not there has no default
        properties = {name: _without(each, "default") for name, each in properties.items()}
    if form == "Update":
        properties = {
            name: each if profile.fields[name].required or "null" in profile.fields[name].kinds else _or_null(each)
            for name, each in properties.items()
        }
    return {**told, "properties": properties, "additionalProperties": form == "Read" or profile.takes_others}


def _without(schema: Any, *names: str) -> Any:
    return {name: each for name, each in schema.items() if name not in names} if isinstance(schema, dict) else schema


def _or_null(schema: Any) -> dict[str, Any]:
    if not isinstance(schema, dict):
        return {}
    outer = {name: schema[name] for name in ("title", "description", "readOnly") if name in schema}
    inner = {name: each for name, each in schema.items() if name not in outer}
    return {**outer, "anyOf": [inner, {"type": "null"}]}


def inlined(schema: Any, whole: Mapping[str, Any], within: tuple[str, ...] = ()) -> Any:
    """Put what is referred to in the place of each reference, since another document has other places; where a schema
    refers to itself, anything.
    """
    if isinstance(schema, list):
        return [inlined(each, whole, within) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    beside = {name: inlined(each, whole, within) for name, each in schema.items() if name != "$ref"}
    reference = schema.get("$ref")
    if not isinstance(reference, str):
        return {name: inlined(each, whole, within) for name, each in schema.items()}
    if reference in within:
        return beside
    target = inlined(_target(reference, whole), whole, (*within, reference))
    return {**target, **beside} if isinstance(target, dict) else beside


def _target(reference: str, whole: Any) -> Any:
    """Find what a JSON pointer means; anything, where it means nothing here."""
    found = whole
    for part in reference.removeprefix("#").split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        found = found.get(name, {}) if isinstance(found, Mapping) else {}
    return found


def _parameters(profile: Profile) -> Iterator[dict[str, Any]]:
    for name in profile.fields:
        if f"{FILTER}{name}" in profile.filters:
            schema = inlined(profile.schema["properties"][name], profile.schema)
            schema = _without(schema, "default", "readOnly", "description")
            told = profile.fields[name].schema.get("description") or "Only accounts with this value."
            yield {
                "name": f"{FILTER}{name}",
                "in": "query",
                "required": False,
                "schema": schema,
                "description": told,
            }
