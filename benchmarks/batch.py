"""A thousand accounts created and changed by one request, beside the same by single requests.

`POST /users/` asks for a password, whose hash would be all that is seen: so a single create is a batch of one.
A single change is a `PATCH`. Single requests are sent one after the other, and again by 8 connections at once.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from time import perf_counter
from typing import Any

from .contenders import Denizen
from .figures import Figure
from .plan import Plan
from .traffic import SUCCESS
from .wire import Answer, Client, Request

OPERATIONS = 1_000
CONNECTIONS = 8
WAYS = ("one request", "single requests, one after the other", f"single requests, {CONNECTIONS} at once")
Operation = dict[str, Any]


def creates() -> list[Operation]:
    """Give operations that create people who exist nowhere yet, without passwords."""
    batch = secrets.token_hex(4)
    names = (f"new-{batch}-{number}" for number in range(OPERATIONS))
    users = ({"username": name, "email": f"{name}@example.com", "full_name": "Nia New"} for name in names)
    return [{"op": "create", "user": user} for user in users]


def patches(ids: Sequence[str]) -> list[Operation]:
    """Give operations that give people another name, which the search index has to learn as well."""
    name = f"Nia {secrets.token_hex(4)}"
    return [{"op": "patch", "id": user_id, "changes": {"full_name": name}} for user_id in ids]


def single(operation: Operation) -> Request:
    """Give the request that does one operation alone."""
    if operation["op"] == "patch":
        return Request("PATCH", f"/users/{operation['id']}", body=json.dumps(operation["changes"]))
    return together([operation])


def together(operations: Sequence[Operation]) -> Request:
    """Give the request that does them all."""
    return Request("POST", "/users/batch", body=json.dumps({"operations": operations}))


def accounts_of(answer: Answer) -> list[str]:
    """Give the ids of those whom an answer tells of.

    Raises:
        RuntimeError: something was refused; a figure of less than all would be none.
    """
    body = answer.json()
    if answer.status not in SUCCESS or body.get("failed"):
        refused = [result for result in body.get("results", [body]) if result["status"] not in SUCCESS]
        raise RuntimeError(f"{len(refused)} refused, such as {refused[0]}")
    return [result["id"] for result in body["results"]] if "results" in body else [body["id"]]


def send(denizen: Denizen, requests: Sequence[Request], connections: int) -> tuple[float, list[str]]:
    """Send requests by so many connections, each its next one when it has its answer; give the seconds, and the ids."""
    shares = [requests[number::connections] for number in range(connections)]
    clients = [Client(denizen.server.port, bearer=denizen.token) for _ in shares]

    def act(client: Client, share: Sequence[Request]) -> list[Answer]:
        return [client.ask(request) for request in share]

    try:
        with ThreadPoolExecutor(connections) as threads:
            began = perf_counter()
            answers = list(threads.map(act, clients, shares))
            seconds = perf_counter() - began
    finally:
        for client in clients:
            client.__exit__()
    return seconds, [user_id for part in answers for answer in part for user_id in accounts_of(answer)]


def measure_batch(plan: Plan, title: str, denizen: Denizen) -> list[Figure]:
    """Create and change a thousand people in each way, in turn for as many rounds; the server is up.

    Raises:
        RuntimeError: something was refused.
    """
    taken: dict[tuple[str, str], list[float]] = {}
    for _ in range(plan.rounds):
        ids: list[str] = []
        for act in ("creates", "patches"):
            make: Callable[[], list[Operation]] = creates if act == "creates" else lambda ids=ids: patches(ids)
            for way in WAYS:
                operations = make()
                requests = [together(operations)] if way == WAYS[0] else [single(each) for each in operations]
                seconds, done = send(denizen, requests, CONNECTIONS if way == WAYS[2] else 1)
                taken.setdefault((act, way), []).append(seconds)
                ids[:] = done[:OPERATIONS]
    figures = []
    for (act, way), seconds_of in taken.items():
        rate = OPERATIONS / median(seconds_of)
        figures.append(Figure(f"{OPERATIONS:,} {act}, {way}", title, rate, "accounts/s"))
        if way != WAYS[0]:
            share = median(seconds_of) / median(taken[act, WAYS[0]])
            figures.append(Figure("... and one request in it", title, share, "times"))
        plan.tell(f"{title}: {OPERATIONS:,} {act}, {way}: {median(seconds_of):.2f} s")
    return figures
