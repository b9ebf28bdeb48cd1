"""One kind of database, all that is measured on it: fill, compare, start, grow, search, export."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from statistics import median

from .bare_import import IMPORT_TARGET, measure_share
from .batch import measure_batch
from .beside import measure_beside
from .contenders import Contender, Denizen, Tutorial
from .curve import measure_curve
from .databases import Databases
from .embedding import measure_embedding
from .export import measure_export
from .figures import Figure, Results, at_most
from .finding import measure_search
from .growth import measure_pages
from .plan import Part, Plan
from .processes import MIB
from .signing import measure_signing
from .traffic import MEMORY_TARGET, clear, compare, loaded_for, soak

IMPORT_MEMORY_TARGET = at_most(150)
START_TARGET = at_most(2)


def measure(plan: Plan, databases: Databases, results: Results) -> None:
    """Measure everything that the plan asks for on one kind of database."""
    denizen = None if plan.peer_only else Denizen(databases, plan.folder)
    if denizen:
        denizen.prepare()
        results.figures += measure_import(plan, databases.title, denizen, plan.users)
    if plan.wants("traffic", "memory"):
        measure_requests(plan, databases, denizen, results)
    if denizen:
        measure_denizen(plan, databases, denizen, results)


def measure_denizen(plan: Plan, databases: Databases, denizen: Denizen, results: Results) -> None:
    """Measure what has no counterpart in the tutorial's application."""
    title = databases.title
    steps: tuple[tuple[tuple[Part, ...], Callable[[], list[Figure]]], ...] = (
        (("import",), lambda: measure_share(plan, databases)),
        (("start",), lambda: [measure_start(plan, title, denizen)]),
        (("beside",), lambda: measure_with_server(denizen, lambda: measure_beside(plan, title, denizen))),
        (("batch",), lambda: measure_with_server(denizen, lambda: measure_batch(plan, title, denizen))),
        (("keyset", "search"), lambda: fill_up(plan, title, denizen)),
        (("keyset",), lambda: measure_with_server(denizen, lambda: measure_pages(plan, title, denizen))),
        (("search",), lambda: measure_search(plan, databases, denizen.url, users=plan.many)),
        (("signing",), lambda: measure_signing(plan, databases, denizen)),
        (("embedding",), lambda: measure_embedding(plan, title, denizen.url)),
        (("export",), lambda: measure_export(plan, databases, denizen)),
    )
    for parts, step in steps:
        if plan.wants(*parts):
            results.figures += step()
    if plan.wants("growth"):
        results.points += measure_curve(plan, databases)


def measure_import(plan: Plan, title: str, denizen: Denizen, users: int, *, start: int = 0) -> list[Figure]:
    """Import people, and return how that went if the plan asks for it.

    How fast the first people come in is not told here: a server just made makes the files of its log meanwhile, once.
    """
    plan.tell(f"{title}: importing {users:,} people")
    done = denizen.take(users, start=start)
    if not plan.wants("import"):
        return []
    rate = [Figure(f"import of {users:,} people more", title, users / done.seconds, "rows/s", IMPORT_TARGET)]
    peak = Figure("most memory held by it", title, done.peak_bytes / MIB, "MiB", IMPORT_MEMORY_TARGET)
    return [*(rate if start else ()), peak]


def measure_requests(plan: Plan, databases: Databases, denizen: Denizen | None, results: Results) -> None:
    """Compare both contenders under load, and read their memory after it."""
    title = databases.title
    contenders: list[Contender] = [denizen] if denizen else []
    with ExitStack() as running:
        tutorial = None
        if plan.wants("traffic") or plan.peer_only:
            plan.tell(f"{title}: filling the tutorial's database with {plan.users:,} people")
            tutorial = Tutorial(databases, plan.folder)
            tutorial.fill(plan.users)
            contenders.insert(0, tutorial)
        clear(plan.folder)
        for contender in contenders:
            running.callback(contender.server.stop)
            contender.server.start()
        rest = plan.soak
        if tutorial and plan.wants("traffic"):
            results.comparisons += compare(plan, databases.kind, title, tutorial, denizen)
            rest -= loaded_for(plan)
        if plan.wants("memory"):
            for contender in contenders:
                target = MEMORY_TARGET if contender is denizen else None
                results.figures.append(soak(plan, title, contender, seconds=rest, target=target))


def measure_start(plan: Plan, title: str, denizen: Denizen) -> Figure:
    """Start the server on its existing database a few times, and take the median."""
    plan.tell(f"{title}: starting the server {plan.starts} times")
    taken = []
    for _ in range(plan.starts):
        taken.append(denizen.server.start())
        denizen.server.stop()
    return Figure("start of serve to /healthz", title, median(taken), "s", START_TARGET)


def fill_up(plan: Plan, title: str, denizen: Denizen) -> list[Figure]:
    """Import people until there are as many as the last page and searches are measured among."""
    more = plan.many - plan.users
    return measure_import(plan, title, denizen, more, start=plan.users) if more > 0 else []


def measure_with_server(denizen: Denizen, measure_it: Callable[[], list[Figure]]) -> list[Figure]:
    """Measure something while the server is up."""
    with ExitStack() as running:
        running.callback(denizen.server.stop)
        denizen.server.start()
        return measure_it()
