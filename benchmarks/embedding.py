"""What an install costs the host's own routes.

Both applications run in this process and are called without a server or a network, which would be most of the time and
the same for both: so the ratio is the largest a host can see. They take turns within one run.
"""

from __future__ import annotations

import asyncio
from statistics import median
from time import perf_counter
from typing import Any

from fastapi import FastAPI

from denizen import Settings, install

from .figures import Figure, at_most
from .plan import Plan
from .processes import measured_core

TARGET = at_most(1.10)
CALLS = 300
TURNS = 10
"""Of each application, for every second of a round."""


def measure_embedding(plan: Plan, title: str, url: str) -> list[Figure]:
    """Measure a host's route that stands behind ours, which is the worst place, with the install and without."""
    plan.tell(f"{title}: calling a host's own route")
    bare, host = make_host(None), make_host(url)
    with measured_core():
        without, within = asyncio.run(
            take_turns((bare, host), turns=max(10, round(TURNS * plan.seconds * plan.rounds)))
        )
    return [
        Figure("a host's own route, without Denizen", title, without * 1e6, "µs"),
        Figure("... with it installed, by comparison", title, within / without, "x", TARGET),
    ]


def make_host(url: str | None) -> FastAPI:
    """Make an application with one route, and Denizen in it where there is a database."""
    app = FastAPI()
    if url is not None:
        install(app, prefix="/accounts", settings=Settings(_env_file=None, database_url=url))

    @app.get("/pets/{number}")
    async def show_pet(number: int) -> dict[str, int]:
        return {"number": number}

    return app


async def take_turns(apps: tuple[FastAPI, FastAPI], *, turns: int) -> tuple[float, float]:
    """Give the median seconds of one call of each."""
    taken: tuple[list[float], list[float]] = ([], [])
    for turn in range(turns + 1):
        for app, seconds in zip(apps, taken, strict=True):
            each = await call(app)
            if turn:  # the first makes ready what is made ready once
                seconds.append(each)
    return median(taken[0]), median(taken[1])


async def call(app: FastAPI) -> float:
    """Call the route a few hundred times; give the seconds of one."""
    scope: dict[str, Any] = {
        "type": "http", "http_version": "1.1", "asgi": {"version": "3.0"}, "scheme": "http", "method": "GET",
        "path": "/pets/3", "raw_path": b"/pets/3", "root_path": "", "query_string": b"", "headers": [(b"host", b"x")],
        "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 1),
    }  # fmt: skip

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message.get("status", 200) != 200:
            raise RuntimeError(f"{message['status']} instead of an answer")

    began = perf_counter()
    for _ in range(CALLS):
        await app(dict(scope), receive, send)  # type: ignore[arg-type]  # Starlette's are unions of mappings
    return (perf_counter() - began) / CALLS
