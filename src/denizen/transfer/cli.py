"""`denizen users import | export`."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Annotated, Final

import typer

from denizen.core.accounts import Accounts
from denizen.core.commands import REFUSED, Json, Output, command, open_accounts, progress
from denizen.core.errors import StorageFull
from denizen.directory.crud import Shape, count_users
from denizen.directory.schemas import UserFilter
from denizen.jobs.errors import JobRunning
from denizen.jobs.models import Job
from denizen.jobs.service import (
    LEASE,
    Work,
    find_job,
    find_unfinished,
    forget_old,
    require_same_options,
    state_of,
    this_runner,
)
from denizen.transfer.adapters.formats import format_of, make_reader, make_writer
from denizen.transfer.adapters.sources import Source
from denizen.transfer.errors import FileChanged
from denizen.transfer.schemas import (
    Columns,
    Format,
    ImportOptions,
    Match,
    Mode,
    RowResult,
    described,
    read_mappings,
)
from denizen.transfer.service import Import, export_users, plan_export
from denizen.users.cli import OwnFilter, own_filters, require_own

app = typer.Typer()

_TIME: Final = "2026-01-31T09:30:00Z"

FormatOption = Annotated[
    Format | None, typer.Option("--format", help="Where the name of the file does not say it.", show_default=False)
]


@app.command("import")
@command
async def import_(
    file: Annotated[str, typer.Argument(metavar="FILE", help="people.csv, people.ndjson, or - for standard input.")],
    mode: Annotated[
        Mode, typer.Option(help="What happens to a row that an account is there for: refused, skipped, or changes it.")
    ] = "create",
    match: Annotated[Match, typer.Option(help="By what skip and upsert find that account.")] = "email",
    maps: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="OLD=NEW", help="Rename a column; OLD= leaves it out. Can be said again."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an import of this file that was cut off.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing; tell what would be.")] = False,
    report: Annotated[
        Path | None, typer.Option(help="Write there what became of every row: .csv or .ndjson.", show_default=False)
    ] = None,
    form: FormatOption = None,
    ignore_unknown: Annotated[
        bool, typer.Option("--ignore-unknown", help="Leave out columns that accounts do not have.")
    ] = False,
    batch: Annotated[
        int | None, typer.Option(min=1, max=20_000, help="Rows in one transaction, at most.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Bring in accounts from a CSV or NDJSON file. A row that cannot go in is told, and stops no other.

    Exits with 1 when a row was refused.

    Example: denizen users import people.csv --dry-run

    Example: denizen users import people.csv --mode upsert --match external_id --report results.csv

    Example: denizen users import people.csv --map dept=profile.department

    Example: denizen users import people.csv --resume
    """
    _check_files(file, report, resume=resume, dry_run=dry_run)
    options = ImportOptions(mode, match, dry_run=dry_run)
    out, began = Output(as_json), time.monotonic()
    async with aclosing(Source.open(file)) as opened, open_accounts() as accounts, _collecting_seldom():
        source, columns = Source(file, opened), Columns(accounts.profile)
        renamed = read_mappings(maps or (), columns)
        form = form or await source.guess()
        reader = make_reader(
            form, ignore_unknown=ignore_unknown, renamed=renamed, needed=options.needed, columns=columns
        )
        work = Work(
            kind="import",
            source=_shown(file),
            options=described(options, form, renamed, ignore_unknown=ignore_unknown, profile=accounts.profile),
            source_digest=None if dry_run else await source.digest(accounts),
            bytes_total=source.size,
        )
        job = None if dry_run else await _find_job(accounts, work, out, resume=resume)
        running = Import(accounts, source.chunks(), reader, options, work=work, max_batch=batch)
        shown = progress("Checking" if dry_run else "Importing", total=source.size, quiet=as_json)
        with _noting(out, running, file):
            await running.begin(job)
            with _reporting(report) as tell, shown as done:
                async with aclosing(running.results()) as parts:
                    async for results in parts:
                        tell(results)
                        done(len(results), at=source.position if source.size else None)
        if not dry_run:
            await forget_old(accounts)  # where no server runs, nobody else does
    _tell(out, running, time.monotonic() - began, report, dry_run=dry_run)
    if running.summary.refused:
        raise typer.Exit(REFUSED)


