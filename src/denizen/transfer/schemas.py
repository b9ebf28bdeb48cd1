"""The rows of files: which columns there are, what is done with rows, and what is told about each row."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Final, Literal, NamedTuple, Protocol

from annotated_types import MaxLen
from pydantic import BaseModel, ConfigDict, Field

from denizen.core.auth import Caller
from denizen.core.errors import DenizenError
from denizen.core.profiles import FILTER, Profile, is_field_name
from denizen.core.text import Storable
from denizen.directory.schemas import UserFilter
from denizen.transfer.errors import ColumnUnknown, MappingInvalid, MemberRepeated

Format = Literal["csv", "ndjson"]
Outcome = Literal["created", "updated", "unchanged", "skipped", "valid", "refused"]
Mode = Literal["create", "skip", "upsert"]
Match = Literal["email", "username", "external_id"]

EXPORTED: Final = (
    "id",
    "username",
    "email",
    "external_id",
    "full_name",
    "is_active",
    "email_verified_at",
    "suspended_at",
    "suspended_until",
    "created_at",
    "updated_at",
    "version",
)
"""The columns of an export, in order; then come those of `own_columns`, and `hashed_password` where it is asked for."""

IGNORED: Final = frozenset({"suspended_at", "suspended_until"})
"""Columns of an export that an import leaves out: nobody is suspended or let back in by a file."""

COLUMNS: Final = (
    *(name for name in EXPORTED if name not in IGNORED),
    "profile",
    "hashed_password",
    "password",
    "roles",
)
"""The columns that every import knows."""

OWN: Final = FILTER
"""Stands before the name of an own field where that is a column by itself."""

_OWN_LENGTH: Final = len(OWN)

TEXTS: Final = frozenset({"username", "email", "external_id", "full_name"})
"""Columns whose values people choose: CSV neutralises those that a spreadsheet would run as a formula."""

MATCH_KEYS: Final[dict[Match, str]] = {"email": "email_key", "username": "username_key", "external_id": "external_id"}
"""The column by which accounts are found for each way to match."""

MAX_VERSION: Final = 2**31 - 1
"""What the column holds on PostgreSQL."""

_NAME: Final = re.compile(r"[\w .-]{1,48}")


class Columns:
    """The columns that imports into one install know: ours, and one for each of its own fields.

    Attributes:
        profile: the own fields; `None` where there are none.
        names: in order; `known` has them as a set, and `listed` for people.
        own: those of own fields.
    """

    def __init__(self, profile: Profile | None = None) -> None:
        self.profile = profile
        self.own = () if profile is None else tuple(f"{OWN}{name}" for name in profile.fields)
        self.names = (*COLUMNS, *self.own)
        self.known, self.listed = frozenset(self.names), ", ".join(self.names)
        self._any_case = {name.lower(): name for name in self.names}
        self._takes_others = profile is not None and profile.takes_others

    def __contains__(self, name: str) -> bool:
        """Tell whether there is such a column: by its exact name."""
        other = self._takes_others and name.startswith(OWN) and is_field_name(name.removeprefix(OWN))
        return name in self.known or other

    def find(self, text: str, name: str) -> str:
        """Give the column that a header means, in any case where no two differ in it alone; else `name`.

        Args:
            text: as it stands in the file.
            name: the same as ours are written.
        """
        found = text if text in self.known else self._any_case.get(name.lower(), name)
        return text if found not in self.known and text in self else found

    def unknown(self, names: Sequence[str]) -> ColumnUnknown:
        """Say which columns are not known; of their names only what looks like names, and five at most."""
        shown = [name for name in names if _NAME.fullmatch(name)][:5]
        more = len(names) - len(shown)
        listed = ", ".join([*shown, *([f"{more} more" if shown else f"{more} columns"] if more else [])])
        return ColumnUnknown(
            f"Accounts do not have: {listed}. Known are: {self.listed}. --ignore-unknown (over HTTP "
            "ignore_unknown=true) leaves out the rest, and --map (map) renames.",
            field=shown[0] if shown else None,
        )


NO_OWN: Final = Columns()


def gather_own(values: dict[str, Any]) -> dict[str, Any]:
    """Put what a row has in columns of own fields into one `profile`. There too `None` is as good as absent.

    Raises:
        MemberRepeated: `profile` has one of them as well.
    """
    given, others = dict[str, Any](), dict[str, Any]()
    for name, value in values.items():
        if not name.startswith(OWN):
            others[name] = value
        elif value is not None:
            given[name[_OWN_LENGTH:]] = value
    whole = others.get("profile")
    if not given or (whole is not None and type(whole) is not dict):  # `values` tells what is wrong with it
        return others
    if whole is not None and (twice := whole.keys() & given.keys()):
        raise MemberRepeated("This row has an own field twice.", field=f"{OWN}{min(twice)}")
    return {**others, "profile": {**(whole or {}), **given}}


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What becomes of rows.

    Attributes:
        mode: what happens to a row that an account is there for: `create` refuses it, `skip` leaves the account alone,
            `upsert` changes it.
        match: by which value that account is found; `create` looks for none.
        with_hashes: rows may have `hashed_password`.
        with_roles: rows may have `roles`.
        caller: who imports, who changes nobody that may do more, and gives no role that allows more; `None` for the
            operator at the command line and for a host's own code.
        dry_run: write nothing, and tell what would be.
    """

    mode: Mode = "create"
    match: Match = "email"
    with_hashes: bool = True
    dry_run: bool = False
    with_roles: bool = True
    caller: Caller | None = None

    @property
    def needed(self) -> frozenset[str]:
        """The columns of which a CSV file has to have one."""
        return frozenset({"username", "email"} if self.mode == "create" else {"username", "email", self.match})


