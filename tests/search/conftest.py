"""People to find, and finding them over the API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from httpx import AsyncClient

from tests.cli.conftest import command, denizen, environment  # noqa: F401  (fixtures)

Find = Callable[..., Awaitable[list[str]]]


@pytest.fixture
def find(admin: AsyncClient) -> Find:
    """Search; gives usernames, the best first."""

    async def run(q: str, **asked: object) -> list[str]:
        answer = await admin.get("/users/", params={"q": q, **{name: str(value) for name, value in asked.items()}})
        assert answer.status_code == 200, answer.text
        return [each["username"] for each in answer.json()]

    return run