@app.command("export")
@command
async def export(
    output: Annotated[str, typer.Option("--output", "-o", help="people.csv, people.ndjson, or - for stdout.")] = "-",
    form: FormatOption = None,
    active: Annotated[bool | None, typer.Option("--active/--inactive", help="Only those.", show_default=False)] = None,
    email: Annotated[str | None, typer.Option(help="Only this e-mail address, in any case.")] = None,
    username: Annotated[str | None, typer.Option(help="Only this username, in any case.")] = None,
    external_id: Annotated[str | None, typer.Option(help="Only this external id.")] = None,
    ids: Annotated[list[str] | None, typer.Option("--id", help="Only this id. Can be repeated.")] = None,
    profile: OwnFilter = None,
    created_since: Annotated[str | None, typer.Option(help=f"Only those created then or later: {_TIME}.")] = None,
    created_before: Annotated[str | None, typer.Option(help="Only those created before.")] = None,
    updated_since: Annotated[str | None, typer.Option(help="Only those changed then or later.")] = None,
    updated_before: Annotated[str | None, typer.Option(help="Only those not changed since.")] = None,
    with_hashes: Annotated[
        bool, typer.Option("--with-hashes", help="With the hashes of passwords, which are secrets.")
    ] = False,
) -> None:
    """Take out accounts, as a file that `denizen users import` brings back in as they are.

    Example: denizen users export --output people.csv

    Example: denizen users export --inactive | jq .email

    Example: denizen users export --profile department=sales --output sales.csv

    Example: denizen users export --updated-since 2026-01-31T00:00:00Z --output changed.ndjson
    """
    asked = {
        "is_active": active,
        "email": email,
        "username": username,
        "external_id": external_id,
        "id__in": ids or None,
        "created_at__gte": created_since,
        "created_at__lt": created_before,
        "updated_at__gte": updated_since,
        "updated_at__lt": updated_before,
        **own_filters(profile),
    }
    which, form = UserFilter.model_validate(asked), form or format_of(output) or "ndjson"
    async with open_accounts() as accounts:
        require_own(accounts.profile, which.own_fields)
        extract = plan_export(which, form, with_hashes=with_hashes, profile=accounts.profile)
        listing = extract.listing
        shape = Shape(conditions=listing.conditions)
        total = await count_users(accounts.database.read, shape, listing.values, exact=False)
        with _writing(output, private=with_hashes) as file, progress("Exporting", total=total) as done:
            async with aclosing(export_users(accounts.database, extract)) as parts:
                async for part in parts:
                    file.write(part.data)
                    done(part.rows)


# --- What an import reads ------------------------------------------------------------------------------


@asynccontextmanager
async def _collecting_seldom() -> AsyncIterator[None]:
    """Let Python look for circles of garbage seldom: rows make none, and looking for some is a tenth of an import."""
    before = gc.get_threshold()
    gc.set_threshold(50_000, 20, 20)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _shown(name: str | Path) -> str:
    """Give a file's name as text: it may be any bytes, of which Python makes what no encoding has."""
    return os.fsencode(name).decode(errors="replace")


def _check_files(file: str, report: Path | None, *, resume: bool, dry_run: bool) -> None:
    """Refuse what cannot be meant, before anything is opened."""
    if resume and dry_run:
        raise typer.BadParameter("A dry run writes nothing that could be gone on with.", param_hint="--resume")
    if file == "-" and resume:
        raise typer.BadParameter(
            "What comes on standard input is gone once it was read, and cannot be gone on with.", param_hint="--resume"
        )
    if file != "-" and not Path(file).exists():
        raise typer.BadParameter(f"There is no file {file}.", param_hint="FILE")
    if file != "-" and Path(file).is_dir():
        raise typer.BadParameter(f"{file} is a folder.", param_hint="FILE")
    if report is not None:
        if format_of(report.name) is None:
            raise typer.BadParameter("The name of the report ends in .csv or .ndjson.", param_hint="--report")
        if file != "-" and report.exists() and report.samefile(file):
            raise typer.BadParameter("The report would overwrite the file.", param_hint="--report")
        report.open("ab").close()  # told now if it cannot be written; emptied once the import has begun


# --- What was begun before --------------------------------------------------------------------------------


async def _find_job(accounts: Accounts, work: Work, out: Output, *, resume: bool) -> Job | None:
    """Find the import of the same file that was cut off, and wait until nobody can be at it any more.

    Raises:
        JobOptionsDiffer: it was begun otherwise.
        JobRunning: somebody is at it.
    """
    job = await find_unfinished(accounts, work)
    if not resume:
        if job is not None and state_of(job, accounts.clock()) != "running":
            out.say(
                f"An import of this file was cut off behind line {job.position}. This one begins anew; "
                "with --resume it would go on there."
            )
        return None
    if job is None:
        out.say("No import of this file was cut off: this one begins at its beginning.")
        return None
    require_same_options(job, work)
    job = await _wait_for_claim(accounts, job, out)
    out.say(f"Going on behind line {job.position}.")
    return job