def read_mappings(texts: Sequence[str], columns: Columns = NO_OWN) -> dict[str, str]:
    """Read `old=new` texts; a `new` that is empty leaves the column out.

    Args:
        texts: as they were given.
        columns: that there are.

    Raises:
        MappingInvalid: not of that form, no column of ours, or one column twice. Repeats no name of the file.
    """
    renamed: dict[str, str] = {}
    for text in texts:
        old, found, new = text.rpartition("=")
        old, new = old.strip(), new.strip()
        if not found or not old:
            raise MappingInvalid(
                "A mapping is written old=new, such as mail=email; old= leaves a column out.", field="map"
            )
        if new and new not in columns:
            raise MappingInvalid(f"A mapping gives a name that is no column. Known are: {columns.listed}.", field="map")
        if renamed.setdefault(old, new) != new:
            raise MappingInvalid("Two mappings rename the same column.", field="map")
    return renamed


class ImportQuery(BaseModel):
    """How to import. A parameter that is none of these is refused."""

    model_config = ConfigDict(extra="forbid")

    mode: Annotated[
        Mode, Field(description="What happens to a row that an account is there for: refused, skipped, or changes it.")
    ] = "create"
    match: Annotated[Match, Field(description="By what `skip` and `upsert` find that account.")] = "email"
    map: Annotated[
        list[Annotated[str, MaxLen(200), Storable]],
        MaxLen(100),
        Field(description="`old=new` renames a column, `old=` leaves it out. Can be given again."),
    ] = []
    ignore_unknown: Annotated[bool, Field(description="Leave out columns that accounts do not have.")] = False
    dry_run: Annotated[bool, Field(description="Write nothing, and tell what would be.")] = False


def described(
    options: ImportOptions,
    form: Format,
    renamed: Mapping[str, str],
    *,
    ignore_unknown: bool,
    profile: Profile | None = None,
) -> dict[str, Any]:
    """Give all that decides what becomes of the same bytes, for JSON: a job is gone on with as it was begun.

    Of own fields that is a digest of their schema. What code of a host's model checks besides is not in it.
    """
    told: dict[str, Any] = {
        "format": form,
        "mode": options.mode,
        "match": None if options.mode == "create" else options.match,
        "map": dict(sorted(renamed.items())),
        "ignore_unknown": ignore_unknown,
        "with_hashes": options.with_hashes,
    }
    # Said where it is not as usual: a job that an earlier release began, which knew of neither, is gone on with too.
    if not options.with_roles:
        told["with_roles"] = False
    if profile is not None:
        schema = json.dumps(profile.schema, sort_keys=True, default=str)
        told["profile"] = hashlib.sha256(schema.encode()).hexdigest()[:16]
    return told


class Account(NamedTuple):
    """A row that may go into the database, as text and numbers that JSON carries; a `password` is still in clear, and
    `found_by` is what the search index has of it. `given` names the columns that the row has, where that matters.
    `roles` are the names of those that it is to have. `profile` is JSON; `own` has the same where a change or a new
    account brings some, and before that is decided what the row gives.
    """

    id: str
    username: str | None
    email: str | None
    external_id: str | None
    full_name: str | None
    hashed_password: str | None
    is_active: bool
    email_verified_at: str | None
    created_at: str
    updated_at: str
    version: int
    email_key: str | None
    username_key: str | None
    username_skeleton: str | None
    profile: str
    found_by: str
    line: int
    password: str | None
    given: frozenset[str] = frozenset()
    roles: tuple[str, ...] = ()
    own: dict[str, Any] | None = None


STORED: Final = Account._fields[:-6]
"""The columns of the table that an import fills."""


class RowResult(NamedTuple):
    """What became of one row.

    Attributes:
        line: where it begins in the file, counted from 1.
        outcome: `valid` stands for `created` on a dry run; the others then tell what would be.
        id: of the account that was created, changed, left as it is or skipped.
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
    """Tell `error` about the row at `line`; of several fields that are at fault, each."""
    if error.field is None and error.errors:
        told = " ".join(f"{each.field}: {each.message}." for each in error.errors[:_FAULTS])
        return RowResult(line, "refused", None, error.code, error.errors[0].field, told)
    return RowResult(line, "refused", None, error.code, error.field, error.detail)


_FAULTS: Final = 5


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
    updated: int = 0
    unchanged: int = 0
    skipped: int = 0
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
        for outcome, count in Counter(result.outcome for result in results).items():
            if outcome != "refused":
                setattr(self, outcome, getattr(self, outcome) + count)
        if results:
            self.last_line = results[-1].line

    def and_also(self, results: Sequence[RowResult]) -> Summary:
        """Give the summary that `add` would make of this one."""
        twin = replace(self, codes=self.codes.copy(), problems=list(self.problems))
        twin.add(results)
        return twin

    def counts(self) -> dict[str, Any]:
        """Give what is counted, for JSON."""
        names = ("rows", "created", "updated", "unchanged", "skipped", "valid", "refused")
        return {name: getattr(self, name) for name in names} | {"codes": dict(self.codes.most_common())}


# --- Out -----------------------------------------------------------------------------------------------


class ExportQuery(UserFilter):
    """Which accounts, and how they are written."""

    format: Annotated[
        Format | None, Field(description="Without it `Accept` decides between the two; NDJSON by default.")
    ] = None
    with_hashes: Annotated[
        bool, Field(description="With `hashed_password`, which needs the scope `users:hashes` as well.")
    ] = False
