"""Makes a `Profile` out of what a host or an operator gives: a Pydantic model, or a JSON Schema in a file."""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Iterator, Mapping
from itertools import islice, takewhile
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from pydantic import BaseModel, PydanticUserError, RootModel, ValidationError
from pydantic.errors import PydanticInvalidForJsonSchema
from pydantic_core import SchemaSerializer, SchemaValidator, to_json
from pydantic_core.core_schema import definitions_schema

from denizen.core.errors import FieldError
from denizen.core.json import JsonRefused, read_json
from denizen.core.problems import field_errors
from denizen.core.profiles import (
    MAX_FIELD_NAME,
    MAX_FIELDS,
    Profile,
    ProfileField,
    ProfileInvalid,
    canonical,
    fault,
    is_field_name,
    kind_of,
    kinds_in,
)

_MAX_SHOWN: Final = 100


def load_profile(setting: str) -> Profile:
    """Give the profile that `DENIZEN_PROFILE` names.

    Args:
        setting: `module:Class`, looked for in the working folder too, or a file `*.json` with a JSON Schema.

    Raises:
        ValueError: with a sentence that says what to change.
    """
    if setting.endswith(".json"):
        return profile_of_schema(_read_schema(Path(setting)))
    module_name, _, name = setting.partition(":")
    if not (module_name and name):
        raise ValueError("is written module:Class, such as app.models:Profile, or is a file whose name ends in .json.")
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # as `python -m` and Uvicorn look for an application
    try:
        model: Any = importlib.import_module(module_name)
    except Exception as error:  # whatever the module does when it is imported
        raise ValueError(f"names the module {module_name}, which cannot be imported: {_said(error)}.") from error
    for part in name.split("."):
        model = getattr(model, part, None)
    if model is None:
        raise ValueError(f"names {name}, which is not in the module {module_name}.")
    return profile_of_model(model)


def profile_of_model(model: Any) -> Profile:
    """Give the profile that a Pydantic model describes, as its JSON form has it: aliases are the names.

    Raises:
        TypeError: it is no model whose JSON form is an object.
        ValueError: one of its fields cannot be stored or asked for; the text says what to change.
    """
    if not (isinstance(model, type) and issubclass(model, BaseModel)) or issubclass(model, RootModel):
        raise TypeError(f"A profile is a class of fields, a subclass of pydantic.BaseModel, and not {model!r}.")
    try:
        schema, shown = (model.model_json_schema(mode=mode) for mode in ("validation", "serialization"))
    except (PydanticUserError, PydanticInvalidForJsonSchema) as error:
        raise ValueError(f"{model.__name__} has a field that is nothing in JSON: {_said(error)}.") from error
    takes_others = model.model_config.get("extra") == "allow"
    if shown.get("properties", {}).keys() - model.model_computed_fields != schema.get("properties", {}).keys():
        raise ValueError(
            f"{model.__name__} writes fields under other names than it reads. Give each one `alias`, or none."
        )
    _check_names(model)
    fields = {
        (field.validation_alias if isinstance(field.validation_alias, str) else name): _OneField.of(model, name)
        for name, field in model.model_fields.items()
    }
    computed = set(model.model_computed_fields)
    names = _names(schema)

    def parse(values: dict[str, Any]) -> dict[str, Any]:
        try:
            made = model.model_validate_json(to_json(values))
        except ValidationError as error:
            raise _refusal(error, names) from None
        found: dict[str, Any] = made.model_dump(mode="json", by_alias=True, exclude=computed)
        return found

    def parse_one(name: str, value: Any) -> Any:
        try:
            return fields[name].parse(value)
        except ValidationError as error:
            raise _refusal(error, names, name) from None

    return Profile(model.__name__, schema, shown, _fields(schema), takes_others, parse, parse_one)


