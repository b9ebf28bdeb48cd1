"""The fields that a host or an operator adds to accounts: what may be stored of them, and how text is read as one.

They are one JSON object of each account, so that a field more is no migration. `core.profile_sources` makes a `Profile`
out of a Pydantic model or of a JSON Schema; nobody else knows which of the two it was.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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


_UNSTORABLE: Final = "must not contain U+0000 or half of a surrogate pair"
_sorted: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
_encode: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

NO_PROFILE: Final = (
    "Accounts have no fields of their own here: set DENIZEN_PROFILE, or install with `profile=`, to give them some."
)


def canonical(value: Any) -> str:
    """Give the text that equal JSON values share: 5 and 5.0 do, as to JSON Schema and to whatever a browser sends back;
    1 and `true`, which are equal to Python, do not.
    """
    return _sorted(_with_whole_numbers(value))


def _with_whole_numbers(value: Any) -> Any:
    match value:
        case dict():
            return {key: _with_whole_numbers(each) for key, each in value.items()}
        case list() | tuple():
            return [_with_whole_numbers(each) for each in value]
        case float() if value.is_integer():
            return int(value)
    return value


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
        _check_size(values)  # before it is judged, which may take long for very much
        found = self._parse_with_what_fits(values, kept) if by_owner else self.parse(values)
        _check_storable(found)  # what a validator makes of it, too
        _check_size(found)
        return found

    def _parse_with_what_fits(self, values: dict[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
        """Judge what somebody sets of his own. What is stored of fields that he may not set, and does not fit any more,
        goes: he could not mend it.
        """
        try:
            return self.parse(values)
        except ProfileInvalid:
            misfits = {name for name, field in self.fields.items() if field.read_only and not self._fits(name, stored)}
            if not misfits:
                raise
        return self.parse({name: value for name, value in values.items() if name not in misfits})

    def _fits(self, name: str, stored: Mapping[str, Any]) -> bool:
        if name not in stored:
            return True
        try:
            self.parse_one(name, stored[name])
        except ProfileInvalid:
            return False
        return True

    def _check_names(self, stored: Mapping[str, Any], given: Mapping[str, Any], *, by_owner: bool) -> None:
        errors = []
        for name, value in given.items():
            field = self.fields.get(name)
            if field is None and not (self.takes_others and is_field_name(name)):
                errors.append(fault(name, "extra_forbidden", "Accounts have no such field here"))
            elif field is not None and field.read_only and by_owner and not _is_there(stored, name, value):
                errors.append(fault(name, "read_only", "Is set by others, with the permission users:write"))
            elif not all(map(is_storable, _texts(value))):
                errors.append(fault(name, "string_unacceptable", _UNSTORABLE))
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
        if isinstance(value, float) and value.is_integer() and not field.kinds & {"number", "string"}:
            value = int(value)  # as JSON Schema's integers are read
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
        _check_storable({name: value})
        if value is None:
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
    """Whether it is stored, to the letter: to Python `[1]` and `[true]` are equal."""
    return name in stored and canonical(stored[name]) == canonical(value)


def _check_size(values: Mapping[str, Any]) -> None:
    if len(_encode(values).encode(errors="surrogatepass")) > MAX_PROFILE_SIZE:
        sentence = f"takes more than {MAX_PROFILE_SIZE // 1024} KiB"
        raise ProfileInvalid.because([FieldError("profile", "too_large", sentence)])


MAX_NUMBER: Final = 2.0**63
LEAST_NUMBER: Final = 1e-30
"""What is written with more digits than `core.json` reads: PostgreSQL writes numbers without exponent."""


def _check_storable(values: Mapping[str, Any]) -> None:
    """Refuse what one of the databases, JSON, or a file that is imported again does not take.

    Raises:
        ProfileInvalid: with every field at fault.
    """
    errors = []
    for name, value in values.items():
        if not all(map(is_storable, _texts(value))):
            errors.append(fault(name, "string_unacceptable", _UNSTORABLE))
        elif not all(map(_is_writable, _numbers(value))):
            sentence = "Should be a number within 64 bits, and no nearer to 0 than 1e-30"
            errors.append(fault(name, "number_unacceptable", sentence))
    if errors:
        raise ProfileInvalid.because(errors)


def _is_writable(number: float) -> bool:
    if isinstance(number, int):
        return -(2**63) <= number < 2**63
    return math.isfinite(number) and (number == 0 or LEAST_NUMBER <= abs(number) < MAX_NUMBER)


def _leaves(value: Any) -> Iterator[Any]:
    """Give all that a JSON value holds, the keys of its objects too."""
    waiting = [value]
    while waiting:
        match waiting.pop():
            case dict() as members:
                yield from members
                waiting += members.values()
            case list() | tuple() as items:
                waiting += items
            case leaf:
                yield leaf


def _texts(value: Any) -> Iterator[str]:
    return (leaf for leaf in _leaves(value) if isinstance(leaf, str))


def _numbers(value: Any) -> Iterator[float]:
    return (leaf for leaf in _leaves(value) if isinstance(leaf, int | float))
