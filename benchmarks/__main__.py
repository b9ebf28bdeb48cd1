"""Measure Denizen beside the tutorial's application, and print every figure with its target.

One server process on one core, the load generator and PostgreSQL on the other. Read ratios: a figure by itself says
as much about the machine.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from .databases import KINDS, open_databases
from .figures import Results, show_comparisons, show_figures
from .load import Generator, best_generator
from .plan import PARTS, Plan
from .processes import CORES, leave_measured_core
from .run import measure

RESULTS = Path(__file__).with_name("results")
QUICK: dict[str, Any] = {
    "users": 10_000, "many": 20_000, "rounds": 1, "seconds": 1.0, "soak": 4.0, "starts": 3, "pages": 100,
}  # fmt: skip


def some_of(names: tuple[str, ...]) -> Callable[[str], tuple[str, ...]]:
    """Return what parses names separated by commas."""

    def parse(text: str) -> tuple[str, ...]:
        chosen = tuple(name.strip() for name in text.split(","))
        if unknown := set(chosen).difference(names):
            raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: not one of {', '.join(names)}")
        return chosen

    return parse


def make_parser() -> argparse.ArgumentParser:
    """Describe the command line; what is left out is not in the result."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, argument_default=argparse.SUPPRESS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--only", dest="parts", metavar="PARTS", type=some_of(PARTS), help=f"of {','.join(PARTS)}")
    parser.add_argument("--databases", dest="kinds", metavar="KINDS", type=some_of(KINDS), help=f"of {','.join(KINDS)}")
    parser.add_argument("--peer-only", action="store_true", help="measure the tutorial's application alone")
    parser.add_argument(
        "--quick", action="store_true", help="few users, short rounds: shows that it works, not how fast"
    )
    parser.add_argument("--users", type=int, help="people in each database (100,000)")
    parser.add_argument("--many", type=int, help="people when the last page is measured (1,000,000)")
    parser.add_argument("--rounds", type=int, help="rounds of each case (5)")
    parser.add_argument("--seconds", type=float, help="seconds a round (3)")
    parser.add_argument("--generator", choices=get_args(Generator), help="wrk where it is installed, else python")
    parser.add_argument("--folder", type=Path, help="where the databases are put; the system's temporary folder")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a target is missed")
    return parser


def describe(plan: Plan) -> dict[str, object]:
    """Say where and how the figures were measured."""
    return {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "pinned": CORES is not None,
        "generator": plan.generator,
        "users": plan.users,
        "rounds": plan.rounds,
        "seconds": plan.seconds,
    }


def save(plan: Plan, results: Results) -> Path:
    """Write all figures to a file of JSON, and return its path."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
    content = {"run": describe(plan), **asdict(results)}
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def report(plan: Plan, results: Results) -> None:
    """Print what was found, and where it is kept."""
    pinned = "one core for the server, the other for all else" if CORES else "cores not pinned: read with care"
    print(f"\n{plan.users:,} users, {plan.rounds} rounds of {plan.seconds:g} s, {plan.generator}, {pinned}\n")
    if results.comparisons:
        print(show_comparisons(results.comparisons), end="\n\n")
    if results.figures:
        print(show_figures(results.figures), end="\n\n")
    print(f"Written to {save(plan, results)}. Targets missed: {results.missed}.")


def main() -> int:
    """Run it all."""
    chosen = vars(make_parser().parse_args())
    check, base = chosen.pop("check", False), chosen.pop("folder", None)
    sizes = QUICK if chosen.pop("quick", False) else {}
    chosen = {"parts": PARTS, "kinds": KINDS, "generator": best_generator(), **sizes, **chosen}
    began = time.monotonic()

    def tell(text: str) -> None:
        print(f"{time.monotonic() - began:6.0f} s  {text}", file=sys.stderr, flush=True)

    leave_measured_core()
    results = Results()
    with tempfile.TemporaryDirectory(prefix="denizen-bench-", dir=base) as folder:
        plan = Plan(folder=Path(folder).resolve(), tell=tell, **chosen)
        try:
            for kind in plan.kinds:
                with open_databases(kind, plan.folder) as databases:
                    measure(plan, databases, results)
        finally:
            report(plan, results)
    return 1 if check and results.missed else 0


if __name__ == "__main__":
    sys.exit(main())