def _check_names(model: type[BaseModel]) -> None:
    """Refuse fields that have several names: what is judged by a name could be passed by under another.

    Raises:
        ValueError: with what to change.
    """
    by_name = any(model.model_config.get(key) for key in ("populate_by_name", "validate_by_name"))
    for name, field in model.model_fields.items():
        alias = field.validation_alias
        if alias is not None and (not isinstance(alias, str) or (by_name and alias != name)):
            raise ValueError(
                f"{model.__name__}.{name} is read under several names. Give it one alias, and leave out "
                "AliasChoices, AliasPath, populate_by_name and validate_by_name."
            )


class _OneField:
    """One field of a model by itself: with its own validators and its own form in JSON, and without the model's, which
    judge several at once.
    """

    def __init__(self, schema: Any, config: Any) -> None:
        self._validator = SchemaValidator(schema, config)
        self._serializer = SchemaSerializer(schema, config)

    @classmethod
    def of(cls, model: type[BaseModel], name: str) -> _OneField:
        """Take it out of what Pydantic has made of the model."""
        schema: Any = model.__pydantic_core_schema__
        definitions: list[Any] = []
        config = None
        while schema["type"] != "model-fields":
            definitions = schema.get("definitions", definitions)
            config = schema.get("config", config)
            if schema["type"] == "definition-ref":
                schema = next(each for each in definitions if each["ref"] == schema["schema_ref"])
            else:
                schema = schema["schema"]
        found = schema["fields"][name]["schema"]
        return cls(definitions_schema(found, definitions) if definitions else found, config)

    def parse(self, value: Any) -> Any:
        """Give a value as it is stored.

        Raises:
            ValidationError: it can be none.
        """
        return self._serializer.to_python(self._validator.validate_json(to_json(value)), mode="json", by_alias=True)


def _said(error: Exception) -> str:
    """Give the first line of what an error says."""
    return (str(error).splitlines() or [""])[0].rstrip(".") or type(error).__name__


def _names(schema: Mapping[str, Any]) -> frozenset[str]:
    """Give every name that a schema itself has for a member, of whatever object."""
    found = (node[word] for node in _nodes(schema) for word in ("properties", "required") if word in node)
    return frozenset(name for names in found if isinstance(names, Mapping | list) for name in names)


def _sayable(path: tuple[Any, ...], names: frozenset[str]) -> tuple[Any, ...]:
    """Cut a path before the first key that is the sender's own: in a map of things, keys are values."""
    return (*path[:1], *takewhile(lambda part: isinstance(part, int) or part in names, path[1:]))


def _refusal(error: ValidationError, names: frozenset[str], *within: str) -> ProfileInvalid:
    found = [
        {**item, "loc": ("body", "profile", *_sayable((*within, *item["loc"]), names))}
        for item in error.errors(include_url=False)
    ]
    return ProfileInvalid.because(field_errors(found))


def profile_of_schema(schema: Any) -> Profile:
    """Give the profile that a JSON Schema describes: of the draft that it names, or else of 2020-12.

    A key that `properties` does not name is taken only where `additionalProperties` says so itself. `default` is stored
    where a field is not given. `format` is heeded where `jsonschema` knows it by itself.

    Raises:
        ValueError: it is no schema of an object, or one of its fields cannot be stored or asked for.
    """
    from referencing import Registry

    if not isinstance(schema, dict) or schema.get("type", "object") != "object" or not schema.get("properties"):
        raise ValueError("is no JSON Schema of an object: it needs `properties`.")
    kind = _draft_of(schema)
    _check_references(schema)
    takes_others = schema.get("additionalProperties", False) is not False
    whole = {"type": "object", "additionalProperties": False, **schema}
    own: dict[str, Any] = whole["properties"]
    defaults = {name: each["default"] for name, each in own.items() if isinstance(each, dict) and "default" in each}
    whole["required"] = [name for name in schema.get("required", ()) if name not in defaults]
    fields = _fields(whole)
    # Without a way to retrieve anything: a schema refers to itself alone.
    checker = kind(whole, format_checker=kind.FORMAT_CHECKER, registry=Registry())
    names = _names(whole)

    def parse(values: dict[str, Any]) -> dict[str, Any]:
        found = {**defaults, **values}
        errors = [_schema_error(error, names) for error in islice(checker.iter_errors(found), MAX_FIELDS)]
        if errors:
            raise ProfileInvalid.because(errors)
        return {name: found[name] for name in (*fields, *(found.keys() - fields.keys())) if name in found}

    def parse_one(name: str, value: Any) -> Any:
        error = next(checker.evolve(schema=_beside(own[name], whole)).iter_errors(value), None)
        if error is not None:
            raise ProfileInvalid.because([_schema_error(error, names, name)])
        return value

    for field, default in defaults.items():
        try:
            parse_one(field, default)
        except ProfileInvalid as error:
            raise ValueError(f"gives {field} a default that its own schema refuses: {error.detail}") from None
    name = re.sub(r"\W+", "", str(schema.get("title", ""))) or "Profile"
    return Profile(name, whole, whole, fields, takes_others, parse, parse_one)


