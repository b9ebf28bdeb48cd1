"""Guessing passwords over HTTP: slowed down for an account as a whole, and never for its owner alone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient

from tests.conftest import BASE_URL, PATIENT, Clock
from tests.sessions.conftest import SignIn, login

STRANGER = "203.0.113.66"
SPELLINGS = ("ada", "ADA", "Ada@example.org", "ada@example.org")


@pytest.fixture
def overrides() -> dict[str, Any]:
    return dict(PATIENT)


def coming_from(app: FastAPI, address: str) -> AsyncClient:
    return AsyncClient(transport=ASGITransport(app, raise_app_exceptions=False, client=(address, 1)), base_url=BASE_URL)


async def test_wrong_guesses_are_counted_for_all_spellings_and_endpoints(
    client: AsyncClient, ada: dict[str, Any], sign_in: SignIn
) -> None:
    """At most 100 wrong guesses an account before back-off, counted once for all spellings and all endpoints."""
    headers = await sign_in()
    statuses = []

    for number in range(24):
        if number % 2:
            answer = await login(client, SPELLINGS[number // 2 % 4], "wrong")
        else:
            answer = await client.post("/auth/reauthenticate", json={"password": "wrong"}, headers=headers)
        statuses.append(answer.status_code)

    assert statuses == [401] * 10 + [429] * 14


async def test_refusal_says_how_long_and_what_the_limit_is(client: AsyncClient, ada: dict[str, Any]) -> None:
    for _ in range(10):
        assert (await login(client, password="wrong")).status_code == 401

    answer = await login(client)

    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_requests")
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["ratelimit-policy"] == '"guesses";q=10;w=86400'
    assert answer.headers["ratelimit"] == '"guesses";r=0;t=1'


async def test_unknown_name_is_slowed_down_alike(client: AsyncClient, ada: dict[str, Any]) -> None:
    async def seen(name: str) -> list[tuple[int, bytes]]:
        answers = [await login(client, name, "wrong", headers={"X-Request-Id": "the-same"}) for _ in range(12)]
        return [(answer.status_code, answer.content) for answer in answers]

    assert await seen("ada") == await seen("nobody")


@pytest.mark.slow
async def test_owner_gets_in_from_a_known_address_while_a_stranger_hammers(
    app: FastAPI, client: AsyncClient, sign_in: SignIn, clock: Clock
) -> None:
    """The owner is not locked out by a stranger for ever."""
    await sign_in()
    async with coming_from(app, STRANGER) as stranger:
        for _ in range(30):
            refused = await login(stranger, password="wrong")
            clock.turn(seconds=int(refused.headers.get("retry-after", 0)))
            await login(stranger, password="wrong")

        assert (await login(stranger)).status_code == 429
    assert (await login(client)).status_code == 200


async def test_owner_gets_in_from_an_unknown_address_once_he_has_waited(
    app: FastAPI, ada: dict[str, Any], clock: Clock
) -> None:
    """Back-off, and no lock-out for ever."""
    async with coming_from(app, STRANGER) as anywhere:
        for _ in range(40):
            clock.turn(seconds=int((await login(anywhere, password="wrong")).headers.get("retry-after", 0)))
        refused = await login(anywhere, password="wrong")
        refused = await login(anywhere)
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) <= 900

        clock.turn(seconds=int(refused.headers["retry-after"]))

        assert (await login(anywhere)).status_code == 200


@pytest.mark.slow
async def test_parallel_guesses_tell_no_more_than_one_after_the_other(client: AsyncClient, ada: dict[str, Any]) -> None:
    answers = await asyncio.gather(*(login(client, SPELLINGS[n % 4], f"wrong {n}") for n in range(30)))

    assert sorted(answer.status_code for answer in answers) == [401] * 10 + [429] * 20


class TestRates:
    @pytest.fixture
    def overrides(self) -> dict[str, Any]:
        return {**PATIENT, "sign_in_rate_per_address": 6}

    async def test_one_address_tries_no_end_of_accounts(
        self, app: FastAPI, client: AsyncClient, ada: dict[str, Any], clock: Clock
    ) -> None:
        """One password tried on many accounts."""
        for number in range(6):
            assert (await login(client, f"person{number}")).status_code == 401

        refused = await login(client)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "10")
        assert refused.headers["ratelimit-policy"] == '"sign-in";q=6;w=60'
        async with coming_from(app, STRANGER) as elsewhere:
            assert (await login(elsewhere)).status_code == 200
        clock.turn(seconds=10)
        assert (await login(client)).status_code == 200
