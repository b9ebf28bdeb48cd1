"""Requests a second, side by side: the contenders take turns in short rounds, so that a slow minute hits both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

from .contenders import CASES, Case, Contender, Denizen, Tutorial
from .databases import Kind
from .figures import Comparison, Figure, Target, at_least, at_most
from .load import Load, run_load, write_requests
from .plan import Plan
from .processes import MIB
from .wire import Client

TARGETS: dict[tuple[Kind, Case], Target] = {
    ("sqlite", "one user"): at_least(3),
    ("sqlite", "list of 100"): at_least(1.5),
    ("postgresql", "one user"): at_least(1.5),
    ("postgresql", "list of 100"): at_least(1.5),
}
MEMORY_TARGET = at_most(120)
SUCCESS = range(200, 300)


def middle(rounds: Sequence[Load]) -> Load:
    """Return the median of several rounds, figure by figure; refusals and broken connections are added up."""
    return Load(
        rate=median(load.rate for load in rounds),
        answers=sum(load.answers for load in rounds),
        p50_ms=median(load.p50_ms for load in rounds),
        p99_ms=median(load.p99_ms for load in rounds),
        refused=sum(load.refused for load in rounds),
        broken=sum(load.broken for load in rounds),
        cpu_us=median(load.cpu_us for load in rounds),
    )


def check(contender: Contender, case: Case) -> None:
    """Send one request of a case, so that no speed at refusing is taken for speed.

    Raises:
        RuntimeError: the answer is no success, or a list of another length than asked for.
    """
    with Client(contender.server.port) as client:
        answer = client.ask(next(contender.requests(case)))
    if answer.status not in SUCCESS:
        raise RuntimeError(f"{contender.name}, {case}: {answer.status} {answer.body[:500]!r}")
    if case.startswith("list of") and len(answer.json()) != int(case.split()[-1]):
        raise RuntimeError(f"{contender.name}, {case}: {len(answer.json())} users")


def put_load(contender: Contender, case: Case, plan: Plan, seconds: float) -> Load:
    """Measure one case of one contender once."""
    path = plan.folder / f"{contender.name}-{case.replace(' ', '-')}.tsv"
    if case == "create" or not path.exists():
        write_requests(contender.requests(case), path)
    before = contender.server.cpu_seconds()
    load = run_load(contender.server.port, path, seconds=seconds, generator=plan.generator)
    taken = contender.server.cpu_seconds() - before
    return replace(load, cpu_us=1e6 * taken / load.answers if load.answers else 0.0)


def compare(plan: Plan, kind: Kind, title: str, tutorial: Tutorial, denizen: Denizen | None) -> list[Comparison]:
    """Measure every case of both; both servers are up."""
    contenders: list[Contender] = [tutorial] if denizen is None else [tutorial, denizen]
    comparisons = []
    for case in CASES:
        loads: dict[str, list[Load]] = {contender.name: [] for contender in contenders}
        for contender in contenders:
            check(contender, case)
            put_load(contender, case, plan, 1)  # caches, pools, prepared statements
        for number in range(plan.rounds):
            for contender in contenders if number % 2 == 0 else reversed(contenders):
                loads[contender.name].append(put_load(contender, case, plan, plan.seconds))
        medians = {name: middle(rounds) for name, rounds in loads.items()}
        target = TARGETS.get((kind, case))
        comparison = Comparison(case, title, medians["tutorial"], medians.get("denizen"), target)
        comparisons.append(comparison)
        shown = ", ".join(f"{name} {load.rate:,.0f}/s" for name, load in medians.items())
        plan.tell(f"{title}: {case}: {shown}")
    return comparisons


def soak(plan: Plan, title: str, contender: Contender, *, seconds: float, target: Target | None) -> Figure:
    """Keep a server under load for a while and read its memory."""
    cases: tuple[Case, ...] = ("one user", "list of 10", "list of 100", "who is this bearer")
    if seconds > 0:
        plan.tell(f"{title}: {contender.name} under load for {seconds:.0f} s")
        for case in cases:
            put_load(contender, case, plan, seconds / len(cases))
    held = contender.server.memory() / MIB
    return Figure(f"memory of one worker after load, {contender.name}", title, held, "MiB", target)


def loaded_for(plan: Plan) -> float:
    """Seconds that `compare` has kept each server under load."""
    return len(CASES) * (plan.rounds * plan.seconds + 1)


def clear(folder: Path) -> None:
    """Forget the requests written for one pair of servers; those of the next hold other ids."""
    for path in folder.glob("*.tsv"):
        path.unlink()
