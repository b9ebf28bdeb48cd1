"""The last page of a million users against the first, along the cursors."""

from __future__ import annotations

from statistics import median
from time import perf_counter

from .contenders import PAGE, Denizen
from .figures import Figure, at_most
from .plan import Plan
from .wire import Answer, Client, Request

PAGE_TARGET = at_most(1.2)
PAGES = (100, 10)
"""Sizes of the page that is timed. The target is for the first; the second has less to write out."""


def find_last_pages(client: Client, users: int) -> dict[int, str]:
    """Walk the whole list and return, for each size in `PAGES`, the path of the page that holds exactly the last users.

    Raises:
        RuntimeError: an id came twice or out of order, or the list ended early or late.
    """
    paths: dict[int, str] = {}
    left, last, cursor = users, "", ""
    for goal in (*PAGES, 0):
        while left > goal:
            step = min(PAGE, left - goal)
            page = client.get(f"/users/?limit={step}{cursor}")
            ids = [user["id"] for user in page.json()] if page.status == 200 else []
            if len(ids) != step or ids != sorted(set(ids)) or ids[0] <= last:
                raise RuntimeError(
                    f"With {left:,} of {users:,} users left the list broke: {page.status} {page.body[:300]!r}"
                )
            left, last, cursor = left - step, ids[-1], next_cursor(page)
        if goal:
            paths[goal] = f"/users/?limit={goal}{cursor}"
    if cursor:
        raise RuntimeError(f"After all {users:,} users the list goes on.")
    return paths


def next_cursor(page: Answer) -> str:
    """Return what to add to a path for the page after this one; empty after the last."""
    cursor = page.headers.get("x-next-cursor")
    return f"&cursor={cursor}" if cursor else ""


def count_users(client: Client) -> int:
    """Return how many users the server counts."""
    return int(client.get("/users/?limit=1&count=exact").headers["x-total-count"])


def time_pages(client: Client, first: str, last: str, *, times: int) -> tuple[float, float]:
    """Return the median seconds of two paths, asked for in turn."""
    requests = [Request("GET", path, client.bearer).encode(client.host) for path in (first, last)]
    taken: tuple[list[float], list[float]] = ([], [])
    for number in range(2 * times + 20):
        began = perf_counter()
        client.send(requests[number % 2])
        if number >= 20:
            taken[number % 2].append(perf_counter() - began)
    return median(taken[0]), median(taken[1])


def measure_pages(plan: Plan, title: str, denizen: Denizen) -> list[Figure]:
    """Measure the last page against the first; the server is up."""
    figures = []
    with Client(denizen.server.port, bearer=denizen.token) as client:
        users = count_users(client)
        began = perf_counter()
        paths = find_last_pages(client, users)
        plan.tell(f"{title}: walked {users:,} users along the cursors in {perf_counter() - began:.1f} s")
        for size, last in paths.items():
            first_s, last_s = time_pages(client, f"/users/?limit={size}", last, times=plan.pages)
            target = PAGE_TARGET if size == PAGES[0] else None
            name = f"last page of {size} in the first, {plan.many:,} users"
            figures.append(Figure(name, title, last_s / first_s, "times", target))
            plan.tell(f"{title}: page of {size}: first {1e3 * first_s:.2f} ms, last {1e3 * last_s:.2f} ms")
    return figures
