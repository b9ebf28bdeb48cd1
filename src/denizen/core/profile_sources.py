"""Makes a `Profile` out of what a host or an operator gives: a Pydantic model, or a JSON Schema in a file."""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

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
    fault,
    is_field_name,
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
    fields = {
        (field.validation_alias if isinstance(field.validation_alias, str) else name): _OneField.of(model, name)
        for name, field in model.model_fields.items()
    }
    computed = set(model.model_computed_fields)

    def parse(values: dict[str, Any]) -> dict[str, Any]:
        try:
            made = model.model_validate_json(to_json(values))
        except ValidationError as error:
            raise _refusal(error) from None
        found: dict[str, Any] = made.model_dump(mode="json", by_alias=True, exclude=computed)
        return found

    def parse_one(name: str, value: Any) -> Any:
        try:
            return fields[name].parse(value)
        except ValidationError as error:
            raise _refusal(error, name) from None

    return Profile(model.__name__, schema, shown, _fields(schema), takes_others, parse, parse_one)


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


def _refusal(error: ValidationError, *within: str) -> ProfileInvalid:
    found = [{**item, "loc": ("body", "profile", *within, *item["loc"])} for item in error.errors(include_url=False)]
    return ProfileInvalid.because(field_errors(found))


def profile_of_schema(schema: Any) -> Profile:
    """Give the profile that a JSON Schema describes: of the draft that it names, or else of 2020-12.

    A key that `properties` does not name is taken only where `additionalProperties` says so itself. `default` is stored
    where a field is not given. `format` is heeded where `jsonschema` knows it by itself.

    Raises:
        ValueError: it is no schema of an object, or one of its fields cannot be stored or asked for.
    """
    from jsonschema import Draft202012Validator, SchemaError  # 30 ms, for those who use it
    from jsonschema.validators import validator_for
    from referencing import Registry

    if not isinstance(schema, dict) or schema.get("type", "object") != "object" or not schema.get("properties"):
        raise ValueError("is no JSON Schema of an object: it needs `properties`.")
    kind = validator_for(schema, default=Draft202012Validator)
    try:
        kind.check_schema(schema)
    except SchemaError as error:
        raise ValueError(f"is no valid JSON Schema: {error.message} (at {error.json_path}).") from None
    if foreign := [text for text in _references(schema) if not text.startswith("#")]:
        raise ValueError(f"refers to {foreign[0]}: a schema here refers to its own `$defs` alone.")
    if lost := [text for text in _references(schema) if not _is_there(text, schema)]:
        raise ValueError(f"refers to {lost[0]}, which it does not have.")
    takes_others = schema.get("additionalProperties", False) is not False
    whole = {"type": "object", "additionalProperties": False, **schema}
    fields = _fields(whole)
    # Without a way to retrieve anything: a schema refers to itself alone.
    checker = kind(whole, format_checker=kind.FORMAT_CHECKER, registry=Registry())
    defaults = {name: field.schema["default"] for name, field in fields.items() if "default" in field.schema}

    def parse(values: dict[str, Any]) -> dict[str, Any]:
        found = {**defaults, **values}
        errors = list(checker.iter_errors(found))
        if errors:
            raise ProfileInvalid.because([_schema_error(error) for error in errors[:MAX_FIELDS]])
        return {name: found[name] for name in (*fields, *(found.keys() - fields.keys())) if name in found}

    def parse_one(name: str, value: Any) -> Any:
        errors = list(checker.evolve(schema=whole["properties"][name]).iter_errors(value))
        if errors:
            raise ProfileInvalid.because([_schema_error(errors[0], name)])
        return value

    name = re.sub(r"\W+", "", str(schema.get("title", ""))) or "Profile"
    return Profile(name, whole, whole, fields, takes_others, parse, parse_one)


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, Mapping):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"]
        for each in schema.values():
            yield from _references(each)
    elif isinstance(schema, list):
        for each in schema:
            yield from _references(each)


def _is_there(reference: str, schema: Any) -> bool:
    """Whether a JSON pointer means something; an anchor, which is none, is left to `jsonschema`."""
    if reference not in {"#", ""} and not reference.startswith("#/"):
        return True
    found = schema
    for part in reference.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, list) and name.isdecimal() and int(name) < len(found):
            found = found[int(name)]
        elif isinstance(found, Mapping) and name in found:
            found = found[name]
        else:
            return False
    return True


def _schema_error(error: Any, *within: str) -> FieldError:
    """Say it without the value, which the library quotes."""
    path = [*within, *error.absolute_path]
    if error.validator == "required":
        path.append(next((name for name in error.validator_value if name not in error.instance), "?"))
        return fault(".".join(map(str, path)), "missing", "Field required")
    wanted = json.dumps(error.validator_value, ensure_ascii=False)
    said = f" {wanted}" if len(wanted) <= _MAX_SHOWN else ""
    return fault(".".join(map(str, path)), str(error.validator), f"Should satisfy {error.validator}{said}")


def _read_schema(path: Path) -> Any:
    try:
        return read_json(path.read_bytes())
    except OSError as error:
        raise ValueError(f"names the file {path}, which cannot be read: {error.strerror}.") from None
    except JsonRefused as error:
        where = f", line {error.line}" if error.line else ""
        raise ValueError(f"names the file {path}, which is no JSON ({error.flaw.name.lower()}{where}).") from None


def _fields(schema: Mapping[str, Any]) -> dict[str, ProfileField]:
    """Read the fields of a JSON Schema of an object.

    Raises:
        ValueError: one cannot be a field here.
    """
    definitions, required = schema.get("$defs", {}), set(schema.get("required", ()))
    fields = {
        name: ProfileField(
            kinds=kinds_in(each, definitions),
            schema=each if isinstance(each, Mapping) else {},
            required=name in required,
            read_only=isinstance(each, Mapping) and each.get("readOnly") is True,
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
