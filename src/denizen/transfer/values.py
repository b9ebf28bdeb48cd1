"""The values of rows: what they must be, and what an account is made of."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from itertools import chain, repeat
from typing import Any, Final

from denizen.core.accounts import Accounts
from denizen.core.identifiers import (
    MAX_EMAIL_LENGTH,
    MAX_EXTERNAL_ID_LENGTH,
    MAX_FULL_NAME_LENGTH,
    MAX_KEY_LENGTH,
    MAX_USERNAME_LENGTH,
    EmailInvalid,
    Identity,
    UsernameInvalid,
    check_username_email,
    identify,
)
from denizen.core.ids import new_id, new_ids, parse_id
from denizen.core.profiles import Profile, changed_profile, new_profile
from denizen.core.text import is_storable
from denizen.core.types import format_utc, write_json
from denizen.core.words import search_text
from denizen.roles.schemas import MAX_ROLES
from denizen.transfer.errors import (
    BooleanInvalid,
    HashNotAllowed,
    HashUnsupported,
    IdInvalid,
    MatchMissing,
    PasswordAndHash,
    RolesNotAllowed,
    TextUnacceptable,
    TimeInvalid,
    TypeInvalid,
    ValueEmpty,
    ValueTooLong,
    VersionExhausted,
    VersionInvalid,
)
from denizen.transfer.schemas import MAX_VERSION, OWN, Account, Format, ImportOptions
from denizen.users.models import MAX_HASH_LENGTH

_NOTHING: Final = frozenset[str]()
_MAX_PASSWORD: Final = 4096
_IDS: Final = 32
"""Ids that are made together."""
_FIRST: Final = datetime(1900, 1, 1, tzinfo=UTC)
_LAST: Final = datetime(3000, 1, 1, tzinfo=UTC)


def _text(column: str, longest: int) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if type(value) is str and len(value) <= longest and value.isascii() and "\x00" not in value:
            return value  # as a rule
        if type(value) is not str:
            raise TypeInvalid(f"{column} is text.", field=column)
        if len(value) > longest:
            raise ValueTooLong(f"{column} has at most {longest} characters.", field=column)
        if not is_storable(value):
            raise TextUnacceptable(f"{column} must not contain U+0000 or half of a surrogate pair.", field=column)
        return value

    return check


_external_id_text = _text("external_id", MAX_EXTERNAL_ID_LENGTH)
_id_text = _text("id", 64)


def _external_id(value: Any) -> str:
    text = _external_id_text(value)
    if not text:
        raise ValueEmpty(
            "external_id has at least one character; leave it out where there is none.", field="external_id"
        )
    return text


def _id(value: Any) -> str:
    found = parse_id(_id_text(value))
    if found is None:
        raise IdInvalid("id is a UUID of version 7, such as 019a5c1e-7f00-7a11-8b22-3c33d44e55f6.", field="id")
    return str(found)


def _is_active(value: Any) -> bool:
    if type(value) is not bool:
        raise BooleanInvalid("is_active is true or false.", field="is_active")
    return value


def _version(value: Any) -> int:
    if type(value) is not int or not 1 <= value <= MAX_VERSION:
        raise VersionInvalid(f"version is a whole number from 1 to {MAX_VERSION}.", field="version")
    return value


def _time(column: str) -> Callable[[Any], str]:
    as_text = _text(column, 64)

    def check(value: Any) -> str:
        text = as_text(value)
        try:
            instant = datetime.fromisoformat(text)
            if instant.tzinfo is not None and _FIRST <= instant < _LAST:
                return format_utc(instant)
        except (ValueError, OverflowError):
            pass
        raise TimeInvalid(f"{column} is a time with its zone, such as 2026-01-31T09:30:00Z.", field=column)

    return check


def _roles(value: Any) -> tuple[str, ...]:
    if type(value) is not list or any(type(each) is not str for each in value):
        raise TypeInvalid("roles is a list of names.", field="roles")
    if len(value) > MAX_ROLES:
        raise ValueTooLong(f"roles has at most {MAX_ROLES} names.", field="roles")
    return tuple(dict.fromkeys(value))


def _profile(value: Any) -> dict[str, Any]:
    if type(value) is not dict:
        raise TypeInvalid("profile is an object.", field="profile")
    return value


_CHECKS: Final[dict[str, Callable[[Any], Any]]] = {
    "id": _id,
    # Before normalisation, which may make them shorter; `identify` knows the real limits.
    "username": _text("username", 4 * MAX_USERNAME_LENGTH),
    "email": _text("email", 4 * MAX_EMAIL_LENGTH),
    "external_id": _external_id,
    "full_name": _text("full_name", MAX_FULL_NAME_LENGTH),
    "is_active": _is_active,
    "email_verified_at": _time("email_verified_at"),
    "created_at": _time("created_at"),
    "updated_at": _time("updated_at"),
    "version": _version,
    "hashed_password": _text("hashed_password", MAX_HASH_LENGTH),
    "password": _text("password", _MAX_PASSWORD),
    "roles": _roles,
    "profile": _profile,
}


def make_account(
    row_line: int,
    values: dict[str, Any],
    *,
    at: str,
    reads_hash: Callable[[str], bool],
    options: ImportOptions = ImportOptions(),  # noqa: B008  (it is frozen)
    make_id: Callable[[], str] = lambda: str(new_id()),
    make_own: Callable[[dict[str, Any] | None], dict[str, Any]] = lambda given: given or {},
) -> Account:
    """Check the values of one row.

    Args:
        row_line: where the row is.
        values: by column, in JSON's types; `None` is as good as absent.
        at: what `created_at` and `updated_at` are when absent, as `format_utc` writes it.
        reads_hash: tells whether a password can be checked against a hash: `Hasher.reads`.
        options: of the import. Where an account may be there, the row need not have all that a new one needs.
        make_id: gives the id of a row that has none.
        make_own: gives the own fields of a new account. Where an account may be there, that waits until it is known.

    Raises:
        RowRefused, IdentityMissing, EmailInvalid, UsernameInvalid, ProfileInvalid: the first thing that is wrong.
    """
    known = {name: _CHECKS[name](value) for name, value in values.items() if value is not None}
    get, whole = known.get, options.mode == "create"
    username, email, email_key, username_key, skeleton = (identify if whole else _identify_partly)(
        get("username"), get("email")
    )
    if skeleton is not None and (len(skeleton) > MAX_KEY_LENGTH or len(username_key or "") > MAX_KEY_LENGTH):
        raise UsernameInvalid("This username is too long once its letters are taken apart.", field="username")
    if options.mode == "upsert" and options.match not in known:
        raise MatchMissing(f"This row has no {options.match} to find its account by.", field=options.match)
    if get("roles") and not options.with_roles:
        raise RolesNotAllowed("Roles take the scope roles:write.", field="roles")
    if "hashed_password" in known:
        _check_hash(known, reads_hash, options)
    external_id, full_name, own = get("external_id"), get("full_name"), get("profile")
    if whole:
        own = make_own(own) or None
    return Account(
        get("id") or make_id(),
        username,
        email,
        external_id,
        full_name,
        get("hashed_password"),
        get("is_active", True),
        get("email_verified_at"),
        get("created_at", at),
        get("updated_at", at),
        get("version", 1),
        email_key,
        username_key,
        skeleton,
        write_json(own) if whole and own else "{}",
        search_text(username, email, full_name, external_id),
        row_line,
        get("password"),
        _NOTHING if whole else frozenset(known),
        get("roles", ()),
        own,
    )


MakeAccount = Callable[[int, dict[str, Any]], Account]
"""Makes an account of a row's line and values."""


