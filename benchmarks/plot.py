"""Draw how calls grow with the number of accounts, out of a run's results.

make bench ARGS="--only growth"
make plot                               # draws the newest run into docs/images/growth.png
python -m benchmarks.plot RESULTS.json [RESULTS.json] growth.png
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

    mpl.use("agg")
    mpl.rcParams.update({"font.size": 9, "axes.grid": True, "grid.alpha": 0.3})
    from matplotlib import pyplot as plt

    lines: dict[tuple[str, str], list[tuple[int, float]]] = defaultdict(list)
    for point in points:
        lines[point["call"], point["database"]].append((point["users"], point["value"]))
    figure, (calls, imports) = plt.subplots(1, 2, figsize=(10, 5), width_ratios=(3, 2), layout="constrained")
    names = list(dict.fromkeys(call for call, _ in lines if call != IMPORT))
    for (call, database), values in lines.items():
        axes, color = (imports, "C7") if call == IMPORT else (calls, f"C{names.index(call)}")
        label = f"{call}, {database}"
        axes.plot(*zip(*values, strict=True), STYLES[database], color=color, marker="o", markersize=3, label=label)
    calls.set(xscale="log", yscale="log", xlabel="accounts", title="milliseconds of a call over HTTP")
    imports.set(xscale="log", xlabel="accounts", title="imported rows a second, start included")
    imports.set_ylim(bottom=0)
    figure.legend(loc="outside lower center", ncols=4, fontsize=8)
    figure.savefig(target, dpi=110, metadata={"Software": None})


def main() -> int:
    """Draw the results named, of one run or of one for each database, or the newest, into the file named last."""
    *named, target = map(Path, sys.argv[1:])
    sources = named or [newest()]
    draw([point for source in sources for point in json.loads(source.read_text(encoding="utf-8"))["points"]], target)
    print(f"{target}, from {', '.join(map(str, sources))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
