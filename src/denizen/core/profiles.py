"""The fields that a host or an operator adds to accounts: what may be stored of them, and how text is read as one.

They are one JSON object of each account, so that a field more is no migration. `core.profile_sources` makes a `Profile`
out of a Pydantic model or of a JSON Schema; nobody else knows which of the two it was.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any, Final

from denizen.core.errors import FieldError, Invalid
from denizen.core.json import JsonRefused, read_json
from denizen.core.text import is_storable

MAX_PROFILE_SIZE: Final = 16 * 1024
"""Bytes that the fields of one account take as JSON: lists show all of them, 1,000 accounts at a time."""

MAX_FIELDS: Final = 100
MAX_FIELD_NAME: Final = 40

SCALARS: Final = frozenset({"string", "integer", "number", "boolean", "null"})
"""JSON's types that a filter can compare."""

Parse = Callable[[dict[str, Any]], dict[str, Any]]
"""Gives whole profiles as they are stored, with their defaults.

Raises:
    ProfileInvalid: with every field at fault.
"""

ParseOne = Callable[[str, Any], Any]
"""The same of one field by its name, as far as that says nothing of others."""


class ProfileInvalid(Invalid):
    """An account's own fields are not what the profile of this installation says, or it has none."""

    code = "profile_invalid"
    title = "Invalid profile"

    @classmethod
    def because(cls, errors: Sequence[FieldError]) -> ProfileInvalid:
        """Give it for every field at fault."""
        if len(errors) == 1:
            only = errors[0]
            return cls(f"{only.field}: {only.message}.", field=only.field, errors=errors)
        return cls(f"{len(errors)} fields are not valid.", errors=errors)


def new_profile(profile: Profile | None, given: Mapping[str, Any] | None, *, by_owner: bool) -> dict[str, Any]:
    """Give the own fields of a new account.

    Args:
        profile: of the install; `None` where it has none.
        given: the fields; `None` for an account that gets them later: then it has the defaults, or none where some
            field has no default.
        by_owner: whether somebody signs up.

    Raises:
        ProfileInvalid: as `Profile.change`; or fields are given where there is no profile.
    """
    if profile is None:
        if given:
            raise ProfileInvalid(NO_PROFILE, field="profile")
        return {}
    try:
        return profile.change({}, given or {}, by_owner=by_owner)
    except ProfileInvalid:
        if given is None:
            return {}
        raise


def changed_profile(
    profile: Profile | None, stored: Mapping[str, Any], given: Mapping[str, Any], *, by_owner: bool
) -> dict[str, Any]:
    """Give the own fields of an account after a change: as `Profile.change`, or as `new_profile` without a profile."""
    if profile is None:
        if given:
            raise ProfileInvalid(NO_PROFILE, field="profile")
        return dict(stored)
    return profile.change(stored, given, by_owner=by_owner)


_encode: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

NO_PROFILE: Final = (
    "Accounts have no fields of their own here: set DENIZEN_PROFILE, or install with `profile=`, to give them some."
)


def fault(name: str, code: str, message: str) -> FieldError:
    """Say what is wrong with the field `name` (`tags.0`); a name that can be none of a field's is not repeated."""
    shown = all(is_field_name(part) or part.isdecimal() for part in name.split("."))
    return FieldError(f"profile.{name}" if shown and name else "profile", code, message)


def is_field_name(name: str) -> bool:
    """Tell whether a field may have this name: it stands in query parameters, column titles and options."""
    return name.isascii() and name.isidentifier() and not name.startswith("_") and len(name) <= MAX_FIELD_NAME


@dataclass(frozen=True, slots=True)
class ProfileField:
    """One field.

    Attributes:
        kinds: JSON's types that it may have; all of them where its schema does not say.
        schema: its JSON Schema; `$ref` in it means the `$defs` of the whole.
        required: whether every profile has it.
        read_only: whether its owner sees it and others set it (`readOnly` of JSON Schema).
    """

    kinds: frozenset[str]
    schema: Mapping[str, Any]
    required: bool = False
    read_only: bool = False

    @property
    def comparable(self) -> bool:
        """Whether lists can be filtered by it."""
        return bool(self.kinds - {"null"}) and self.kinds <= SCALARS