def account_maker(accounts: Accounts, options: ImportOptions) -> MakeAccount:
    """Give what makes accounts of rows that are there already: their times and ids are of this moment."""
    at, reads_hash = format_utc(accounts.clock()), accounts.hashing.hasher.reads
    make_id = chain.from_iterable(map(new_ids, repeat(_IDS))).__next__
    profile = accounts.profile
    usual = new_profile(profile, None, by_owner=False)

    def make_own(given: dict[str, Any] | None) -> dict[str, Any]:
        return new_profile(profile, given, by_owner=False) if given else usual

    return lambda line, values: make_account(
        line, values, at=at, reads_hash=reads_hash, options=options, make_id=make_id, make_own=make_own
    )


def _check_hash(known: Mapping[str, Any], reads_hash: Callable[[str], bool], options: ImportOptions) -> None:
    if "password" in known:
        raise PasswordAndHash("Give the password or its hash, not both.", field="password")
    if not options.with_hashes:
        raise HashNotAllowed("Hashes of passwords take the scope users:hashes.", field="hashed_password")
    if not reads_hash(known["hashed_password"]):
        raise HashUnsupported("hashed_password is an argon2 hash in the PHC format.", field="hashed_password")


def _identify_partly(username: str | None, email: str | None) -> Identity:
    """Check names as `identify` does, but for what they have to be together: the account may have the other one."""
    if username is None and email is None:
        return Identity(None, None, None, None, None)
    if username is None or "@" not in username:
        return identify(username, email)
    try:
        alone = identify(username, username)
    except EmailInvalid:
        raise UsernameInvalid(
            "A username with an @ must be the same person's e-mail address.", field="username"
        ) from None
    found = identify(None, email) if email is not None else Identity(None, None, None, None, None)
    return alone._replace(email=found.email, email_key=found.email_key)


