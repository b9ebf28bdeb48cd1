"""`denizen users import | export`."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager, nullcontext
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Annotated, Final, TextIO

import typer

from denizen.core.commands import REFUSED, Json, Output, command, open_accounts, progress
from denizen.transfer.adapters.formats import format_of, make_reader, make_writer, sniff
from denizen.transfer.schemas import Format, RowResult, Summary
from denizen.transfer.service import MAX_BATCH, export_users, import_users, plan_export
from denizen.users.crud import Shape, count_users
from denizen.users.schemas import UserFilter

app = typer.Typer()

_CHUNK_BYTES: Final = 256 * 1024
_TIME: Final = "2026-01-31T09:30:00Z"

FormatOption = Annotated[
    Format | None, typer.Option("--format", help="Where the name of the file does not say it.", show_default=False)
]


@app.command("import")
@command
async def import_(
    file: Annotated[str, typer.Argument(metavar="FILE", help="people.csv, people.ndjson, or - for standard input.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing; tell what would be.")] = False,
    report: Annotated[
        Path | None, typer.Option(help="Write there what became of every row: .csv or .ndjson.", show_default=False)
    ] = None,
    form: FormatOption = None,
    ignore_unknown: Annotated[
        bool, typer.Option("--ignore-unknown", help="Leave out columns that accounts do not have.")
    ] = False,
    batch: Annotated[int, typer.Option(min=1, max=20_000, help="Rows in one transaction, at most.")] = MAX_BATCH,
    as_json: Json = False,
) -> None:
    """Bring in accounts from a CSV or NDJSON file. A row that cannot go in is told, and stops no other.

    Exits with 1 when a row was refused.

    Example: denizen users import people.csv --dry-run

    Example: denizen users import people.csv --report results.csv
    """
    _check_files(file, report)
    out, summary, began = Output(as_json), Summary(), time.monotonic()
    async with aclosing(_Source.open(file)) as opened, open_accounts() as accounts:
        source = _Source(file, opened)
        reader = make_reader(form or await source.guess(), ignore_unknown=ignore_unknown)
        rows = import_users(accounts, source.chunks(), reader, dry_run=dry_run, max_batch=batch)
        doing = "Checking" if dry_run else "Importing"
        shown = progress(doing, total=source.size, quiet=as_json)
        with _reporting(report) as tell, _noting(out, summary), shown as done:
            async with aclosing(rows):
                async for results in rows:
                    summary.add(results)
                    tell(results)
                    done(len(results), at=source.position if source.size else None)
    _tell(out, summary, time.monotonic() - began, report, dry_run=dry_run)
    if summary.refused:
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
    }
    extract = plan_export(
        UserFilter.model_validate(asked), form or format_of(output) or "ndjson", with_hashes=with_hashes
    )
    async with open_accounts() as accounts:
        listing = extract.listing
        shape = Shape(conditions=listing.conditions)
        total = await count_users(accounts.database.read, shape, listing.values, exact=False)
        with _writing(output, private=with_hashes) as file, progress("Exporting", total=total) as done:
            async with aclosing(export_users(accounts.database, extract)) as parts:
                async for part in parts:
                    file.write(part.data)
                    done(part.rows)


# --- What an import reads ------------------------------------------------------------------------------


def _check_files(file: str, report: Path | None) -> None:
    """Refuse what cannot be meant, before anything is opened."""
    if file != "-" and not Path(file).exists():
        raise typer.BadParameter(f"There is no file {file}.", param_hint="FILE")
    if file != "-" and Path(file).is_dir():
        raise typer.BadParameter(f"{file} is a folder.", param_hint="FILE")
    if report is not None:
        if format_of(report.name) is None:
            raise typer.BadParameter("The name of the report ends in .csv or .ndjson.", param_hint="--report")
        if file != "-" and report.exists() and report.samefile(file):
            raise typer.BadParameter("The report would overwrite the file.", param_hint="--report")


class _Source:
    """The bytes of a file or of standard input.

    Attributes:
        size: in bytes, where it is known.
        position: how many were read.
    """

    def __init__(self, name: str, opened: AsyncGenerator[bytes]) -> None:
        self._name = name
        self._opened = opened
        self._first = b""
        self.size = Path(name).stat().st_size if name != "-" and Path(name).is_file() else None
        self.position = 0

    async def guess(self) -> Format:
        """Say which form it has, by its name or its first bytes."""
        self._first = await anext(self._opened, b"")
        return format_of(self._name) or sniff(self._first)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Give all bytes, in pieces."""
        self.position = len(self._first)
        yield self._first
        async for chunk in self._opened:
            self.position += len(chunk)
            yield chunk

    @staticmethod
    async def open(name: str) -> AsyncGenerator[bytes]:
        """Read files in place, and wait for pipes without keeping the event loop from its work."""
        if name == "-" and _is_pipe(sys.stdin):
            stream = asyncio.StreamReader(limit=_CHUNK_BYTES)
            pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
                lambda: asyncio.StreamReaderProtocol(stream), sys.stdin.buffer
            )
            try:
                while chunk := await stream.read(_CHUNK_BYTES):
                    yield chunk
            finally:
                pipe.close()
            return
        with nullcontext(sys.stdin.buffer) if name == "-" else Path(name).open("rb") as file:  # noqa: ASYNC230  (nobody waits)
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk


