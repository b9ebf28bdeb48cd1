import asyncio
import time
from collections.abc import Sequence

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient

from denizen.core.health import Check, CheckResult, health_router
from denizen.core.problems import add_handlers


def client_of(check: Check, *, patience: float = 2.0) -> AsyncClient:
    app = FastAPI()
    app.include_router(health_router(check, patience=patience))
    add_handlers(app, whole=True)
    return AsyncClient(transport=ASGITransport(app), base_url="http://test")


async def well() -> Sequence[CheckResult]:
    return [CheckResult(name="database", ok=True), CheckResult(name="schema", ok=True)]


async def behind() -> Sequence[CheckResult]:
    return [
        CheckResult(name="database", ok=True),
        CheckResult(name="schema", ok=False, detail="older than this release"),
    ]


async def broken() -> Sequence[CheckResult]:
    raise OSError("could not connect to postgresql://denizen:hunter2@db/denizen")


async def test_ready_names_each_check() -> None:
    async with client_of(well) as client:
        answer = await client.get("/readyz")

    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ready",
        "checks": [{"name": "database", "ok": True, "detail": ""}, {"name": "schema", "ok": True, "detail": ""}],
    }


async def test_one_failed_check_is_503() -> None:
    async with client_of(behind) as client:
        answer = await client.get("/readyz")
        head = await client.head("/readyz")

    assert (head.status_code, head.headers, head.content) == (503, answer.headers, b"")

    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert answer.json()["status"] == "not ready"
    assert answer.json()["checks"][1]["detail"] == "older than this release"


async def test_check_that_raises_is_503_without_its_words() -> None:
    async with client_of(broken) as client:
        answer = await client.get("/readyz")

    assert answer.status_code == 503
    assert "hunter2" not in answer.text


async def test_check_that_hangs_is_bounded_and_not_started_twice() -> None:
    started, let_go = 0, asyncio.Event()

    async def hang() -> Sequence[CheckResult]:
        nonlocal started
        started += 1
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                continue  # like a driver that does not notice
        return [CheckResult(name="database", ok=True)]

    async with client_of(hang, patience=0.2) as client:
        begun = time.monotonic()
        answers = await asyncio.gather(*[client.get("/readyz") for _ in range(30)])
        assert (await client.get("/healthz")).status_code == 200
        assert time.monotonic() - begun < 4  # one after the other they would wait for 6 s
        assert {answer.status_code for answer in answers} == {503}
        assert started == 1

        let_go.set()
        await asyncio.sleep(0)
        assert (await client.get("/readyz")).status_code == 200


async def test_health_asks_nothing() -> None:
    async with client_of(broken) as client:
        assert (await client.get("/healthz")).json() == {"status": "ok"}
        assert (await client.head("/healthz")).status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_probes_are_documented(path: str) -> None:
    app = FastAPI()
    app.include_router(health_router(well))

    assert list(app.openapi()["paths"][path]) == ["get"]