def _draft_of(schema: dict[str, Any]) -> Any:
    """Give what judges by the draft of a schema.

    Raises:
        ValueError: it is none of its draft.
    """
    from jsonschema import Draft202012Validator, SchemaError  # 30 ms, for those who use it
    from jsonschema.validators import extend, validator_for

    kind = validator_for(schema, default=Draft202012Validator)
    try:
        kind.check_schema(schema)
    except SchemaError as error:
        raise ValueError(f"is no valid JSON Schema: {error.message} (at {error.json_path}).") from None
    return extend(kind, {"uniqueItems": _are_unique})  # type: ignore[no-untyped-call]  # jsonschema's is


def _beside(schema: Any, whole: Mapping[str, Any]) -> Any:
    """Give the schema of one field with what it may refer to."""
    return {**schema, "$defs": whole["$defs"]} if isinstance(schema, dict) and "$defs" in whole else schema


def _are_unique(_: Any, wanted: bool, items: Any, __: Any) -> Iterator[Any]:
    """Judge `uniqueItems` in one walk: jsonschema compares each item with each, minutes for some thousand."""
    from jsonschema import ValidationError as SchemaBroken

    if wanted and isinstance(items, list) and len({canonical(item) for item in items}) < len(items):
        yield SchemaBroken("not unique")


_DATA: Final = frozenset({"const", "default", "enum", "examples"})
"""Keywords whose values are no schemas."""
_MAPS: Final = frozenset({"$defs", "definitions", "dependentSchemas", "patternProperties", "properties"})
"""Keywords whose values are schemas by name: a field may be called `default`."""


def _nodes(schema: Any) -> Iterator[Mapping[str, Any]]:
    """Give every object of a JSON Schema."""
    if isinstance(schema, Mapping):
        yield schema
        for word, each in schema.items():
            if word in _MAPS and isinstance(each, Mapping):
                yield from _nodes(list(each.values()))
            elif word not in _DATA:
                yield from _nodes(each)
    elif isinstance(schema, list):
        for each in schema:
            yield from _nodes(each)


def _check_references(schema: dict[str, Any]) -> None:
    """Refuse what could be looked up only when somebody writes, or never.

    Raises:
        ValueError: with what to change.
    """
    for node in _nodes(schema):
        if any(isinstance(node.get(word), str) for word in ("$dynamicRef", "$recursiveRef")):
            raise ValueError("has a $dynamicRef: write $ref, to its own `$defs`.")
        if node is not schema and isinstance(node.get("$id"), str):
            raise ValueError("has an $id inside: references would mean another document.")
        reference = node.get("$ref")
        if isinstance(reference, str):
            if reference != "#" and not reference.startswith("#/"):
                raise ValueError(
                    f"refers to {reference}: a schema here refers to its own `$defs` alone, by #/$defs/..."
                )
            if kind_of(_target(reference, schema)) not in ("object", "boolean"):
                raise ValueError(f"refers to {reference}, which it does not have.")
        if _comes_back(node, schema, ()):
            raise ValueError(f"refers to itself without end, by {reference}.")


