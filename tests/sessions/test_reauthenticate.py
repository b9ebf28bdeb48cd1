"""Proving anew who one is: sensitive acts want it, and the token changes with it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from httpx import AsyncClient

from tests.conftest import PATIENT, Clock
from tests.sessions.conftest import PASSWORD, SignIn, bearer, works


@pytest.fixture
def overrides() -> dict[str, Any]:
    return dict(PATIENT)


async def test_token_changes_and_the_old_one_is_dead(client: AsyncClient, sign_in: SignIn, clock: Clock) -> None:
    """The session id changes at step-up."""
    old = await sign_in()
    before = (await client.get("/auth/sessions/current", headers=old)).json()
    clock.turn(days=1)

    answer = await client.post("/auth/reauthenticate", json={"password": PASSWORD}, headers=old)

    assert answer.status_code == 200
    body = answer.json()
    assert body["access_token"] != old["Authorization"].removeprefix("Bearer ")
    assert body["expires_in"] == 89 * 86400
    assert body["session"]["expires_at"] == before["expires_at"]
    assert body["session"]["authenticated_at"] == "2026-02-01T09:30:00.123456Z"
    assert not await works(client, old)
    assert await works(client, bearer(body["access_token"]))


async def test_sensitive_acts_want_a_recent_proof(client: AsyncClient, sign_in: SignIn, clock: Clock) -> None:
    headers = await sign_in()
    await sign_in()
    clock.turn(seconds=601)

    refused = await client.delete("/auth/sessions", headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (403, "reauthentication_needed")
    proved = await client.post("/auth/reauthenticate", json={"password": PASSWORD}, headers=headers)
    headers = bearer(proved.json()["access_token"])
    clock.turn(seconds=600)
    assert (await client.delete("/auth/sessions", headers=headers)).status_code == 204


async def test_ending_a_single_sign_in_wants_a_recent_proof(client: AsyncClient, sign_in: SignIn, clock: Clock) -> None:
    headers, other = await sign_in(), await sign_in()
    path = "/auth/sessions/" + (await client.get("/auth/sessions/current", headers=other)).json()["id"]
    clock.turn(seconds=601)

    refused = await client.delete(path, headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (403, "reauthentication_needed")
    assert await works(client, other)
    proved = await client.post("/auth/reauthenticate", json={"password": PASSWORD}, headers=headers)
    headers = bearer(proved.json()["access_token"])
    assert (await client.delete(path, headers=headers)).status_code == 204
    assert not await works(client, other)
    assert await works(client, headers)


async def test_wrong_password_proves_nothing(client: AsyncClient, sign_in: SignIn, clock: Clock) -> None:
    headers = await sign_in()
    clock.turn(hours=1)

    refused = await client.post("/auth/reauthenticate", json={"password": "wrong"}, headers=headers)

    assert (refused.status_code, refused.json()["code"]) == (401, "sign_in_failed")
    assert (await client.delete("/auth/sessions", headers=headers)).status_code == 403
    assert await works(client, headers)


async def test_of_twenty_at_once_one_gets_the_new_token(client: AsyncClient, sign_in: SignIn) -> None:
    headers = await sign_in()

    answers = await asyncio.gather(
        *(client.post("/auth/reauthenticate", json={"password": PASSWORD}, headers=headers) for _ in range(20))
    )

    assert sorted(answer.status_code for answer in answers) == [200] + [401] * 19
    [token] = [answer.json()["access_token"] for answer in answers if answer.status_code == 200]
    assert await works(client, bearer(token))
