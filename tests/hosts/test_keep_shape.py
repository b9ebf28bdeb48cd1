"""A host stays what it was: its answers, its document, its errors; and Denizen knows where people reach it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from httpx import ASGITransport, AsyncClient, Response

from denizen import Settings, install
from denizen.core.hashers import NullHasher
from tests.conftest import BASE_URL
from tests.hosts.conftest import issue, reach

ADA = {"username": "ada", "email": "ada@example.org", "password": "correct horse battery"}


class OutOfTea(Exception):
    """The host's own."""


def make_host() -> FastAPI:
    """Somebody's application, with a route that takes whatever no other does."""
    app = FastAPI(title="Pets", version="7", openapi_tags=[{"name": "pets"}])
    began: list[str] = []
    app.state.began = began

    @app.middleware("http")
    async def stamp(request: Request, proceed: Callable[[Request], Awaitable[Any]]) -> Any:
        answer = await proceed(request)
        answer.headers["x-host"] = "pets"
        return answer

    @app.exception_handler(OutOfTea)
    async def apologise(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"sorry": True}, 418)

    @app.get("/pets/{number}", tags=["pets"])
    async def show(number: int) -> dict[str, int]:
        if number == 0:
            raise HTTPException(404, "No such pet")
        if number == 1:
            raise ZeroDivisionError
        if number == 2:
            raise OutOfTea
        return {"number": number}

    return app


def add_the_rest(app: FastAPI) -> FastAPI:
    """What takes all other addresses: added last, as it has to be."""

    @app.get("/{path:path}", include_in_schema=False)
    async def show_page(path: str) -> dict[str, str]:
        return {"page": path}

    return app


async def answers(client: AsyncClient) -> list[tuple[int, bytes, list[tuple[str, str]]]]:
    """What the host's own addresses answer."""
    asked = [("GET", f"/pets/{which}") for which in (0, 1, 2, 3, "x")]
    asked += [("POST", "/pets/3"), ("GET", "/any/page"), ("DELETE", "/nowhere")]
    got: list[Response] = [await client.request(method, path) for method, path in asked]
    return [(answer.status_code, answer.content, sorted(answer.headers.items())) for answer in got]


async def test_a_hosts_answers_and_its_document_are_those_it_had(settings: Settings) -> None:
    alone, host = make_host(), make_host()
    accounts = install(host, prefix="/accounts", settings=settings, hasher=NullHasher())
    add_the_rest(alone)
    add_the_rest(host)

    async with reach(alone) as client:
        before = await answers(client)
    async with reach(host) as client:
        after = await answers(client)
        ours = await client.get("/accounts/users/me")
        fine = await client.get("/accounts/keys/current", headers=await issue(accounts))

    assert after == before
    assert (ours.status_code, ours.json()["code"], ours.headers["x-host"]) == (401, "credentials_missing", "pets")
    assert fine.status_code == 200
    was, is_now = alone.openapi(), host.openapi()
    its_own = {path: each for path, each in is_now["paths"].items() if not path.startswith("/accounts")}
    schemas = is_now["components"]["schemas"]
    kept = {
        **is_now,
        "paths": its_own,
        "components": {"schemas": {name: schemas[name] for name in was["components"]["schemas"]}},
    }
    assert json.dumps(kept, sort_keys=True) == json.dumps(was, sort_keys=True)


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_a_hosts_lifespan_runs_inside_ours_and_its_state_is_there(settings: Settings) -> None:
    seen: list[str] = []

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, str]]:
        async with accounts.writing():
            seen.append("open")
        yield {"colour": "red"}
        seen.append("closed")

    host = FastAPI(lifespan=lifespan)
    accounts = install(host, settings=settings, hasher=NullHasher())

    async with host.router.lifespan_context(host) as state:
        assert (state, seen) == ({"colour": "red"}, ["open"])

    assert seen == ["open", "closed"]
    assert accounts.database.opened is None


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_behind_a_path_links_and_the_document_name_it(settings: Settings) -> None:
    public = settings.model_copy(update={"base_url": f"{BASE_URL}/api"})
    host = FastAPI()
    install(host, prefix="/accounts", settings=public, hasher=NullHasher())
    outer = FastAPI()
    outer.mount("/api", host)

    # Behind a proxy that tells the server its path, and mounted.
    for transport, path in ((ASGITransport(host, root_path="/api"), ""), (ASGITransport(outer), "/api")):
        async with AsyncClient(transport=transport, base_url=BASE_URL) as client:
            document = (await client.get(f"{path}/openapi.json")).json()
            made = await client.post(f"{path}/accounts/users/", json=ADA)
        flow = document["components"]["securitySchemes"]["Sign-in-accounts"]["flows"]["password"]
        assert document["servers"] == [{"url": "/api"}]
        assert flow["tokenUrl"] == "/api/accounts/auth/login"
        if path == "":
            assert made.headers["location"].startswith(f"{BASE_URL}/api/accounts/users/")
        else:
            assert made.status_code == 409


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_rooms_that_a_host_leaves_out_have_no_routes_and_go_on_guarding(settings: Settings) -> None:
    host = FastAPI()
    features = ["users", "account"]  # which needs sign-ins
    accounts = install(host, prefix="/a", settings=settings, features=features, hasher=NullHasher())
    key = await issue(accounts)

    async with reach(host) as client:
        made = await client.post("/a/users/", json=ADA)
        signed_in = await client.post("/a/auth/login", data={k: ADA[k] for k in ("username", "password")})
        as_ada = {"Authorization": f"Bearer {signed_in.json()['access_token']}"}
        by_key = await client.get("/a/users/me", headers=key)
        changed = await client.post(
            "/a/auth/change-password",
            json={"current_password": ADA["password"], "new_password": "battery horse correct"},
            headers=as_ada,
        )

    paths = host.openapi()["paths"].keys()
    assert made.status_code == 201
    assert (by_key.status_code, by_key.json()["code"]) == (401, "credentials_invalid")
    assert changed.status_code == 204
    assert not any(path.startswith(("/a/keys", "/a/roles", "/a/audit")) for path in paths)
    assert {each.name for each in accounts.cleaners} >= {"expired links and codes"}
    assert len(accounts.guards) == 1