# --- Changes ---------------------------------------------------------------------------------------------

_SETS: Final[Mapping[str, tuple[str, ...]]] = {
    "username": ("username", "username_key", "username_skeleton"),
    "email": ("email", "email_key"),
    "external_id": ("external_id",),
    "full_name": ("full_name",),
    "is_active": ("is_active",),
    "email_verified_at": ("email_verified_at",),
    "hashed_password": ("hashed_password",),
}
"""What each column of a row sets in an account that is there. The others never change one."""

_FOUND_BY: Final = frozenset({"username", "email", "full_name", "external_id"})


def merged(old: Account, row: Account, profile: Profile | None, *, at: str) -> Account:
    """Give an account with what a row sets; `old` itself where nothing differs.

    Args:
        old: as it is stored.
        row: for it.
        profile: the own fields that there are.
        at: becomes `updated_at`.

    Raises:
        VersionExhausted, UsernameInvalid, ProfileInvalid: it cannot be changed so.
    """
    values = {
        column: value
        for name in row.given
        for column in _SETS.get(name, ())
        if (value := getattr(row, column)) != getattr(old, column)
    }
    own = _own_of(old, row, profile)
    if own is not None:
        values |= {"profile": write_json(own), "own": own}
    if not values:
        return old
    if "email_key" in values:  # nobody has proved the new one, but where the row says so
        values.setdefault("email_verified_at", row.email_verified_at)
    if is_first_proof(old, values) and "hashed_password" not in row.given:
        values["hashed_password"] = None  # whoever chose it may have been a stranger
    if old.version == MAX_VERSION:
        raise VersionExhausted("The account of this row was changed as often as its version can count.")
    new = old._replace(**values, line=row.line, updated_at=at, version=old.version + 1)
    if new.username is not None:
        check_username_email(new.username, new.email)
    if values.keys().isdisjoint(_FOUND_BY):
        return new
    return new._replace(found_by=search_text(new.username, new.email, new.full_name, new.external_id))


def _own_of(old: Account, row: Account, profile: Profile | None) -> dict[str, Any] | None:
    """Give the own fields of an account after a row; `None` where they stay as they are."""
    if row.own is None:
        return None
    stored = json.loads(old.profile)
    if row.own:
        own = changed_profile(profile, stored, row.own, by_owner=False)
    elif not stored:  # as an export has somebody who got none: there may be defaults by now
        own = new_profile(profile, None, by_owner=False)
    else:
        return None
    return None if _plain(own) == _plain(stored) else own


def with_own(account: Account, own: dict[str, Any]) -> Account:
    """Give a new account with the own fields that it gets."""
    return account._replace(profile=write_json(own), own=own) if own else account._replace(own=None)


def _plain(own: dict[str, Any]) -> str:
    """Write own fields so that the same ones are the same text: PostgreSQL has an order of its own, and writes `1e3` as
    `1000`. Python would take `true` for `1`.
    """

    def plain(value: Any) -> Any:
        match value:
            case float() if value.is_integer():
                return int(value)
            case dict():
                return {name: plain(each) for name, each in value.items()}
            case list():
                return [plain(each) for each in value]
        return value

    return json.dumps(plain(own), sort_keys=True)


def is_first_proof(old: Account, values: Mapping[str, Any]) -> bool:
    """Tell whether a row says that an address was proved, of an account that had never proved one: what was made before
    ends then, as after the letter that proves it.
    """
    return old.email_verified_at is None and values.get("email_verified_at") is not None


# --- Out -----------------------------------------------------------------------------------------------


def own_columns(profile: Profile | None, form: Format) -> tuple[tuple[str, ...], frozenset[str]]:
    """Give the columns of own fields, and which of them are text; the others are JSON, which says what type they have.

    Args:
        profile: the own fields that there are.
        form: of the file. NDJSON has one object, also where there are none.
    """
    if form == "ndjson":
        return ("profile",), frozenset()
    fields = {} if profile is None else profile.fields
    texts = frozenset(f"{OWN}{name}" for name, field in fields.items() if field.kinds <= {"string", "null"})
    return tuple(f"{OWN}{name}" for name in fields), texts
