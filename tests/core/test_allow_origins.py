"""Pages of other origins: those that are configured may use all of the API, others nothing."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from httpx import AsyncClient, Response

ORIGIN = "https://app.example.org"


@pytest.fixture
def overrides() -> dict[str, Any]:
    return {"cors_origins": ORIGIN}


@pytest.fixture(params=["sqlite"])
def database_kind(request: pytest.FixtureRequest) -> str:
    kind: str = request.param
    return kind


async def ask(client: AsyncClient, method: str, *, origin: str = ORIGIN) -> Response:
    """Ask as a browser does before a request that it does not dare to make at once."""
    asked = {
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization,idempotency-key,if-match",
    }
    return await client.options("/users/", headers={"Origin": origin, **asked})


async def test_configured_origin_may_use_every_method_there_is(app: FastAPI, client: AsyncClient) -> None:
    methods = {method for route in iter_route_contexts(app.routes) for method in route.methods or ()} | {"HEAD"}

    assert {"GET", "POST", "PATCH", "DELETE"} <= methods
    for method in methods:
        answer = await ask(client, method)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, ORIGIN), method
    assert (await ask(client, "TRACE")).status_code == 400


async def test_pages_of_a_configured_origin_read_what_lists_and_versions_need(admin: AsyncClient) -> None:
    answer = await admin.head("/users/", headers={"Origin": ORIGIN})

    exposed = {name.strip() for name in answer.headers["access-control-expose-headers"].split(",")}
    assert {"ETag", "Link", "X-Next-Cursor", "X-Total-Count", "Location", "Retry-After"} <= exposed
    assert "Idempotency-Replayed" in exposed


async def test_other_origins_may_do_nothing(client: AsyncClient) -> None:
    answer = await ask(client, "GET", origin="https://evil.example")

    assert answer.status_code == 400
    assert "access-control-allow-origin" not in answer.headers
