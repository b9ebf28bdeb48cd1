"""Rows that are written together: how they are gathered, what becomes of each, and how many the next time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.accounts import Accounts
from denizen.core.errors import DenizenError
from denizen.core.events import profile_of, record
from denizen.core.types import parse_utc
from denizen.roles.batches import read_rights
from denizen.roles.service import give_many
from denizen.transfer import crud
from denizen.transfer.crud import KINDS, Taken
from denizen.transfer.errors import PasswordNotSettable, RowRejected
from denizen.transfer.plans import Plan, Seen, already, matched
from denizen.transfer.schemas import MATCH_KEYS, Account, ImportOptions, Row, RowReader, RowResult, refused
from denizen.transfer.values import MakeAccount, account_maker

_FIRST_BATCH: Final = 500
"""Nobody knows yet how fast the disk is. The next may have four times as many, and so on."""

_LEAST_BATCH: Final = 100
"""Where even these take long, others wait all the same."""

_PIECE_BYTES: Final = 16 * 1024
"""So much of a file is read in one go: of lines that are no rows too, other requests do not wait for more."""

_BATCH_BYTES: Final = 4 * 1024 * 1024
_BATCH_PASSWORDS: Final = 100

_BATCH_SECONDS: Final = 0.4
"""How long a batch should keep others from writing: SQLite has one writer at a time."""

_SLICE_SECONDS: Final = 0.002
"""How long rows are checked before the event loop gets a turn."""

_SHORT_SLICE_SECONDS: Final = 0.001
"""The same where others had something to do in the last turn: requests, of which each needs several."""

_IDLE_SECONDS: Final = 0.0002
"""A turn in which nobody else did anything takes a quarter of it."""

_TRIES: Final = 3


class Raced(Exception):
    """Somebody changed an account, or took a name, between what was read and what was written: judge anew."""


@dataclass(slots=True)
class Batch:
    """Rows in their order: those that may go in, and the results of those that cannot.

    Attributes:
        read: how many bytes of the source were read when it was full.
    """

    accounts: list[Account] = field(default_factory=list)
    results: list[RowResult] = field(default_factory=list)
    passwords: int = 0
    read: int = 0

    def __len__(self) -> int:
        return len(self.accounts) + len(self.results)

    @property
    def last_line(self) -> int:
        """Where its last row begins."""
        lines = [rows[-1].line for rows in (self.accounts, self.results) if rows]
        return max(lines, default=0)

    def add(self, accounts: Accounts, row: Row, make: MakeAccount) -> None:
        """Check `row` and put it where it belongs."""
        line, values = row
        try:
            if isinstance(values, DenizenError):
                raise values
            account = make(line, values)
            if account.password is not None:
                accounts.check_password(account.password, account.username, account.email, account.full_name)
                self.passwords += 1
        except DenizenError as error:
            self.results.append(refused(line, error))
        else:
            self.accounts.append(account)

    def halves(self) -> tuple[Batch, Batch]:
        """Split it, so that each half can be written by itself, the first one first."""
        half = len(self.accounts) // 2
        border = self.accounts[half].line
        before = [result for result in self.results if result.line < border]
        return (
            Batch(self.accounts[:half], before, read=self.read),
            Batch(self.accounts[half:], self.results[len(before) :], read=self.read),
        )


class Pace:
    """How many rows the next batch has, and when it may be written.

    Args:
        most: rows in one batch.
        pause: for how much of a batch's time others may write before the next one.
    """

    def __init__(self, most: int, *, pause: float) -> None:
        self._most = most
        self._pause = pause
        self._free_at = 0.0
        self.rows = min(_FIRST_BATCH, most)

    async def wait(self) -> None:
        """Let others write."""
        left = self._free_at - time.monotonic()
        if left > 0:
            await asyncio.sleep(left)

    def note(self, rows: int, seconds: float) -> None:
        """Learn from a batch that took `seconds`."""
        self._free_at = time.monotonic() + seconds * self._pause
        fitting = int(rows * _BATCH_SECONDS / max(seconds, 0.001))
        self.rows = min(max(fitting, _LEAST_BATCH), 4 * self.rows, self._most)


async def read_batches(
    accounts: Accounts,
    chunks: AsyncIterable[bytes],
    reader: RowReader,
    options: ImportOptions,
    pace: Pace,
    *,
    after: int = 0,
) -> AsyncGenerator[Batch]:
    """Read and check rows, giving way to whatever else the event loop has to do.

    Args:
        accounts: where they are to go.
        chunks: the bytes of the file.
        reader: of the file's form.
        options: of the import.
        pace: says how many rows a batch may have.
        after: leave out the rows up to this line: they are done.
    """
    batch, count, size, whole, turns = Batch(), 0, 0, 0, _Turns()
    async for rows, read in _pieces(chunks, reader):
        size, whole = size + read, whole + read
        make = account_maker(accounts, options)
        for row in rows:
            if row.line > after:
                batch.add(accounts, row, make)
                count += 1
            if count >= pace.rows or (size >= _BATCH_BYTES and count) or batch.passwords >= _BATCH_PASSWORDS:
                batch.read = whole
                yield batch
                batch, count, size, make = Batch(), 0, 0, account_maker(accounts, options)
            if time.perf_counter() > turns.until:
                await turns.give()
        if time.perf_counter() > turns.until:  # of lines that are no rows, too
            await turns.give()
    if batch:
        batch.read = whole
        yield batch


class _Turns:
    """Gives way to whatever else the event loop has to do: the more often, the more that is.

    Attributes:
        until: when the next turn is due, in seconds of `time.perf_counter`.
    """

    __slots__ = ("until",)

    def __init__(self) -> None:
        self.until = 0.0

    async def give(self) -> None:
        """Let the event loop take a turn."""
        left = time.perf_counter()
        await asyncio.sleep(0)
        back = time.perf_counter()
        self.until = back + (_SLICE_SECONDS if back - left < _IDLE_SECONDS else _SHORT_SLICE_SECONDS)


class Ahead:
    """Reads batches while others are written: one is ready and one in the making, so that reading goes on while writing
    pauses for others.

    Args:
        batches: is closed with this.
    """

    def __init__(self, batches: AsyncGenerator[Batch]) -> None:
        self._batches = batches
        self._ready = asyncio.Queue[Batch | Exception | None](1)
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            async for batch in self._batches:
                await self._ready.put(batch)
        except Exception as error:  # noqa: BLE001  (`next` raises it)
            await self._ready.put(error)
        else:
            await self._ready.put(None)

    async def next(self) -> Batch | None:
        """Give the next batch, or `None` once at the end.

        Raises:
            Exception: what reading ended with.
        """
        found = await self._ready.get()
        if isinstance(found, Exception):
            raise found
        return found

    async def close(self) -> None:
        """Stop reading."""
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        await self._batches.aclose()


async def _pieces(chunks: AsyncIterable[bytes], reader: RowReader) -> AsyncIterator[tuple[Iterator[Row], int]]:
    async for chunk in chunks:
        for begin in range(0, len(chunk), _PIECE_BYTES):
            piece = chunk[begin : begin + _PIECE_BYTES]
            yield reader.feed(piece), len(piece)
    yield reader.finish(), 0


# --- Passwords -----------------------------------------------------------------------------------------


async def hash_passwords(accounts: Accounts, batch: Batch, options: ImportOptions, seen: Seen) -> Batch:
    """Hash the passwords of a batch; not those of accounts that are there already, which would take long for nothing.

    Those rows get their results here.
    """
    asking = [row for row in batch.accounts if row.password is not None]
    async with accounts.database.read.slow() as db:
        taken = await crud.find_taken(db, asking)
    told = {row.line: result for row in asking if (result := _without_hash(row, taken, options, seen))}
    places = asyncio.Semaphore(accounts.settings.hash_threads)

    async def ready(row: Account) -> Account:
        if row.password is None:
            return row
        async with places:
            return row._replace(hashed_password=await accounts.hashing.hash_patiently(row.password), password=None)

    rows = await asyncio.gather(*(ready(row) for row in batch.accounts if row.line not in told))
    return Batch(list(rows), in_order([*batch.results, *told.values()]), read=batch.read)


def _without_hash(row: Account, taken: Taken, options: ImportOptions, seen: Seen) -> RowResult | None:
    """Give the result of a row whose password need not be hashed to know it."""
    if options.mode == "create":
        return _clash(row, taken, {}, seen)
    key = MATCH_KEYS[options.match]
    holder = crud.find_match(taken, key, getattr(row, key))
    if holder is None:
        return None
    if options.mode == "skip":
        return RowResult(row.line, "skipped", holder)
    detail = "This account is there, and nobody but its owner chooses a password."
    return refused(row.line, PasswordNotSettable(detail, field="password"))


# --- Writing -------------------------------------------------------------------------------------------


async def write_rows(
    db: AsyncSession, rows: Sequence[Account], options: ImportOptions, seen: Seen, *, at: str
) -> list[RowResult]:
    """Store what can be stored, and tell of each row what became of it.

    Args:
        db: a writing session; it is not committed.
        rows: in the order of the file, without passwords in clear.
        options: of the import.
        seen: what the batches before have done.
        at: becomes `updated_at` of accounts that are changed.

    Raises:
        Raced, IntegrityError: somebody else wrote between two statements; roll back, and try again.
    """
    if options.mode == "create" and not any(row.roles for row in rows):
        return await _create(db, rows, seen)
    plan = await _make_plan(db, rows, options, seen, at=at)
    for run in plan.runs:
        await crud.update_accounts(db, run.updated)
        if run.created and len(await crud.insert_accounts(db, run.created)) < len(run.created):
            raise Raced
    await give_many(db, plan.grants, at=parse_utc(at))
    for event in plan.events:
        await record(db, event)
    return plan.results


async def try_out(
    db: AsyncSession, rows: Sequence[Account], options: ImportOptions, seen: Seen, *, at: str
) -> list[RowResult]:
    """Tell what `write_rows` would."""
    plan = await _make_plan(db, rows, options, seen, at=at)
    return plan.results


async def _make_plan(db: AsyncSession, rows: Sequence[Account], options: ImportOptions, seen: Seen, *, at: str) -> Plan:
    taken = await crud.find_taken(db, rows)
    current: dict[str, Account] = {}
    if options.mode == "upsert":
        ids = matched(rows, taken, options)
        current = await crud.read_accounts(db, ids, lock=not options.dry_run)
        key = MATCH_KEYS[options.match]
        if any(taken[key].get(getattr(row, key)) != row.id for row in current.values()) or len(current) < len(ids):
            raise Raced
    asked = [(row.roles, row.is_active) for row in rows]
    rights = await read_rights(db, options.caller, list(current), asked, lock=not options.dry_run, at=parse_utc(at))
    plan = Plan(options, taken, current, seen, rights, profile=profile_of(db), at=at)
    for begin in range(0, len(rows), 100):
        plan.judge(rows[begin : begin + 100])
        await asyncio.sleep(0)  # the event loop has others to serve
    return plan


async def _create(db: AsyncSession, rows: Sequence[Account], seen: Seen) -> list[RowResult]:
    """Store what the unique indexes let in, and tell who is in the way of the others."""
    results: dict[int, RowResult] = {}
    lines: dict[str, int] = {}
    left = rows
    for _ in range(_TRIES):
        refusals: list[Account] = []
        for run in _distinct(left):
            stored = await crud.insert_accounts(db, run)
            if len(stored) == len(rows):  # as a rule
                return [RowResult(account.line, "created", account.id) for account in rows]
            for account in run:
                if account.id in stored:
                    lines[account.id] = account.line
                    results[account.line] = RowResult(account.line, "created", account.id)
                else:
                    refusals.append(account)
        if not refusals:
            break
        taken = await crud.find_taken(db, refusals)
        told = {account.line: _clash(account, taken, lines, seen) for account in refusals}
        results.update((line, result) for line, result in told.items() if result is not None)
        # Who was in the way may have gone since: then the row gets another try.
        left = [account for account in refusals if told[account.line] is None]
    for account in left:
        if account.line not in results:
            results[account.line] = refused(account.line, RowRejected("The database does not take this row."))
    return [results[account.line] for account in rows]


def _distinct(rows: Sequence[Account]) -> Iterator[Sequence[Account]]:
    """Split `rows` wherever an id comes again, so that ids tell which of them were stored."""
    if len({account.id for account in rows}) == len(rows):  # as a rule
        yield rows
        return
    begin, ids = 0, set[str]()
    for place, account in enumerate(rows):
        if account.id in ids:
            yield rows[begin:place]
            begin, ids = place, set()
        ids.add(account.id)
    yield rows[begin:]


def _clash(account: Account, taken: Taken, lines: Mapping[str, int], seen: Seen) -> RowResult | None:
    """Tell whose place `account` wanted to take.

    Args:
        account: that was not stored.
        taken: who holds what.
        lines: of the accounts of this batch, by id. Those of later rows are in nobody's way.
        seen: the lines of the batches before.
    """
    for column in KINDS:
        holder = taken[column].get(getattr(account, column))
        if holder is None:
            continue
        line = lines.get(holder) or seen.line_of(holder)
        if line is None or line < account.line:
            return already(account, column, line)
    return None


def in_order(results: Iterable[RowResult]) -> list[RowResult]:
    """Give results in the order of the file."""
    return sorted(results, key=lambda result: result.line)
