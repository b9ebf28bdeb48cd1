"""The rows of files: which columns there are, what their values must be, and what is told about each row."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, NamedTuple, Protocol

from pydantic import Field

from denizen.core.errors import DenizenError
from denizen.core.identifiers import (
    MAX_EMAIL_LENGTH,
    MAX_EXTERNAL_ID_LENGTH,
    MAX_FULL_NAME_LENGTH,
    MAX_KEY_LENGTH,
    MAX_USERNAME_LENGTH,
    UsernameInvalid,
    identify,
)
from denizen.core.ids import new_id, parse_id
from denizen.core.text import is_storable
from denizen.core.types import format_utc
from denizen.core.words import search_text
from denizen.transfer.errors import (
    BooleanInvalid,
    ColumnUnknown,
    HashUnsupported,
    IdInvalid,
    PasswordAndHash,
    TextUnacceptable,
    TimeInvalid,
    TypeInvalid,
    ValueEmpty,
    ValueTooLong,
    VersionInvalid,
)
from denizen.users.models import MAX_HASH_LENGTH
from denizen.users.schemas import UserFilter

Format = Literal["csv", "ndjson"]
Outcome = Literal["created", "valid", "refused"]

EXPORTED: Final = (
    "id",
    "username",
    "email",
    "external_id",
    "full_name",
    "is_active",
    "created_at",
    "updated_at",
    "version",
)
"""The columns of an export, in order; `hashed_password` comes last where it is asked for."""

COLUMNS: Final = (*EXPORTED, "hashed_password", "password")
"""The columns that an import knows."""

TEXTS: Final = frozenset({"username", "email", "external_id", "full_name"})
"""Columns whose values people choose: CSV neutralises those that a spreadsheet would run as a formula."""

_NAME: Final = re.compile(r"[\w .-]{1,40}")
_MAX_VERSION: Final = 2**31 - 1
_MAX_PASSWORD: Final = 4096
_FIRST: Final = datetime(1900, 1, 1, tzinfo=UTC)
_LAST: Final = datetime(3000, 1, 1, tzinfo=UTC)


def unknown_columns(names: Sequence[str]) -> ColumnUnknown:
    """Say which columns are not known; of their names only what looks like names, and five at most."""
    shown = [name for name in names if _NAME.fullmatch(name)][:5]
    more = len(names) - len(shown)
    listed = ", ".join([*shown, *([f"{more} more" if shown else f"{more} columns"] if more else [])])
    return ColumnUnknown(
        f"Accounts do not have: {listed}. Known are: {', '.join(COLUMNS)}. --ignore-unknown leaves out the rest.",
        field=shown[0] if shown else None,
    )


class Account(NamedTuple):
    """A row that may go into the database, as text and numbers that JSON carries; a `password` is still in clear, and
    `found_by` is what the search index has of it.
    """

    id: str
    username: str | None
    email: str | None
    external_id: str | None
    full_name: str | None
    hashed_password: str | None
    is_active: bool
    created_at: str
    updated_at: str
    version: int
    email_key: str | None
    username_key: str | None
    username_skeleton: str | None
    found_by: str
    line: int
    password: str | None


STORED: Final = Account._fields[:-3]
"""The columns of the table that an import fills."""


class RowResult(NamedTuple):
    """What became of one row.

    Attributes:
        line: where it begins in the file, counted from 1.
        outcome: `valid` stands for `created` on a dry run.
        id: of the account that was created.
        code: why it was refused, for programs.
        field: the column at fault, where it is one.
        message: why it was refused, for people. Repeats nothing of the row.
    """

    line: int
    outcome: Outcome
    id: str | None = None
    code: str | None = None
    field: str | None = None
    message: str | None = None


def refused(line: int, error: DenizenError) -> RowResult:
    """Tell `error` about the row at `line`."""
    return RowResult(line, "refused", None, error.code, error.field, error.detail)


class Row(NamedTuple):
    """What a reader found at `line`: values by column, absent ones left out, or what is wrong with the row."""

    line: int
    values: dict[str, Any] | DenizenError


class RowReader(Protocol):
    """Turns the bytes of a file, in pieces of any size, into rows, with memory for one row alone."""

    def feed(self, data: bytes) -> Iterator[Row]:
        """Take the next piece; give the rows that end in it.

        Raises:
            FileRefused: at the first row or before.
        """

    def finish(self) -> Iterator[Row]:
        """Give what is left at the end of the file.

        Raises:
            FileRefused: the file has no beginning either.
        """


class RowWriter(Protocol):
    """Writes rows of values in the order of its columns."""

    def begin(self) -> str:
        """Give what stands before the first row."""

    def write(self, rows: Sequence[Sequence[Any]]) -> str:
        """Give `rows` as text, each with its line end."""


@dataclass(slots=True)
class Summary:
    """All results of an import, counted.

    Attributes:
        codes: how often each code was told.
        problems: the first of the refused rows.
        last_line: of the last row with a result.
    """

    rows: int = 0
    created: int = 0
    valid: int = 0
    refused: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    problems: list[RowResult] = field(default_factory=list)
    last_line: int = 0

    def add(self, results: Sequence[RowResult], *, keep: int = 10) -> None:
        """Count `results`; keep the first problems, `keep` at most."""
        self.rows += len(results)
        for result in results:
            if result.outcome == "refused":
                self.refused += 1
                self.codes[result.code or ""] += 1
                if len(self.problems) < keep:
                    self.problems.append(result)
            elif result.outcome == "created":
                self.created += 1
            else:
                self.valid += 1
        if results:
            self.last_line = results[-1].line


# --- Values ------------------------------------------------------------------------------------------


def _text(column: str, longest: int) -> Callable[[Any], str]:
    def check(value: Any) -> str:
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
    if type(value) is not int or not 1 <= value <= _MAX_VERSION:
        raise VersionInvalid(f"version is a whole number from 1 to {_MAX_VERSION}.", field="version")
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


_CHECKS: Final[dict[str, Callable[[Any], Any]]] = {
    "id": _id,
    # Before normalisation, which may make them shorter; `identify` knows the real limits.
    "username": _text("username", 4 * MAX_USERNAME_LENGTH),
    "email": _text("email", 4 * MAX_EMAIL_LENGTH),
    "external_id": _external_id,
    "full_name": _text("full_name", MAX_FULL_NAME_LENGTH),
    "is_active": _is_active,
    "created_at": _time("created_at"),
    "updated_at": _time("updated_at"),
    "version": _version,
    "hashed_password": _text("hashed_password", MAX_HASH_LENGTH),
    "password": _text("password", _MAX_PASSWORD),
}


def make_account(row_line: int, values: dict[str, Any], *, at: str, reads_hash: Callable[[str], bool]) -> Account:
    """Check the values of one row.

    Args:
        row_line: where the row is.
        values: by column, in JSON's types; `None` is as good as absent.
        at: what `created_at` and `updated_at` are when absent, as `format_utc` writes it.
        reads_hash: tells whether a password can be checked against a hash: `Hasher.reads`.

    Raises:
        RowRefused, IdentityMissing, EmailInvalid, UsernameInvalid: the first thing that is wrong.
    """
    known = {name: _CHECKS[name](value) for name, value in values.items() if value is not None}
    get = known.get
    username, email, email_key, username_key, skeleton = identify(get("username"), get("email"))
    if skeleton is not None and (len(skeleton) > MAX_KEY_LENGTH or len(username_key or "") > MAX_KEY_LENGTH):
        raise UsernameInvalid("This username is too long once its letters are taken apart.", field="username")
    hashed, password = get("hashed_password"), get("password")
    if hashed is not None and password is not None:
        raise PasswordAndHash("Give the password or its hash, not both.", field="password")
    if hashed is not None and not reads_hash(hashed):
        raise HashUnsupported("hashed_password is an argon2 hash in the PHC format.", field="hashed_password")
    return Account(
        get("id") or str(new_id()),
        username,
        email,
        get("external_id"),
        get("full_name"),
        hashed,
        get("is_active", True),
        get("created_at", at),
        get("updated_at", at),
        get("version", 1),
        email_key,
        username_key,
        skeleton,
        search_text(username, email, get("full_name"), get("external_id")),
        row_line,
        password,
    )


# --- Out -----------------------------------------------------------------------------------------------


class ExportQuery(UserFilter):
    """Which accounts, and how they are written."""

    format: Annotated[
        Format | None, Field(description="Without it `Accept` decides between the two; NDJSON by default.")
    ] = None
    with_hashes: Annotated[
        bool, Field(description="With `hashed_password`, which needs the scope `users:hashes` as well.")
    ] = False