FILTER: Final = "profile."
"""What the names of query parameters begin with that ask for accounts by their own fields."""


@dataclass(frozen=True, eq=False)
class Profile:
    """The own fields of the accounts of one install.

    Attributes:
        name: of the schema.
        schema: JSON Schema of what comes in, `$defs` and all.
        shown: JSON Schema of what goes out.
        fields: by name, in their order.
        takes_others: whether a profile may have keys that are none of `fields`.
        parse: see `Parse`.
        parse_one: see `ParseOne`.
    """

    name: str
    schema: Mapping[str, Any]
    shown: Mapping[str, Any]
    fields: Mapping[str, ProfileField]
    takes_others: bool
    parse: Parse
    parse_one: ParseOne

    @cached_property
    def filters(self) -> frozenset[str]:
        """The names of query parameters by which accounts are found: `profile.department`."""
        return frozenset(f"{FILTER}{name}" for name, field in self.fields.items() if field.comparable)

    def change(self, stored: Mapping[str, Any], given: Mapping[str, Any], *, by_owner: bool) -> dict[str, Any]:
        """Give what is stored after a change: a field that is named is set (`null` empties it), others stay.

        What `stored` has of fields that are no more goes with the first change.

        Args:
            stored: before; `{}` for a new account.
            given: the fields that are set, as JSON has them.
            by_owner: whether somebody sets his own, or signs up. What is read-only he may send back as it is.

        Raises:
            ProfileInvalid: with every field at fault.
        """
        self._check_names(stored, given, by_owner=by_owner)
        kept = {name: value for name, value in stored.items() if name in self.fields or self.takes_others}
        values = {**kept, **given}
        for name, value in given.items():
            field = self.fields.get(name)
            if value is None and (field is None or "null" not in field.kinds):
                del values[name]
        found = self.parse(values)
        if len(_encode(found).encode()) > MAX_PROFILE_SIZE:
            sentence = f"takes more than {MAX_PROFILE_SIZE // 1024} KiB"
            raise ProfileInvalid.because([FieldError("profile", "too_large", sentence)])
        return found

    def _check_names(self, stored: Mapping[str, Any], given: Mapping[str, Any], *, by_owner: bool) -> None:
        errors = []
        for name, value in given.items():
            field = self.fields.get(name)
            if field is None and not (self.takes_others and is_field_name(name)):
                errors.append(fault(name, "extra_forbidden", "Accounts have no such field here"))
            elif field is not None and field.read_only and by_owner and not _is_there(stored, name, value):
                errors.append(fault(name, "read_only", "Is set by others, with the permission users:write"))
            elif not all(map(is_storable, _texts(value))):
                sentence = "must not contain U+0000 or half of a surrogate pair"
                errors.append(fault(name, "string_unacceptable", sentence))
        if errors:
            raise ProfileInvalid.because(errors)

    def read(self, name: str, text: str) -> Any:
        """Read a value of the field `name` as people and files write it: `sales`, `7`, `true`, `["a", "b"]`; nothing is
        `null`, but of a field that holds text.

        Raises:
            ProfileInvalid: there is no such field, or it cannot hold that.
        """
        field = self.fields.get(name)
        if field is None:
            if not self.takes_others:
                raise ProfileInvalid.because([fault(name, "extra_forbidden", "Accounts have no such field here")])
            field = ProfileField(kinds=_ANY_KIND, schema={})
        if field.kinds <= {"string", "null"} or (text == "" and "string" in field.kinds):
            return text if text or "string" in field.kinds else None
        if text == "":
            return None
        try:
            value = read_json((text.lower() if text.lower() in ("true", "false") else text).encode())
        except (JsonRefused, UnicodeEncodeError):
            value = text
        if kind_of(value) in field.kinds or (kind_of(value) == "integer" and "number" in field.kinds):
            return value
        if "string" in field.kinds:
            return text
        kinds = ", ".join(sorted(field.kinds - {"null"}))
        raise ProfileInvalid.because([fault(name, "type", f"Should be of the type {kinds}")])

    def read_wanted(self, name: str, text: str) -> Any:
        """Read the value that a filter compares the field `name` with, in the form in which it is stored.

        Raises:
            ProfileInvalid: no account can have it.
        """
        field = self.fields.get(name)
        if field is None or not field.comparable:
            raise ProfileInvalid.because([fault(name, "not_comparable", "Accounts are not found by such a field")])
        value = self.parse_one(name, self.read(name, text))
        if value is None or not is_storable(str(value)):
            raise ProfileInvalid.because([fault(name, "not_comparable", "Accounts are not found by this value")])
        return value