def _is_pipe(stream: TextIO) -> bool:
    """Tell whether reading `stream` may have to wait."""
    try:
        return not stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
    except OSError:  # what stands in for standard input in this process is no file at all
        return False


# --- What an import tells ------------------------------------------------------------------------------


@contextmanager
def _reporting(path: Path | None) -> Iterator[Callable[[Sequence[RowResult]], object]]:
    """Give a function that writes results to the report, each batch as soon as it is committed."""
    form = None if path is None else format_of(path.name)
    if path is None or form is None:
        yield len
        return
    writer = make_writer(form, RowResult._fields)
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(writer.begin())

        def tell(results: Sequence[RowResult]) -> None:
            file.write(writer.write(results))
            file.flush()

        yield tell


@contextmanager
def _noting(out: Output, summary: Summary) -> Iterator[None]:
    """Say how far an import came that was stopped."""
    try:
        yield
    except BaseException:
        if summary.created:
            out.say(
                f"Stopped. The rows up to line {summary.last_line} are done, {summary.created:,} accounts created. "
                "Import the file again for the rest; rows that are in are then told as taken."
            )
        raise


def _tell(out: Output, summary: Summary, seconds: float, report: Path | None, *, dry_run: bool) -> None:
    """Print the summary: JSON, or lines for people."""
    if out.json:
        facts = {"rows": summary.rows, "created": summary.created, "valid": summary.valid, "refused": summary.refused}
        problems = [result._asdict() for result in summary.problems]
        out.row(
            facts | {"seconds": round(seconds, 3), "codes": dict(summary.codes.most_common()), "problems": problems}
        )
        return
    good = f"{summary.valid:,} valid" if dry_run else f"{summary.created:,} created"
    rate = summary.rows / max(seconds, 0.001)
    rows = "1 row" if summary.rows == 1 else f"{summary.rows:,} rows"
    out.line(f"{rows}: {good}, {summary.refused:,} refused, in {seconds:.1f} s ({rate:,.0f} a second).")
    for code, count in summary.codes.most_common():
        out.line(f"  {code}: {count:,}")
    if summary.problems:
        out.line("The first of the refused rows:" if summary.refused > len(summary.problems) else "The refused rows:")
    for result in summary.problems:
        out.line(f"  line {result.line}: {result.message} ({result.code})")
    if summary.refused > len(summary.problems):
        out.line(f"All of them are in {report}." if report else "Say --report results.csv for all of them.")


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
    with NamedTemporaryFile("wb", dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            os.fchmod(file.fileno(), 0o600 if private else 0o666 & ~_umask())
            yield file.file
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            Path(file.name).unlink()
            raise
    Path(file.name).replace(path)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
