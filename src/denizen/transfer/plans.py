"""What becomes of the rows of a batch, where accounts may be there already: judged in Python, row by row.

Each row meets what all rows before it have left, as if every row were a transaction of its own, so that the borders of
batches change nothing. What comes of it is written by few statements: see `Plan.runs`.
"""

from __future__ import annotations

import hashlib
import sqlite3
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from operator import lt
from typing import Any, Final
from uuid import UUID

from denizen.core.errors import DenizenError, Forbidden, StorageFull
from denizen.core.events import Event
from denizen.core.identifiers import IdentityMissing, check_username_email
from denizen.core.profiles import Profile, new_profile
from denizen.roles.models import Role
from denizen.roles.plans import Rights
from denizen.transfer.crud import KINDS, Taken, find_match
from denizen.transfer.errors import AccountRepeated, IdMismatch, PasswordNotSettable
from denizen.transfer.schemas import MATCH_KEYS, Account, ImportOptions, RowResult, refused
from denizen.transfer.values import is_first_proof, merged, with_own
from denizen.users.errors import TAKEN
from denizen.users.events import EmailChanged, EmailProved, PasswordChanged, UserUpdated

_RUN: Final = 100
"""Results that are kept together: few enough for one of them to be found fast, many enough to take next to no time."""


class Seen:
    """What a file has brought so far: on disk, in a file that SQLite erases by itself, so that memory does not grow.

    Of new accounts, which most rows are and whose ids grow, a hundred are kept in one piece: a row of its own for each
    would be a twentieth of an import, for the few that are ever asked for.

    Attributes:
        forbidden: what whoever imports might not do, by line, until the audit has been told.
    """

    def __init__(self) -> None:
        self.forbidden: dict[int, Forbidden] = {}
        self._scratch = sqlite3.connect("", isolation_level=None)
        self._scratch.execute("PRAGMA journal_mode=OFF")
        self._scratch.execute("CREATE TABLE seen (mark BLOB PRIMARY KEY, line INTEGER) WITHOUT ROWID")
        self._scratch.execute("CREATE TABLE runs (first TEXT PRIMARY KEY, ids TEXT, lines BLOB)")
        self._last = ""

    def _line(self, mark: bytes) -> int | None:
        found = self._find("SELECT line FROM seen WHERE mark = ?", mark)
        return None if found is None else int(found[0])

    def _find(self, sql: str, asked: bytes | str) -> tuple[Any, ...] | None:
        with _no_room_told():
            found: tuple[Any, ...] | None = self._scratch.execute(sql, (asked,)).fetchone()
        return found

    def _add(self, marks: Iterable[tuple[bytes, int]]) -> None:
        self._write("INSERT OR IGNORE INTO seen VALUES (?, ?)", marks)

    def _write(self, sql: str, rows: Iterable[tuple[Any, ...]]) -> None:
        with _no_room_told():
            self._scratch.execute("BEGIN")
            self._scratch.executemany(sql, rows)
            self._scratch.execute("COMMIT")

    def add_results(self, results: Iterable[RowResult]) -> None:
        """Keep which line brought or changed which account."""
        kept = [each for each in results if each.id is not None and each.outcome != "skipped"]
        ids = [each.id or "" for each in kept]
        if len(ids) >= _RUN and all(map(lt, [self._last, *ids], ids)):
            self._last = ids[-1]
            lines = [each.line for each in kept]
            self._write(
                "INSERT INTO runs VALUES (?, ?, ?)",
                (
                    (ids[at], "\n".join(ids[at : at + _RUN]), array("q", lines[at : at + _RUN]).tobytes())
                    for at in range(0, len(ids), _RUN)
                ),
            )
        else:
            self._add((_id_bytes(each.id or ""), each.line) for each in kept)

    def line_of(self, user_id: str) -> int | None:
        """Return the line that brought or changed an account; `None` for one that no line did."""
        found = self._find("SELECT ids, lines FROM runs WHERE first <= ? ORDER BY first DESC LIMIT 1", user_id)
        if found is not None and (place := found[0].find(user_id)) >= 0:
            return int(array("q", found[1])[place // (len(user_id) + 1)])
        return self._line(_id_bytes(user_id))

    def add_asked(self, account: Account) -> None:
        """Keep what a row of a dry run asks for, as digests."""
        asked = [(column, value) for column in KINDS if (value := getattr(account, column)) is not None]
        self._add((_digest(column, value), account.line) for column, value in asked)

    def add_freed(self, column: str, value: str) -> None:
        """Keep what a row of a dry run would have let go."""
        self._add([(_digest(f"freed {column}", value), 0)])

    def was_freed(self, column: str, value: str) -> bool:
        """Tell whether a row of a dry run would have let go of `value`."""
        return self._line(_digest(f"freed {column}", value)) is not None

    def line_that_asked(self, column: str, value: str) -> int | None:
        """Return the line of a dry run whose row asked for `value` first."""
        return self._line(_digest(column, value))

    def close(self) -> None:
        """Erase it."""
        self._scratch.close()


@contextmanager
def _no_room_told() -> Iterator[None]:
    """Say which disk it is that has no room: the database's may have plenty."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise StorageFull(
            "There is no room for temporary files right now. What was imported is in, and can be gone on with.",
            retry_after=60,
            private="There is no room for temporary files. Make some, or name a folder that has some in TMPDIR; then "
            "go on with the import.",
        ) from error


def _id_bytes(user_id: str) -> bytes:
    return bytes.fromhex(user_id.replace("-", ""))


def _digest(column: str, value: str) -> bytes:
    return hashlib.blake2b(f"{column}\0{value}".encode(), digest_size=16).digest()


def already(account: Account, column: str, line: int | None) -> RowResult:
    """Tell that somebody has what a row wants.

    Args:
        account: the row.
        column: one of `KINDS`.
        line: that brought the one who has it, where it was one of this file.
    """
    kind, detail, name = TAKEN[column]
    if line is not None:
        detail = f"{detail}, in line {line} of this file"
    return RowResult(account.line, "refused", None, kind.code, name, detail)


@dataclass(slots=True)
class Run:
    """Accounts that can be written in any order: none takes what another of them lets go."""

    created: list[Account] = field(default_factory=list)
    updated: list[Account] = field(default_factory=list)
    freed: set[tuple[str, str]] = field(default_factory=set)


class Plan:
    """The verdicts on rows.

    Args:
        options: of the import.
        taken: by column, who holds what any of the rows wants.
        current: the accounts that rows match, by id; only `upsert` needs them.
        seen: what the batches before have done.
        rights: what may be done to whom.
        profile: the own fields that there are.
        at: becomes `updated_at`.

    Attributes:
        results: of the rows judged so far.
        grants: who gets which role, once all runs are written.
        runs: what is to be written, one run after the other.
        events: what ends what was sent to an address, or signed in with a password, that is another now.
    """

    def __init__(
        self,
        options: ImportOptions,
        taken: Taken,
        current: Mapping[str, Account],
        seen: Seen,
        rights: Rights,
        *,
        profile: Profile | None,
        at: str,
    ) -> None:
        self.results: list[RowResult] = []
        self.runs = [Run()]
        self.events: list[Event] = []
        self.grants: list[tuple[UUID, Role]] = []
        self._rights = rights
        self._profile = profile
        self._options = options
        self._key = MATCH_KEYS[options.match]
        self._taken = {column: dict(holders) for column, holders in taken.items()}
        self._current = current
        self._seen = seen
        self._at = at
        self._lines: dict[str, int] = {}

    def judge(self, rows: Iterable[Account]) -> None:
        """Decide about rows, in their order."""
        for row in rows:
            if self._options.dry_run:
                self._recall(row)
            self._seen.forbidden.pop(row.line, None)  # of another try
            try:
                self.results.append(self._judge(row))
            except DenizenError as error:
                self.results.append(refused(row.line, error))
                if isinstance(error, Forbidden):
                    self._forbid(row, error)

    def _forbid(self, row: Account, error: Forbidden) -> None:
        holder = find_match(self._taken, self._key, getattr(row, self._key))
        error.user_id = None if holder is None else UUID(holder)
        self._seen.forbidden[row.line] = error

    def _judge(self, row: Account) -> RowResult:
        key = getattr(row, self._key)
        holder = None if self._options.mode == "create" else find_match(self._taken, self._key, key)
        if holder is None:
            return self._create(row)
        if self._options.mode == "skip":
            brought_by_dry_run = self._options.dry_run and self._line_of(holder) is not None
            return RowResult(row.line, "skipped", None if brought_by_dry_run else holder)
        return self._change(row, holder)

    # New accounts.

    def _create(self, row: Account) -> RowResult:
        if row.username is None and row.email is None:
            raise IdentityMissing("A username or an e-mail address is needed.")
        if row.username is not None:
            check_username_email(row.username, row.email)
        clash = self._clash(row, None)
        if clash is not None:
            return clash
        if self._options.mode != "create":
            row = with_own(row, new_profile(self._profile, row.own or None, by_owner=False))
        self._grant(row.id, self._rights.gained(row.roles))
        self._take(row, KINDS, row.id).created.append(row)
        self._lines[row.id] = row.line
        if self._options.dry_run:
            self._seen.add_asked(row)
            return RowResult(row.line, "valid")
        return RowResult(row.line, "created", row.id)

    # Accounts that are there.

    def _change(self, row: Account, holder: str) -> RowResult:
        if "password" in row.given:
            raise PasswordNotSettable(
                "This account is there, and nobody but its owner chooses a password.", field="password"
            )
        line = self._line_of(holder)
        if line is not None:
            raise AccountRepeated(
                f"The account of this row is that of line {line} of this file.", field=self._options.match
            )
        if "id" in row.given and row.id != holder:
            raise IdMismatch("The account that this row would change has another id.", field="id")
        old = self._current[holder]
        new = merged(old, row, self._profile, at=self._at)
        clash = None if new is old else self._clash(new, holder)
        if clash is not None:
            return clash
        gained = self._rights.gained(row.roles, holder)
        if new is not old or gained:
            self._rights.check_change(holder)
        if old.is_active and not new.is_active:
            self._rights.let_go(holder)
        self._lines[holder] = row.line
        self._grant(holder, gained)
        if new is not old:
            self._move(old, new)
        if self._options.dry_run:
            self._seen.add_results([RowResult(row.line, "updated", holder)])
        return RowResult(row.line, "unchanged" if new is old and not gained else "updated", holder)

    def _grant(self, user_id: str, roles: Iterable[Role]) -> None:
        self.grants += [(UUID(user_id), role) for role in roles]

    def _move(self, old: Account, new: Account) -> None:
        """Let the account go from what it was to what it is."""
        moved = [column for column in KINDS if getattr(old, column) != getattr(new, column)]
        run = self._take(new, moved, new.id)
        run.updated.append(new)
        for column in moved:
            value = getattr(old, column)
            if value is not None:
                self._taken[column].pop(value, None)
                run.freed.add((column, value))
        if old.email_key != new.email_key:
            self.events.append(
                EmailChanged(UUID(new.id), "administrator", before={"email": old.email}, after={"email": new.email})
            )
        if is_first_proof(old, new._asdict()):
            self.events.append(EmailProved(UUID(new.id), first=True))
        if old.hashed_password != new.hashed_password:
            way = "removed" if new.hashed_password is None else "imported"
            self.events.append(PasswordChanged(UUID(new.id), way))
        if old.is_active and not new.is_active:
            self.events.append(UserUpdated(UUID(new.id), ("is_active",), after={"is_active": False}))
        if self._options.dry_run:
            self._note_move(old, new, moved)

    # Who has what.

    def _clash(self, row: Account, own: str | None) -> RowResult | None:
        for column in KINDS:
            holder = self._taken[column].get(getattr(row, column))
            if holder is not None and holder != own:
                return already(row, column, self._line_of(holder))
        return None

    def _take(self, row: Account, columns: Sequence[str], holder: str) -> Run:
        """Note that `holder` has the row's values; give the run in which it can be written."""
        values = {(column, value) for column in columns if (value := getattr(row, column)) is not None}
        if not self.runs[-1].freed.isdisjoint(values):
            self.runs.append(Run())
        for column, value in values:
            self._taken[column][value] = holder
        return self.runs[-1]

    def _line_of(self, holder: str) -> int | None:
        return self._lines.get(holder) or self._seen.line_of(holder)

    # Dry runs: what the batches before would have done is in no table.

    def _recall(self, row: Account) -> None:
        for column in KINDS:
            value = getattr(row, column)
            holders = self._taken[column]
            if value is None or holders.get(value) in self._lines:
                continue
            line = self._seen.line_that_asked(column, value)
            if line is not None:
                holders[value] = stand_in = f"{line:032x}"
                self._lines[stand_in] = line
            elif value in holders and self._seen.was_freed(column, value):
                del holders[value]

    def _note_move(self, old: Account, new: Account, moved: Sequence[str]) -> None:
        for column in moved:
            if getattr(old, column) is not None:
                self._seen.add_freed(column, getattr(old, column))
        nothing: dict[str, Any] = dict.fromkeys(column for column in KINDS if column not in moved)
        self._seen.add_asked(new._replace(**nothing))


def matched(rows: Iterable[Account], taken: Taken, options: ImportOptions) -> list[str]:
    """Give the ids of the accounts that rows match, each once."""
    key = MATCH_KEYS[options.match]
    found = (find_match(taken, key, getattr(row, key)) for row in rows)
    return list(dict.fromkeys(holder for holder in found if holder is not None))
