"""Sending batches, and looking at what came of them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from httpx import ASGITransport, AsyncClient, Response

from denizen.app import create_app
from denizen.core.deps import installs_of
from denizen.core.hashers import NullHasher
from denizen.settings import Settings
from tests.conftest import BASE_URL, PATIENT

Send = Callable[..., Awaitable[Response]]


@pytest.fixture
def overrides() -> dict[str, Any]:
    """Batches at once wait for each other, and are not to be told so."""
    return PATIENT


@pytest.fixture
def send(admin: AsyncClient) -> Send:
    """Send a batch of these operations."""

    async def post(*operations: Any, **headers: str) -> Response:
        body = json.dumps({"operations": operations})  # in ASCII, which half a surrogate pair can be written in
        return await admin.post("/users/batch", content=body, headers={"Content-Type": "application/json", **headers})

    return post


@pytest.fixture
async def other(settings: Settings) -> AsyncIterator[AsyncClient]:
    """Another worker on the same database: nothing in memory is shared."""
    app = create_app(settings, hasher=NullHasher())
    async with AsyncClient(transport=ASGITransport(app), base_url=BASE_URL) as client:
        yield client
    for accounts in installs_of(app):
        await accounts.close()


async def names(client: AsyncClient) -> dict[str, dict[str, Any]]:
    """All accounts, by username."""
    listed = await client.get("/users/", params={"limit": 1000})
    return {user["username"]: user for user in listed.json()}


def create(name: str, **fields: Any) -> dict[str, Any]:
    return {"op": "create", "user": {"username": name, "email": f"{name}@example.org", **fields}}


def patch(user_id: object, *, if_version: Any = None, **changes: Any) -> dict[str, Any]:
    return {"op": "patch", "id": user_id, "changes": changes} | (
        {} if if_version is None else {"if_version": if_version}
    )


def delete(user_id: object, *, if_version: Any = None) -> dict[str, Any]:
    return {"op": "delete", "id": user_id} | _at(if_version)


def _at(version: Any) -> dict[str, Any]:
    return {} if version is None else {"if_version": version}


def codes(answer: Response) -> list[Any]:
    """What became of each operation: the status, or the code of its error."""
    assert answer.status_code == 200, answer.text
    return [result.get("error", {}).get("code") or result["status"] for result in answer.json()["results"]]
