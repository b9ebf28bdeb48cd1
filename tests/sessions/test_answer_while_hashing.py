"""R15: fifty sign-ins at once hold nobody up, with real argon2id. Their figures are a benchmark's."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from httpx import AsyncClient

from denizen.core.accounts import Accounts
from denizen.core.hashers import Argon2Hasher
from tests.conftest import PATIENT, MakeUser
from tests.sessions.conftest import bearer, login

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def overrides() -> dict[str, Any]:
    return {**PATIENT, "hash_threads": 2}


async def test_others_are_answered_while_fifty_sign_in(
    client: AsyncClient, accounts: Accounts, make_user: MakeUser
) -> None:
    accounts.hashing.hasher = Argon2Hasher()
    people = [(await make_user())["username"] for _ in range(10)]
    headers = bearer((await login(client, people[0])).json()["access_token"])

    waiting = [asyncio.create_task(login(client, people[number % 10])) for number in range(50)]
    answered = 0
    while not all(attempt.done() for attempt in waiting):
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.get("/auth/sessions/current", headers=headers)).status_code == 200
        answered += 1
        await asyncio.sleep(0)

    assert [(await attempt).status_code for attempt in waiting] == [200] * 50
    assert answered > 50  # a hash takes longer than both answers: with one on the event loop there would be no more
