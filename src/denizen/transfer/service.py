"""Bringing accounts in and taking them out, batch by batch, with the truth told about every row."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Coroutine, Sequence
from contextlib import aclosing, suppress
from typing import Any, Final
from uuid import UUID

from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core import failures
from denizen.core.accounts import Accounts
from denizen.core.database import Database
from denizen.core.errors import StorageFull, Unavailable
from denizen.core.events import record
from denizen.core.profiles import Profile
from denizen.core.types import format_utc
from denizen.directory.schemas import UserFilter
from denizen.directory.service import plan_filter
from denizen.jobs import service as jobs
from denizen.jobs.models import Job
from denizen.jobs.service import Held, Work
from denizen.transfer import crud
from denizen.transfer.adapters.formats import make_writer
from denizen.transfer.adapters.ndjson import dump_results
from denizen.transfer.batches import (
    Ahead,
    Batch,
    Pace,
    Raced,
    hash_passwords,
    in_order,
    read_batches,
    try_out,
    write_rows,
)
from denizen.transfer.crud import Extract, Part
from denizen.transfer.errors import RowRejected
from denizen.transfer.events import UsersImported
from denizen.transfer.plans import Seen
from denizen.transfer.schemas import (
    EXPORTED,
    Format,
    ImportOptions,
    RowReader,
    RowResult,
    Summary,
    refused,
)
from denizen.transfer.values import own_columns

_MAX_BATCH: Final = 5_000
_MAX_BATCH_OF_NEW: Final = 10_000
"""On SQLite, where each batch writes pages all over the indexes, and rows that are new take little memory."""
EXPORT_BATCH: Final = 10_000

_PAUSE: Final = 0.2
"""For how much of a batch's time others may write before the next one (SQLite). Other processes look for the lock now
and then; without a pause they would find it taken again and again."""

_WRITE_SECONDS: Final = 60.0
_MANY: Final = 10_000
"""So many new accounts change how the table is best read."""
_TRIES: Final = 3

_NOBODY_SAID: Final = Work(kind="import", source="", options={})


class Import:
    """One import: first `begin`, then `results` to their end, or until that generator is closed.

    The next batch is read and checked while one is being written. Each is a transaction of its own, sized so that it
    takes less than half a second, in which the job is moved on as well: whenever the process is killed, whole batches
    are in, and whoever goes on knows exactly which.

    Args:
        accounts: where.
        chunks: the bytes of the file, in pieces of any size, from its beginning.
        reader: of the file's form.
        options: what becomes of rows.
        work: what is noted of the job. A dry run is none.
        max_batch: rows in one transaction at most, instead of as many as suit the database.

    Attributes:
        summary: of the results that were given so far.
        held: the job, once it has begun.
    """

    def __init__(
        self,
        accounts: Accounts,
        chunks: AsyncIterable[bytes],
        reader: RowReader,
        options: ImportOptions,
        *,
        work: Work = _NOBODY_SAID,
        max_batch: int | None = None,
    ) -> None:
        self.summary = Summary()
        self.held: Held | None = None
        self._accounts = accounts
        self._chunks = chunks
        self._reader = reader
        self._options = options
        self._work = work
        slows = accounts.database.kind == "sqlite" and not options.dry_run
        fitting = _MAX_BATCH_OF_NEW if slows and options.mode == "create" else _MAX_BATCH
        self._pace = Pace(max_batch or fitting, pause=_PAUSE if slows else 0.0)
        self._seen = Seen()
        self._done = self._closed = False
        self._ahead: Ahead | None = None
        self._first: Batch | None = None
        self._signs: asyncio.Task[None] | None = None

    async def begin(self, job: Job | None = None) -> None:
        """Read the first rows, and store the job or take it over.

        Args:
            job: of an import of the same bytes with the same options, to go on with.

        Raises:
            FileRefused: nothing was written.
            JobRunning: somebody else is at it.
        """
        try:
            if job is not None:
                self._hold(await jobs.take_over(self._accounts, job))
            after = self.held.position if self.held else 0
            self._ahead = Ahead(
                read_batches(self._accounts, self._chunks, self._reader, self._options, self._pace, after=after)
            )
            self._first = await self._ahead.next()
            if self.held is None and not self._options.dry_run:
                self._hold(await jobs.begin(self._accounts, self._work))
        except BaseException as error:
            await self.close(error)
            raise

    def _hold(self, held: Held) -> None:
        self.held = held
        self._signs = asyncio.create_task(jobs.give_signs(self._accounts, held))

    async def close(self, error: BaseException | None = None) -> None:
        """Let go of everything; of the job too, unless it is done. `results` does so at its end, if it was begun.

        Args:
            error: what it ended with. What is no `Exception` only stopped it, as `None` does.
        """
        if not self._closed:
            self._closed = True
            await _to_its_end(self._end(error))

    async def results(self) -> AsyncGenerator[list[RowResult]]:
        """Give the results batch by batch, in the order of the file, once they are committed; those of earlier attempts
        first.

        Raises:
            JobTakenOver: another process goes on with the job.
            Unavailable, StorageFull: nothing of the batch in hand was written, unless the commit itself was cut off;
                the job knows, and can be gone on with.
        """
        ended: BaseException | None = None
        try:
            async for results in self._earlier():
                yield results
            async for results in self._new():
                yield results
            if self.held is not None:
                await self._refresh_statistics()
                await jobs.finish(self._accounts, self.held)
                self._done = True
        except BaseException as error:
            ended = error
            raise
        finally:
            await self.close(ended)

    async def _earlier(self) -> AsyncIterator[list[RowResult]]:
        """Give what earlier attempts did, and keep which lines they were."""
        for number in range(self.held.parts if self.held else 0):
            part = await jobs.read_part(self._accounts, self.held.job_id, number)  # type: ignore[union-attr]  # as above
            results = await asyncio.to_thread(read_results, part)
            self._seen.add_results(results)
            self.summary.add(results)
            yield results

    async def _new(self) -> AsyncIterator[list[RowResult]]:
        assert self._ahead is not None  # noqa: S101  (`begin` comes first)
        batch, self._first = self._first, None
        while batch is not None:
            if self._options.dry_run:
                results = await self._try_out(batch)
                self.summary.add(results)
            else:
                results = await self._store(batch)
            forbidden, self._seen.forbidden = self._seen.forbidden, {}
            await self._accounts.refused_within(forbidden.values())
            yield results
            batch = await self._ahead.next()

    async def _end(self, error: BaseException | None) -> None:
        if self._signs is not None:
            self._signs.cancel()
            await asyncio.gather(self._signs, return_exceptions=True)
        if self._ahead is not None:
            await self._ahead.close()
        self._seen.close()
        if self.held is None or self._done:
            return
        if isinstance(error, Exception):
            await jobs.fail(self._accounts, self.held, error)
        else:  # it was stopped
            await jobs.let_go(self._accounts, self.held)

    async def _refresh_statistics(self) -> None:
        if self.summary.created >= _MANY:
            with suppress(Unavailable):  # the rows are in all the same
                async with self._accounts.database.write.begin(timeout=_WRITE_SECONDS) as db:
                    await crud.refresh_statistics(db)

    # One batch.

    async def _try_out(self, batch: Batch) -> list[RowResult]:
        began = time.monotonic()
        at = format_utc(self._accounts.clock())
        for _ in range(_TRIES):
            with suppress(Raced):
                async with self._accounts.database.read.slow() as db:
                    self._accounts.adopt(db)
                    told = await try_out(db, batch.accounts, self._options, self._seen, at=at)
                self._pace.note(len(batch), time.monotonic() - began)
                return in_order([*batch.results, *told])
        raise Unavailable("Accounts change faster than they can be read. Try again in a moment.", retry_after=1)

    async def _store(self, batch: Batch) -> list[RowResult]:
        """Write a batch, and keep which line brought or changed which account."""
        count = len(batch)
        if batch.passwords:
            batch = await hash_passwords(self._accounts, batch, self._options, self._seen)
        await self._pace.wait()
        began = time.monotonic()
        results = await self._write(batch)
        self._pace.note(count, time.monotonic() - began)
        return results

    async def _write(self, batch: Batch) -> list[RowResult]:
        """Write a batch in one transaction; in two halves where the database refuses it in a way of its own."""
        committing = False
        for tries_left in reversed(range(_TRIES)):
            try:
                async with self._accounts.writing(timeout=_WRITE_SECONDS) as db:
                    results, summary = await self._apply(db, batch)
                    committing = True
            except (IntegrityError, DataError, failures.RowRefused, Raced) as error:
                if not tries_left or (self._options.mode == "create" and not isinstance(error, Raced)):
                    return await self._write_halves(batch)
            except StorageFull:
                raise
            except Unavailable:
                # Whoever lost a deadlock was rolled back and may try again. Of a commit that was cut off, the job
                # knows whether it was made.
                if committing or not tries_left:
                    raise
                await asyncio.sleep(1.0)
            else:
                self._has_advanced(results, summary)
                return results
        raise AssertionError("unreachable: each way out returns or raises")  # for mypy

    async def _write_halves(self, batch: Batch) -> list[RowResult]:
        if len(batch.accounts) > 1:
            first, second = batch.halves()
            return await self._write(first) + await self._write(second)
        told = [refused(row.line, RowRejected("The database does not take this row.")) for row in batch.accounts]
        return await self._write(Batch([], in_order([*batch.results, *told]), read=batch.read))

    async def _apply(self, db: AsyncSession, batch: Batch) -> tuple[list[RowResult], Summary]:
        """Write the rows of a batch, their results and how far the job is, in one transaction."""
        at = self._accounts.clock()
        told: list[RowResult] = []
        if batch.accounts:
            told = await write_rows(db, batch.accounts, self._options, self._seen, at=format_utc(at))
            await self._record(db, told)
        results = in_order([*batch.results, *told]) if batch.results else told
        summary = self.summary.and_also(results)
        if self.held is not None:
            await jobs.advance(
                db,
                self.held,
                at=at,
                position=batch.last_line,
                bytes_done=batch.read,
                counts=json.dumps(summary.counts()),
                results=await asyncio.to_thread(lambda: jobs.packed(dump_results(results))),
            )
        return results, summary

    async def _record(self, db: AsyncSession, results: Sequence[RowResult]) -> None:
        if not (self._accounts.listeners or self._accounts.afterthoughts):
            return
        created, updated = (
            tuple(UUID(result.id) for result in results if result.outcome == outcome and result.id is not None)
            for outcome in ("created", "updated")
        )
        if created or updated:
            await record(db, UsersImported(created, updated))

    def _has_advanced(self, results: Sequence[RowResult], summary: Summary) -> None:
        self.summary = summary
        if self.held is not None:
            self.held.parts += 1
        self._seen.add_results(results)


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Do `work` whole, also where whoever waits for it is cancelled meanwhile, once or again and again."""
    doing = asyncio.create_task(work)
    while not doing.done():
        with suppress(asyncio.CancelledError):
            await asyncio.shield(doing)
    doing.result()


