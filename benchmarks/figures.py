"""What was measured, what it should be, and how both are shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from .load import Load


@dataclass(frozen=True)
class Target:
    """What a figure should reach: at least (or at most) `value`."""

    value: float
    at_most: bool = False

    def met_by(self, value: float) -> bool:
        """Tell whether a figure reaches it."""
        return value <= self.value if self.at_most else value >= self.value

    def __str__(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {self.value:g}"


def at_least(value: float) -> Target:
    """Make a target that a figure must not fall below."""
    return Target(value)


def at_most(value: float) -> Target:
    """Make a target that a figure must not exceed."""
    return Target(value, at_most=True)


@dataclass(frozen=True)
class Figure:
    """One measured value. `target` is None for what is shown only to be compared."""

    name: str
    database: str
    value: float
    unit: str
    target: Target | None = None

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None where there is none."""
        return None if self.target is None else self.target.met_by(self.value)


@dataclass(frozen=True)
class Comparison:
    """One case on one database: the median round of each contender."""

    case: str
    database: str
    peer: Load
    denizen: Load | None
    target: Target | None = None

    @property
    def times(self) -> float | None:
        """Denizen's rate in the peer's."""
        return self.denizen.rate / self.peer.rate if self.denizen and self.peer.rate else None

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None where there is none, or nothing to compare."""
        return None if self.target is None or self.times is None else self.target.met_by(self.times)


@dataclass(frozen=True)
class Point:
    """One measured value of a database of a certain size.

    `value` is milliseconds of a call over HTTP; of an import it is rows a second, of the rows since the step before.
    """

    database: str
    users: int
    call: str
    value: float


@dataclass
class Results:
    """All that a run has found out so far."""

    comparisons: list[Comparison] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)

    @property
    def missed(self) -> int:
        """How many targets were not reached."""
        return [item.met for item in self.comparisons].count(False) + [item.met for item in self.figures].count(False)


def mark(met: bool | None) -> str:
    """Show whether a target is reached."""
    return {True: "✓", False: "✗", None: ""}[met]


def table(rows: Sequence[Sequence[str]]) -> str:
    """Align rows into columns; the first is flush left, the others flush right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if not place else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join(lines)


def show_load(load: Load | None) -> list[str]:
    """Return rate, median, 99th percentile and processor time as cells; a star for refusals and broken connections."""
    if load is None:
        return ["", "", "", ""]
    star = "*" if load.refused or load.broken else ""
    return [f"{load.rate:,.0f}{star}", f"{load.p50_ms:.1f}", f"{load.p99_ms:.1f}", f"{load.cpu_us:,.0f}"]


def show_comparisons(comparisons: Sequence[Comparison]) -> str:
    """Return the table of one run's comparisons, with a line for every star in it."""
    rows = [["", "tutorial", "p50", "p99", "cpu", "denizen", "p50", "p99", "cpu", "times", "target", ""]]
    notes = []
    for item in comparisons:
        times = "" if item.times is None else f"{item.times:.1f}"
        target = "" if item.target is None else str(item.target)
        name = f"{item.database}: {item.case}"
        rows.append([name, *show_load(item.peer), *show_load(item.denizen), times, target, mark(item.met)])
        for who, load in (("tutorial", item.peer), ("denizen", item.denizen)):
            if load and (load.refused or load.broken):
                notes.append(f"* {name}, {who}: {load.refused:,} of {load.answers:,} refused, {load.broken:,} broken")
    legend = "requests a second; p50 and p99 in ms; cpu: the server's processor time for one answer in µs"
    return "\n".join([table(rows), legend, *notes])


def show_figures(figures: Sequence[Figure]) -> str:
    """Return the table of all other figures."""
    rows = [["", "database", "measured", "", "target", ""]]
    for figure in figures:
        value = f"{figure.value:,.0f}" if figure.value >= 100 else f"{figure.value:.2f}"
        target = "" if figure.target is None else str(figure.target)
        rows.append([figure.name, figure.database, value, figure.unit.ljust(8), target, mark(figure.met)])
    return table(rows)