async def _wait_for_claim(accounts: Accounts, job: Job, out: Output) -> Job:
    """Wait for the lease of a process that gives no sign of life: of another host nobody knows whether it lives."""
    at = accounts.clock()
    if state_of(job, at) != "running":
        return job
    left = (job.claimed_until - at).total_seconds()
    host, pid, _ = job.runner.rsplit(":", 2)
    if host == this_runner().rsplit(":", 2)[0]:
        raise JobRunning(f"Process {pid} on this machine is importing this file. Wait for it, or end it.")
    out.say(f"Process {pid} on {host} was at this less than {LEASE.seconds} s ago. Waiting {left:.0f} s for its claim.")
    await asyncio.sleep(left + 0.1)
    again = await find_job(accounts, job.id)
    if state_of(again, accounts.clock()) == "running":
        raise JobRunning(f"Process {pid} on {host} is importing this file. Wait for it, or end it.")
    return again


# --- What an import tells ------------------------------------------------------------------------------


@contextmanager
def _reporting(path: Path | None) -> Iterator[Callable[[Sequence[RowResult]], object]]:
    """Give a function that writes results to the report, each batch as soon as it is committed."""
    form = None if path is None else format_of(path.name)
    if path is None or form is None:
        yield len
        return
    writer = make_writer(form, RowResult._fields)
    with _no_room_told(path), path.open("w", encoding="utf-8", newline="") as file:
        file.write(writer.begin())

        def tell(results: Sequence[RowResult]) -> None:
            file.write(writer.write(results))
            file.flush()

        yield tell


@contextmanager
def _noting(out: Output, running: Import, file: str) -> Iterator[None]:
    """Say how far an import came that was stopped."""
    try:
        yield
    except BaseException as error:
        summary, anew = running.summary, file == "-" or isinstance(error, FileChanged)
        if running.held is not None and summary.rows:
            out.say(
                f"Stopped. The rows up to line {summary.last_line} are done, {summary.created:,} accounts created. "
                + ("Import the rest of it anew." if anew else "With --resume the same command goes on there.")
            )
        raise


_GOOD: Final = ("created", "updated", "unchanged", "skipped", "valid")


def _tell(out: Output, running: Import, seconds: float, report: Path | None, *, dry_run: bool) -> None:
    """Print the summary: JSON, or lines for people."""
    summary = running.summary
    if out.json:
        problems = [result._asdict() for result in summary.problems]
        job = None if running.held is None else str(running.held.job_id)
        out.row(summary.counts() | {"seconds": round(seconds, 3), "problems": problems, "job": job})
        return
    counts = summary.counts()
    named = [f"{counts[name]:,} {name}" for name in _GOOD if counts[name]]
    good = ", ".join(named) or ("0 valid" if dry_run else "0 created")
    rate = summary.rows / max(seconds, 0.001)
    rows = "1 row" if summary.rows == 1 else f"{summary.rows:,} rows"
    out.line(f"{rows}: {good}, {summary.refused:,} refused, in {seconds:.1f} s ({rate:,.0f} a second).")
    for code, count in summary.codes.most_common():
        out.line(f"  {code}: {count:,}")
    if summary.codes["encoding_invalid"]:
        out.line("  As a rule such a file is in Windows-1252: iconv -f WINDOWS-1252 -t UTF-8 FILE > utf8.csv")
    if summary.problems:
        out.line("The first of the refused rows:" if summary.refused > len(summary.problems) else "The refused rows:")
    for result in summary.problems:
        out.line(f"  line {result.line}: {result.message} ({result.code})")
    if summary.refused > len(summary.problems):
        out.line(f"All of them are in {_shown(report)}." if report else "Say --report results.csv for all of them.")


# --- What an export writes -----------------------------------------------------------------------------


@contextmanager
def _writing(output: str, *, private: bool) -> Iterator[IO[bytes]]:
    """Open where an export goes. A file appears whole or not at all.

    Args:
        output: its name, or `-`.
        private: only its owner may read it.
    """
    path = Path(output)
    if output == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    if path.exists() and not path.is_file():  # a pipe, a device
        with path.open("wb") as special:
            yield special
        return
    path = path.resolve()
    with _no_room_told(path), NamedTemporaryFile("wb", dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            os.fchmod(file.fileno(), 0o600 if private else 0o666 & ~_umask())
            yield file.file
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            Path(file.name).unlink()
            raise
    Path(file.name).replace(path)


@contextmanager
def _no_room_told(path: Path) -> Iterator[None]:
    """Say of which file's disk there is no room left."""
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise StorageFull(f"There is no room for {path}.") from None


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