def read_results(part: bytes) -> list[RowResult]:
    """Read a job's results of one batch."""
    return [RowResult(**json.loads(line)) for line in part.splitlines()]


async def import_users(
    accounts: Accounts,
    chunks: AsyncIterable[bytes],
    reader: RowReader,
    options: ImportOptions = ImportOptions(),  # noqa: B008  (it is frozen)
    *,
    work: Work = _NOBODY_SAID,
    max_batch: int | None = None,
) -> AsyncGenerator[list[RowResult]]:
    """Import a file from its beginning to its end; see `Import`.

    Yields:
        The results of one batch, in the order of the file, once they are committed. Closing the generator ends it.
    """
    running = Import(accounts, chunks, reader, options, work=work, max_batch=max_batch)
    await running.begin()
    results = running.results()
    try:
        async for part in results:
            yield part
    finally:
        await results.aclose()


# --- Out ---------------------------------------------------------------------------------------------


def plan_export(asked: UserFilter, form: Format, *, with_hashes: bool, profile: Profile | None = None) -> Extract:
    """Turn what was asked for into what an index serves.

    NDJSON has the own fields that there are (`profile`) as one object, and CSV a column for each.

    Raises:
        ListingUnsupported, EmailInvalid, UsernameInvalid, ProfileInvalid, UnknownParameter: as a list under it.
    """
    columns, texts = own_columns(profile, form)
    hashes = ("hashed_password",) if with_hashes else ()
    return Extract(plan_filter(asked, profile), form, (*EXPORTED, *columns, *hashes), texts)


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
