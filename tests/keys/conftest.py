"""Keys made over the API, as clients make them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from httpx import AsyncClient

Headers = dict[str, str]
MakeChild = Callable[..., Awaitable[dict[str, Any]]]


def bearer(token: str) -> Headers:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def make_child(client: AsyncClient) -> MakeChild:
    """Make a key with the key in `maker`; gives it as answered, and the headers that carry it as `headers`."""

    async def make(maker: Headers, *scopes: str, **fields: Any) -> dict[str, Any]:
        wanted = list(scopes) or ["users:read", "keys:write"]
        answer = await client.post("/keys/", json={"name": "child", "scopes": wanted, **fields}, headers=maker)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made | {"headers": bearer(made["token"])}

    return make
