"""How commands print: tables for people, JSON lines for programs, and how far long work is.

Standard output carries data alone; everything said to a person goes to standard error. So `--json | jq` always works.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

import typer

if TYPE_CHECKING:
    from rich.console import Console

_LINE_EVERY_SECONDS = 5.0


class Output:
    """Where a command's results go: tables for people, or JSON lines (`--json`) for programs.

    Args:
        json: the command's `--json`.
    """

    def __init__(self, json: bool = False) -> None:
        self.json = json

    def row(self, value: object, *, title: str | None = None) -> None:
        """Print one thing: a mapping, a dataclass or a Pydantic model. People see a fact that is a mapping in parts:
        `profile.department`.
        """
        facts = _facts(value)
        if self.json:
            write_line(facts)
            return
        from rich.table import Table

        table = Table.grid(padding=(0, 2))
        table.title = title
        table.title_justify = "left"
        for name, fact in facts.items():
            parts = {f"{name}.{part}": each for part, each in fact.items()} if isinstance(fact, Mapping) else {}
            for shown, each in (parts or {name: fact or None if isinstance(fact, Mapping) else fact}).items():
                table.add_row(shown, _for_people(each))
        _console().print(table)

    def table(self, rows: Iterable[object], *, columns: Sequence[str], empty: str = "None.") -> None:
        """Print many of a kind: a table of `columns`, or each as a JSON line with everything in it.

        Args:
            rows: mappings, dataclasses or Pydantic models.
            columns: the names of values to show to a person, in order.
            empty: what to tell a person instead of an empty table.
        """
        if self.json:
            for row in rows:
                write_line(_facts(row))
            return
        from rich import box
        from rich.table import Table

        table = Table(*columns, box=box.SIMPLE_HEAD)
        for row in rows:
            facts = _facts(row)
            table.add_row(*(_for_people(facts.get(column)) for column in columns))
        if table.row_count:
            _console().print(table)
        else:
            self.say(empty)

    def line(self, text: str) -> None:
        """Print one line of data as it is."""
        typer.echo(text)

    def say(self, text: str) -> None:
        """Tell a person something that is no data. Nothing of it with `--json`."""
        if not self.json:
            typer.echo(text, err=True)

    def warn(self, text: str) -> None:
        """Tell a person something to look after, with `--json` too."""
        typer.echo(f"Warning: {text}", err=True)


def _facts(value: object) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    dump = getattr(value, "model_dump", None)
    if dump is None:
        raise TypeError(f"{type(value).__name__} has no named values to print")
    return dict(dump(mode="json"))


def _for_people(fact: object) -> str:
    """One cell. Control characters and markup in stored text must not reach a terminal."""
    from rich.markup import escape

    match fact:
        case None:
            return "-"
        case bool():
            return "yes" if fact else "no"
        case datetime():
            return fact.strftime("%Y-%m-%d %H:%M:%S") + ("Z" if fact.tzinfo else "")
        case list() | tuple():
            return ", ".join(_for_people(item) for item in fact) or "-"
    return escape("".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in str(fact)))


def _for_programs(value: object) -> object:
    match value:
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case date():
            return value.isoformat()
        case UUID() | Path():
            return str(value)
        case set() | frozenset():
            return sorted(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def write_line(value: object, *, err: bool = False) -> None:
    """Print one JSON line, on standard error with `err`."""
    typer.echo(json.dumps(value, ensure_ascii=False, default=_for_programs), err=err)


def _console(*, stderr: bool = False) -> Console:
    """A console for one use, so that it follows where the streams go now; in a pipe it is not cut to 80 columns."""
    from rich.console import Console

    console = Console(stderr=stderr, highlight=False, soft_wrap=False)
    if not console.is_terminal:
        console.width = 1000
    return console


class Progress(Protocol):
    """Shows how far long work is."""

    def __call__(self, count: int, *, at: float | None = None) -> None:
        """Tell that `count` more are done, and where the work stands `at` when the total is not counted in the same."""


@contextmanager
def progress(doing: str, *, total: float | None = None, unit: str = "rows", quiet: bool = False) -> Iterator[Progress]:
    """Show progress on standard error: a bar with rate and time left on a terminal, elsewhere a line every few seconds.

    Elsewhere the last line says how far it came, once; nothing of it when the work raises.

    Args:
        doing: what is done, such as `Importing`.
        total: how much there is, when known; in bytes of a file, say, while `unit` is rows: then tell `at`.
        unit: what is counted.
        quiet: show nothing. With `--json` a program reads, and finds on standard error what went wrong, as JSON.

    Example:
        with progress("Importing", total=size) as done:
            done(1000, at=file.tell())
    """
    meter = _Meter(doing, total, unit)
    if quiet:
        yield meter.add
        return
    if not _console(stderr=True).is_terminal:
        yield meter.lines
        meter.finish_lines()
        return
    from rich import progress as bars

    shown = bars.Progress(
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        *((bars.TaskProgressColumn(),) if total else ()),
        bars.TextColumn("{task.fields[counted]}"),
        *((bars.TimeRemainingColumn(),) if total else (bars.TimeElapsedColumn(),)),
        console=_console(stderr=True),
        refresh_per_second=5,
    )
    with shown:
        task = shown.add_task(doing, total=total, counted="")

        def step(count: int, *, at: float | None = None) -> None:
            meter.add(count, at=at)
            shown.update(task, completed=meter.position, counted=meter.rate())

        yield step


class _Meter:
    """Counts, and says so in words."""

    def __init__(self, doing: str, total: float | None, unit: str) -> None:
        self._doing, self._total, self._unit = doing, total, unit
        self._began = self._said = time.monotonic()
        self._count = 0
        self._said_count: int | None = None
        self.position: float = 0

    def add(self, count: int, *, at: float | None = None) -> None:
        self._count += count
        self.position = self._count if at is None else at

    def lines(self, count: int, *, at: float | None = None) -> None:
        self.add(count, at=at)
        if time.monotonic() - self._said >= _LINE_EVERY_SECONDS:
            self._print_line()

    def finish_lines(self) -> None:
        if self._count != self._said_count:
            self._print_line()

    def rate(self) -> str:
        seconds = max(time.monotonic() - self._began, 0.001)
        return f"{self._count:,} {self._unit}, {self._count / seconds:,.0f} a second"

    def _print_line(self) -> None:
        self._said, self._said_count = time.monotonic(), self._count
        part = f", {min(self.position / self._total, 1):.0%}" if self._total else ""
        typer.echo(f"{self._doing}: {self.rate()}{part}", err=True)
