"""How fast accounts come out, as a share of what the bare driver does on the same table in the same minutes."""

from __future__ import annotations

import json
import sys
from statistics import median

from .contenders import Denizen
from .databases import Databases
from .figures import Figure, at_least, at_most
from .plan import Plan
from .processes import MIB, run

SHARE_TARGET = at_least(0.5)
MEMORY_TARGET = at_most(150)
FORMS = ("csv", "ndjson")


def measure_export(plan: Plan, databases: Databases, denizen: Denizen) -> list[Figure]:
    """Take everybody out, in turn with the bare driver; the median round of each counts. Both may use all cores, and so
    may PostgreSQL: an export reads several parts at once.

    Of a command's seconds those are taken off that the same command needs for nobody: a start is a matter of its own,
    and most of the time for a small table.
    """
    title = databases.title
    plan.tell(f"{title}: exporting {plan.rounds} times beside the bare driver")
    bare, start = list[float](), list[float]()
    whole: dict[str, list[float]] = {form: [] for form in FORMS}
    rows, peak = 0, 0
    with databases.on_all_cores():
        for _ in range(plan.rounds):
            rows, seconds = take_out_barely(denizen)
            bare.append(seconds)
            start.append(
                denizen.run(
                    "users", "export", "-o", str(denizen.folder / "nobody"), "--username", "nobody", pinned=False
                ).seconds
            )
            for form in FORMS:
                done = denizen.run("users", "export", "-o", str(denizen.folder / f"out.{form}"), pinned=False)
                whole[form].append(done.seconds)
                peak = max(peak, done.peak_bytes)
    figures = [Figure(f"bare export of {rows:,} people", title, rows / median(bare), "rows/s")]
    for form, seconds_each in whole.items():
        rate = rows / (median(seconds_each) - median(start))
        figures.append(Figure(f"export of {rows:,} people, {form}", title, rate, "rows/s"))
        figures.append(Figure("... in the bare one", title, rate * median(bare) / rows, "times", SHARE_TARGET))
    return [*figures, Figure("... most memory held", title, peak / MIB, "MiB", MEMORY_TARGET)]


def take_out_barely(denizen: Denizen) -> tuple[int, float]:
    """Return how many rows the bare driver wrote, and in how many seconds."""
    command = [sys.executable, "-m", "benchmarks.bare_export", denizen.url, str(denizen.folder / "bare.csv")]
    told = json.loads(run(command, settings={}, folder=denizen.folder, pinned=False).output)
    return int(told["rows"]), float(told["seconds"])
