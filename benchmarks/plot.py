"""Draw how calls grow with the number of accounts, out of a run's results.

make bench ARGS="--only growth"
make plot                               # draws the newest run into docs/images/growth.svg
python -m benchmarks.plot RESULTS.json [RESULTS.json] growth.svg
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from .curve import IMPORT

RESULTS = Path(__file__).with_name("results")
STYLES = {"SQLite": "-", "PostgreSQL": "--"}


def newest() -> Path:
    """Return the newest results with a curve in them.

    Raises:
        FileNotFoundError: there are none.
    """
    for path in sorted(RESULTS.glob("*.json"), reverse=True):
        if json.loads(path.read_text(encoding="utf-8")).get("points"):
            return path
    raise FileNotFoundError(f'No results with a curve in {RESULTS}: make bench ARGS="--only growth"')


def draw(points: list[dict[str, Any]], target: Path) -> None:
    """Write the picture: calls on the left, imports on the right, both axes logarithmic."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "denizen", "font.size": 9, "axes.grid": True, "grid.alpha": 0.3})
    from matplotlib import pyplot as plt

    lines: dict[tuple[str, str], list[tuple[int, float]]] = defaultdict(list)
    for point in points:
        lines[point["call"], point["database"]].append((point["users"], point["value"]))
    figure, (calls, imports) = plt.subplots(1, 2, figsize=(10, 4.2), width_ratios=(3, 2), layout="constrained")
    names = list(dict.fromkeys(call for call, _ in lines if call != IMPORT))
    for (call, database), values in lines.items():
        axes, color = (imports, "C7") if call == IMPORT else (calls, f"C{names.index(call)}")
        axes.plot(*zip(*values, strict=True), STYLES[database], color=color, marker="o", markersize=3,
                  label=database if call == IMPORT else f"{call}, {database}")  # fmt: skip
    for axes, title in ((calls, "milliseconds of a call over HTTP"), (imports, "imported rows a second")):
        axes.set(xscale="log", xlabel="accounts", title=title)
        axes.legend(fontsize=7)
    calls.set(yscale="log")
    imports.set_ylim(bottom=0)
    figure.savefig(target, metadata={"Date": None, "Creator": None})


def main() -> int:
    """Draw the results named, of one run or of one for each database, or the newest, into the file named last."""
    *named, target = map(Path, sys.argv[1:])
    sources = named or [newest()]
    draw([point for source in sources for point in json.loads(source.read_text(encoding="utf-8"))["points"]], target)
    print(f"{target}, from {', '.join(map(str, sources))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
