"""R18: two processes on one database agree on sign-ins and on limits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient

from denizen.app import create_app
from denizen.core.deps import installs_of
from denizen.core.hashers import NullHasher
from denizen.settings import Settings
from tests.conftest import BASE_URL, Clock
from tests.sessions.conftest import SignIn, login, works


@pytest.fixture
async def other(settings: Settings, clock: Clock) -> AsyncIterator[AsyncClient]:
    """A client of another server on the same database."""
    app: FastAPI = create_app(settings, hasher=NullHasher(), clock=clock)
    async with AsyncClient(transport=ASGITransport(app, raise_app_exceptions=False), base_url=BASE_URL) as client:
        yield client
    for accounts in installs_of(app):
        await accounts.close()


async def test_sign_in_at_one_holds_at_the_other_and_ends_at_both(
    client: AsyncClient, other: AsyncClient, sign_in: SignIn
) -> None:
    headers = await sign_in()

    assert await works(other, headers)
    assert (await other.post("/auth/logout", headers=headers)).status_code == 204
    assert not await works(client, headers)


async def test_wrong_guesses_at_both_are_counted_together(
    client: AsyncClient, other: AsyncClient, ada: dict[str, Any]
) -> None:
    statuses = [(await login(server, password="wrong")).status_code for server in (client, other) * 6]

    assert statuses == [401] * 10 + [429] * 2
