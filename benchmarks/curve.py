"""What a call costs among a thousand accounts, and among a million: one database that grows, measured on its way.

The points are kept with the other figures of a run; `python -m benchmarks.plot RESULTS.json growth.png` draws them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from statistics import median
from time import perf_counter

from .contenders import Denizen
from .databases import Databases
from .figures import Point
from .growth import find_last_pages
from .people import make_person
from .plan import Plan
from .wire import Client, Request

STEPS = (1_000, 10_000, 100_000, 1_000_000)
TIMES = 200
WARM = 10
PAGE = 100
IMPORT = "import"


def paths(client: Client, users: int) -> Iterator[tuple[str, str]]:
    """Yield what is asked for, and where."""
    somebody = next(
        person for number in range(users * 2 // 3, users) if (person := make_person(number)).email.isascii()
    )
    yield "first page of 100", f"/users/?limit={PAGE}"
    yield "last page of 100", find_last_pages(client, users)[PAGE]
    yield "look-up by e-mail", f"/users/?email={somebody.email}"
    yield "search, common", "/users/?q=smith"
    yield "search, rare", f"/users/?q={somebody.external_id}"


def time_path(client: Client, path: str) -> float:
    """Return the median milliseconds of one path.

    Raises:
        RuntimeError: the answer is an error, or empty.
    """
    checked = client.get(path)
    if checked.status != 200 or not checked.json():
        raise RuntimeError(f"{path} answered {checked.status} {checked.body[:300]!r}")
    request = Request("GET", path, client.bearer).encode(client.host)
    taken = []
    for number in range(TIMES + WARM):
        began = perf_counter()
        client.send(request)
        if number >= WARM:
            taken.append(1e3 * (perf_counter() - began))
    return median(taken)


def measure_curve(plan: Plan, databases: Databases) -> list[Point]:
    """Fill a database of its own step by step, and measure every call at each."""
    denizen = Denizen(databases, plan.folder, name="growing")
    denizen.prepare()
    points, there = [], 0
    for users in (step for step in STEPS if step <= plan.many):
        done = denizen.take(users - there, start=there)
        points.append(Point(databases.title, users, IMPORT, (users - there) / done.seconds))
        there = users
        with ExitStack() as running:
            running.callback(denizen.server.stop)
            denizen.server.start()
            with Client(denizen.server.port, bearer=denizen.token) as client:
                points += [
                    Point(databases.title, users, call, time_path(client, path)) for call, path in paths(client, users)
                ]
        shown = ", ".join(f"{point.call} {point.value:.3g}" for point in points if point.users == users)
        plan.tell(f"{databases.title}: {users:,} users: {shown}")
    return points