def _target(reference: str, schema: Any) -> Any:
    """Give what a JSON pointer means; `None` for nothing."""
    found = schema
    for part in unquote(reference).split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, list) and name.isdecimal() and int(name) < len(found):
            found = found[int(name)]
        elif isinstance(found, Mapping) and name in found:
            found = found[name]
        else:
            return None
    return found


def _same_place(node: Any, schema: Any) -> Iterator[Mapping[str, Any]]:
    """Give the schemas that judge the same value as `node` does, one step on."""
    if not isinstance(node, Mapping):
        return
    if isinstance(node.get("$ref"), str):
        yield _target(node["$ref"], schema)
    for word in ("allOf", "anyOf", "oneOf"):
        yield from node[word] if isinstance(node.get(word), list) else ()
    for word in ("not", "if", "then", "else"):
        if isinstance(node.get(word), Mapping):
            yield node[word]


def _comes_back(node: Any, schema: Any, above: tuple[int, ...]) -> bool:
    """Whether a value would be judged by the same schema again and again."""
    if id(node) in above:
        return True
    return any(_comes_back(each, schema, (*above, id(node))) for each in _same_place(node, schema))


def _schema_error(error: Any, names: frozenset[str], *within: str) -> FieldError:
    """Say it without the value, which the library quotes."""
    path = [*within, *error.absolute_path]
    if error.validator == "required":
        path.append(next((name for name in error.validator_value if name not in error.instance), "?"))
        return fault(".".join(map(str, _sayable(tuple(path), names))), "missing", "Field required")
    wanted = json.dumps(error.validator_value, ensure_ascii=False)
    said = f" {wanted}" if len(wanted) <= _MAX_SHOWN else ""
    place = ".".join(map(str, _sayable(tuple(path), names)))
    return fault(place, str(error.validator), f"Should satisfy {error.validator}{said}")


def _read_schema(path: Path) -> Any:
    try:
        return read_json(path.read_bytes())
    except OSError as error:
        raise ValueError(f"names the file {path}, which cannot be read: {error.strerror}.") from None
    except JsonRefused as error:
        where = f", line {error.line}" if error.line else ""
        raise ValueError(f"names the file {path}, which is no JSON ({error.flaw.name.lower()}{where}).") from None


def _all_of_one_place(node: Any, schema: Any) -> Iterator[Mapping[str, Any]]:
    """Give a schema, and all that judge the same value with it."""
    if isinstance(node, Mapping):
        yield node
        for each in _same_place(node, schema):
            yield from _all_of_one_place(each, schema)


def _fields(schema: Mapping[str, Any]) -> dict[str, ProfileField]:
    """Read the fields of a JSON Schema of an object.

    Raises:
        ValueError: one cannot be a field here.
    """
    definitions, required = schema.get("$defs", {}), set(schema.get("required", ()))
    told = {name: list(_all_of_one_place(each, schema)) for name, each in schema.get("properties", {}).items()}
    seen = {id(node) for nodes in told.values() for node in nodes}
    if any(node.get("readOnly") is True and id(node) not in seen for node in _nodes(schema)):
        raise ValueError("has readOnly inside a field. It is for whole fields: put it there.")
    fields = {
        name: ProfileField(
            kinds=kinds_in(each, definitions),
            schema=each if isinstance(each, Mapping) else {},
            required=name in required,
            read_only=any(node.get("readOnly") is True for node in told[name]),
        )
        for name, each in schema.get("properties", {}).items()
    }
    if not 0 < len(fields) <= MAX_FIELDS:
        raise ValueError(f"A profile has between 1 and {MAX_FIELDS} fields, and this one {len(fields)}.")
    for name, field in fields.items():
        if not is_field_name(name):
            raise ValueError(
                f"The name of a field is made of ASCII letters, digits and _, begins with a letter and has at most "
                f"{MAX_FIELD_NAME} characters, and {name!r} is not."
            )
        if field.read_only and field.required:
            raise ValueError(
                f"{name} is read-only and required, so that nobody could sign up. Give it a default, or null."
            )
    return fields
