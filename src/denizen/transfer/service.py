"""Bringing accounts in and taking them out, batch by batch, with the truth told about every row."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core import failures
from denizen.core.accounts import Accounts
from denizen.core.database import Database
from denizen.core.errors import DenizenError, StorageFull, Unavailable
from denizen.core.events import record
from denizen.core.hashing import HashingBusy, Lane
from denizen.core.types import format_utc
from denizen.transfer import crud
from denizen.transfer.adapters.formats import make_writer
from denizen.transfer.crud import KINDS, Extract, Part, Seen, Taken
from denizen.transfer.errors import RowRejected
from denizen.transfer.events import UsersImported
from denizen.transfer.schemas import EXPORTED, Account, Format, Row, RowReader, RowResult, make_account, refused
from denizen.users.errors import TAKEN
from denizen.users.schemas import UserFilter
from denizen.users.service import plan_filter

MAX_BATCH: Final = 5_000
EXPORT_BATCH: Final = 10_000

_LEAST_BATCH: Final = 2_000
"""Fewer are written more slowly: each batch touches pages all over nine indexes."""

_BATCH_BYTES: Final = 4 * 1024 * 1024
_BATCH_PASSWORDS: Final = 100

_BATCH_SECONDS: Final = 0.4
"""How long a batch should keep others from writing: SQLite has one writer at a time."""

_PAUSE: Final = 0.25
"""For how much of a batch's time others may write before the next one (SQLite). Other processes look for the lock now
and then; without a pause they would find it taken again and again."""

_SLICE_SECONDS: Final = 0.002
"""How long rows are checked before the event loop gets a turn."""

_WRITE_SECONDS: Final = 60.0
_MANY: Final = 10_000
"""So many new accounts change how the table is best read."""
_TRIES: Final = 3


async def import_users(
    accounts: Accounts,
    chunks: AsyncIterable[bytes],
    reader: RowReader,
    *,
    dry_run: bool = False,
    max_batch: int = MAX_BATCH,
) -> AsyncGenerator[list[RowResult]]:
    """Create an account for every row that can have one.

    The next batch is read and checked while one is being written. Each is a transaction of its own, sized so that it
    takes less than half a second: when the process is killed, whole batches are in, and another run brings in the rest.

    Args:
        accounts: where.
        chunks: the bytes of the file, in pieces of any size.
        reader: of the file's form.
        dry_run: write nothing, and tell what would be.
        max_batch: rows in one transaction at most.

    Yields:
        The results of one batch, in the order of the file, once they are committed. Closing the generator ends it.

    Raises:
        FileRefused: before anything was written.
        Unavailable, StorageFull: nothing of the batch in hand was written, unless the commit itself was cut off.
    """
    pace = _Pace(max_batch, pause=_PAUSE if accounts.database.kind == "sqlite" and not dry_run else 0.0)
    batches = _batches(accounts, chunks, reader, pace)
    seen = Seen()
    ahead = asyncio.create_task(_next(batches))
    created = 0
    try:
        while (batch := await ahead) is not None:
            ahead = asyncio.create_task(_next(batches))
            results = await (_try_out if dry_run else _store)(accounts, batch, seen, pace)
            created += sum(result.id is not None for result in results)
            yield sorted(batch.results + results) if batch.results else results
        if created >= _MANY:
            with suppress(Unavailable):  # the rows are in all the same
                async with accounts.database.write.begin(timeout=_WRITE_SECONDS) as db:
                    await crud.refresh_statistics(db)
    finally:
        ahead.cancel()
        await asyncio.gather(ahead, return_exceptions=True)
        await batches.aclose()
        seen.close()


# --- Out ---------------------------------------------------------------------------------------------


def plan_export(asked: UserFilter, form: Format, *, with_hashes: bool) -> Extract:
    """Turn what was asked for into what an index serves.

    Raises:
        ListingUnsupported, EmailInvalid, UsernameInvalid: as a list under this filter.
    """
    return Extract(plan_filter(asked), form, (*EXPORTED, "hashed_password") if with_hashes else EXPORTED)


async def export_users(database: Database, extract: Extract, *, size: int = EXPORT_BATCH) -> AsyncGenerator[Part]:
    """Give a file of accounts, in the order of their ids or of their range's field.

    What changes meanwhile is read as it is when its turn comes; an account that is there all the time comes once. Under
    a range of `updated_at` one that changes meanwhile may come twice, since it moves to the end.

    Args:
        database: to read.
        extract: what.
        size: how many rows a part has.

    Yields:
        The parts, at least one, of which the first begins with the header. Closing the generator ends what is read.

    Raises:
        Unavailable: the database is away; what was given until then is no whole file.
    """
    header = make_writer(extract.form, extract.columns).begin().encode()
    async with aclosing(crud.read_parts(database, extract, size=size)) as parts:
        async for part in parts:
            yield Part(header + part.data, part.rows) if header else part
            header = b""


# --- Batches -----------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Batch:
    """Rows that are written together: those that may be, and the results of those that cannot."""

    accounts: list[Account] = field(default_factory=list)
    results: list[RowResult] = field(default_factory=list)
    passwords: int = 0

    def add(self, accounts: Accounts, row: Row, at: str) -> None:
        """Check `row` and put it where it belongs."""
        try:
            if isinstance(row.values, DenizenError):
                raise row.values
            account = make_account(row.line, row.values, at=at, reads_hash=accounts.hashing.hasher.reads)
            if account.password is not None:
                accounts.check_password(account.password, account.username, account.email, account.full_name)
                self.passwords += 1
        except DenizenError as error:
            self.results.append(refused(row.line, error))
        else:
            self.accounts.append(account)


class _Pace:
    """How many rows the next batch has, and when it may be written."""

    def __init__(self, most: int, *, pause: float) -> None:
        self._most = most
        self._pause = pause
        self._free_at = 0.0
        self.rows = min(_LEAST_BATCH, most)

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


async def _next(batches: AsyncIterator[_Batch]) -> _Batch | None:
    return await anext(batches, None)


async def _batches(
    accounts: Accounts, chunks: AsyncIterable[bytes], reader: RowReader, pace: _Pace
) -> AsyncGenerator[_Batch]:
    """Read and check rows, giving way to whatever else the event loop has to do."""
    batch, size = _Batch(), 0
    at, until = format_utc(accounts.clock()), 0.0
    async for rows, read in _pieces(chunks, reader):
        size += read
        for row in rows:
            batch.add(accounts, row, at)
            count = len(batch.accounts) + len(batch.results)
            if count >= pace.rows or size >= _BATCH_BYTES or batch.passwords >= _BATCH_PASSWORDS:
                yield batch
                batch, size, at = _Batch(), 0, format_utc(accounts.clock())
            if time.perf_counter() > until:
                await asyncio.sleep(0)
                until = time.perf_counter() + _SLICE_SECONDS
    if batch.accounts or batch.results:
        yield batch


async def _pieces(chunks: AsyncIterable[bytes], reader: RowReader) -> AsyncIterator[tuple[Iterator[Row], int]]:
    async for chunk in chunks:
        yield reader.feed(chunk), len(chunk)
    yield reader.finish(), 0


# --- Writing -----------------------------------------------------------------------------------------


async def _store(accounts: Accounts, batch: _Batch, seen: Seen, pace: _Pace) -> list[RowResult]:
    """Write a batch, and keep which line brought which account."""
    rows, results = batch.accounts, list[RowResult]()
    if batch.passwords:
        rows, results = await _hash_passwords(accounts, rows, seen)
    await pace.wait()
    began = time.monotonic()
    if rows:
        results += await _write(accounts, rows, seen)
    pace.note(len(batch.accounts) + len(batch.results), time.monotonic() - began)
    seen.add_created(results)
    return sorted(results) if batch.passwords else results


async def _write(accounts: Accounts, rows: Sequence[Account], seen: Seen) -> list[RowResult]:
    """Write `rows` in one transaction; in two halves where the database refuses them in a way of its own."""
    committing = False
    for tries_left in reversed(range(_TRIES)):
        try:
            async with accounts.writing(timeout=_WRITE_SECONDS) as db:
                results = await _insert(db, rows, seen)
                if accounts.listeners:
                    created = tuple(UUID(result.id) for result in results if result.id is not None)
                    await record(db, UsersImported(created))
                committing = True
        except (IntegrityError, DataError, failures.RowRefused):
            break
        except StorageFull:
            raise
        except Unavailable:
            # Whoever lost a deadlock was rolled back and may try again. Whether a commit that was cut off was made,
            # nobody knows.
            if committing or not tries_left:
                raise
            await asyncio.sleep(1.0)
        else:
            return results
    if len(rows) == 1:
        return [refused(rows[0].line, RowRejected("The database does not take this row."))]
    half = len(rows) // 2
    return await _write(accounts, rows[:half], seen) + await _write(accounts, rows[half:], seen)


async def _insert(db: AsyncSession, rows: Sequence[Account], seen: Seen) -> list[RowResult]:
    """Store what the unique indexes let in, and tell who is in the way of the others."""
    results: dict[int, RowResult] = {}
    lines: dict[str, int] = {}
    left = rows
    for _ in range(_TRIES):
        refusals: list[Account] = []
        for run in _distinct(left):
            stored = await crud.insert_accounts(db, run)
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
            return _already(account, column, line)
    return None


def _already(account: Account, column: str, line: int | None) -> RowResult:
    kind, detail, name = TAKEN[column]
    if line is not None:
        detail = f"{detail}, in line {line} of this file"
    return RowResult(account.line, "refused", None, kind.code, name, detail)


async def _hash_passwords(
    accounts: Accounts, rows: Sequence[Account], seen: Seen
) -> tuple[list[Account], list[RowResult]]:
    """Hash the passwords of `rows`; not those of accounts that are there already, which would take long for nothing."""
    async with accounts.database.read.slow() as db:
        taken = await crud.find_taken(db, (row for row in rows if row.password is not None))
    clashes = {row.line: clash for row in rows if row.password is not None and (clash := _clash(row, taken, {}, seen))}
    places = asyncio.Semaphore(accounts.settings.hash_threads)

    async def ready(row: Account) -> Account:
        if row.password is None:
            return row
        async with places:
            return row._replace(hashed_password=await _hash(accounts, row.password), password=None)

    return list(await asyncio.gather(*(ready(row) for row in rows if row.line not in clashes))), list(clashes.values())


async def _hash(accounts: Accounts, password: str) -> str:
    """Hash one password; wait while sign-ins and sign-ups fill the queue."""
    for _ in range(_TRIES):
        try:
            return await accounts.hashing.hash(password, lane=Lane.TRUSTED)
        except HashingBusy as busy:
            await asyncio.sleep(busy.retry_after or 1)
    return await accounts.hashing.hash(password, lane=Lane.TRUSTED)


async def _try_out(accounts: Accounts, batch: _Batch, seen: Seen, pace: _Pace) -> list[RowResult]:
    """Tell what `_store` would."""
    began = time.monotonic()
    async with accounts.database.read.slow() as db:
        taken = await crud.find_taken(db, batch.accounts)
    results = []
    for count, account in enumerate(batch.accounts):
        clash = _would_clash(account, taken, seen)
        if clash is None:
            seen.add_asked(account)
        results.append(clash or RowResult(account.line, "valid"))
        if count % 100 == 0:
            await asyncio.sleep(0)
    pace.note(len(results), time.monotonic() - began)
    return results


def _would_clash(account: Account, taken: Taken, seen: Seen) -> RowResult | None:
    for column in KINDS:
        value = getattr(account, column)
        if value is None:
            continue
        if value in taken[column]:
            return _already(account, column, None)
        line = seen.line_that_asked(column, value)
        if line is not None:
            return _already(account, column, line)
    return None