_ANY_KIND: Final = SCALARS | {"array", "object"}


_KINDS: Final[tuple[tuple[type | tuple[type, ...], str], ...]] = (
    (bool, "boolean"), (int, "integer"), (float, "number"), (str, "string"), (list, "array"), (type(None), "null"),
)  # fmt: skip


def kind_of(value: Any) -> str:
    """Give JSON's type of a value."""
    return next((kind for of, kind in _KINDS if isinstance(value, of)), "object")


def kinds_in(schema: Any, definitions: Mapping[str, Any]) -> frozenset[str]:
    """Give JSON's types that a schema lets through: of what it says itself, and of all that it refers to.

    Args:
        schema: of one field.
        definitions: its `$defs`.
    """
    if not isinstance(schema, Mapping):
        return _ANY_KIND if schema is not False else frozenset()
    kinds = _ANY_KIND
    if "type" in schema:
        said = schema["type"]
        kinds &= frozenset([said] if isinstance(said, str) else said)
    if isinstance(reference := schema.get("$ref"), str):
        name = reference.removeprefix("#/$defs/")
        # One that refers to itself is a tree, and no scalar.
        others = {key: value for key, value in definitions.items() if key != name}
        kinds &= kinds_in(definitions[name], others) if name in definitions else _ANY_KIND
    for word in ("enum", "const"):
        if word in schema:
            kinds &= frozenset(map(kind_of, schema[word] if word == "enum" else [schema[word]]))
    for word in ("anyOf", "oneOf"):
        if word in schema:
            kinds &= frozenset().union(*(kinds_in(each, definitions) for each in schema[word]))
    for each in schema.get("allOf", ()):
        kinds &= kinds_in(each, definitions)
    return kinds


def _is_there(stored: Mapping[str, Any], name: str, value: Any) -> bool:
    return name in stored and stored[name] == value and kind_of(stored[name]) == kind_of(value)


def _texts(value: Any) -> list[str]:
    """Give every string of a JSON value, the keys of its objects too."""
    found, waiting = list[str](), [value]
    while waiting:
        match waiting.pop():
            case str() as text:
                found.append(text)
            case dict() as members:
                found += members
                waiting += members.values()
            case list() | tuple() as items:
                waiting += items
    return found


# --- How values are compared --------------------------------------------------------------------------

MAX_VALUE_LENGTH: Final = 80
"""Characters; of a longer value the digest is compared. A digest with its mark has 65."""


def compared(value: Any) -> str | None:
    """Give the text by which a value is found; `None` for one by which nobody is found: `null`, an array, an object.

    As `jsonb` compares: `5` and `5.0` are alike, `"5"` and `true` are not.
    """
    match value:
        case None | list() | dict():
            return None
        case bool():
            text = "true" if value else "false"
        case int() | float():
            text = _number(value)
        case _:
            text = json.dumps(value, ensure_ascii=False)
    # No JSON begins with this mark.
    return text if len(text) <= MAX_VALUE_LENGTH else f"#{hashlib.sha256(text.encode()).hexdigest()}"


def _number(value: float) -> str:
    """Write a number without exponent, as `numeric` does, and without what does not tell it from others."""
    text = format(Decimal(repr(value)), "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in {"-0", ""} else text


def values_of(profile: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Give the names of fields, each with the text by which it is found."""
    for name, value in profile.items():
        text = compared(value)
        if text is not None:
            yield name, text
