"""Sign-up that is open, or closed: `/auth/register` does what `POST /users/` does for strangers."""

from __future__ import annotations

from typing import Any

import pytest
from httpx import AsyncClient

from denizen.core.auth import Scope
from tests.account.conftest import Outbox
from tests.conftest import Clock, MakeKey

ADA = {"username": "ada", "email": "Ada@example.org", "full_name": "Ada", "password": "correct horse battery"}


@pytest.mark.parametrize("path", ["/users/", "/auth/register"])
async def test_account_is_there_at_once_and_its_address_can_be_proved(
    client: AsyncClient, outbox: Outbox, path: str, clock: Clock
) -> None:
    made = await client.post(path, json=ADA)

    assert made.status_code == 201
    assert made.headers["location"] == f"http://testserver/users/{made.json()['id']}"
    assert made.headers["etag"] == '"1"'
    (letter,) = await outbox()
    assert (letter.template, letter.address) == ("verify", "Ada@example.org")
    assert letter.link.startswith("http://testserver/auth/verify?token=dzv_")
    page = await client.get(letter.link)
    assert page.status_code == 200
    proved = await client.post("/auth/verify", json={"token": letter.token, "password": "a staple of seven seas"})
    assert proved.status_code == 200


async def test_letter_is_in_the_readers_language(client: AsyncClient, outbox: Outbox) -> None:
    await client.post("/auth/register", json=ADA, headers={"Accept-Language": "fr, de-AT;q=0.8, en;q=0.2"})

    (letter,) = await outbox()
    assert "Guten Tag" in letter.text


async def test_whoever_may_create_accounts_causes_no_letter(
    client: AsyncClient, outbox: Outbox, make_key: MakeKey
) -> None:
    headers = await make_key(Scope.USERS_WRITE)
    assert (await client.post("/users/", json=ADA, headers=headers)).status_code == 201
    assert await outbox() == []


@pytest.mark.parametrize("field", ["is_active", "external_id", "id", "email_verified_at", "created_at", "roles"])
async def test_nobody_sets_more_of_himself(client: AsyncClient, field: str) -> None:
    """Mass assignment is refused."""
    refused = await client.post("/auth/register", json=ADA | {field: True})
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid")


async def test_sent_again_with_its_key_it_is_one_account_and_one_letter(client: AsyncClient, outbox: Outbox) -> None:
    key = {"Idempotency-Key": "k1"}
    first = await client.post("/auth/register", json=ADA, headers=key)
    again = await client.post("/auth/register", json=ADA, headers=key)

    assert (again.status_code, again.content) == (201, first.content)
    assert len(await outbox()) == 1


class TestClosed:
    @pytest.fixture
    def overrides(self) -> dict[str, Any]:
        return {"signup": "closed"}

    async def test_nobody_signs_up(self, client: AsyncClient, make_key: MakeKey, outbox: Outbox) -> None:
        refused = await client.post("/auth/register", json=ADA)
        assert (refused.status_code, refused.json()["code"]) == (403, "sign_up_closed")
        assert (await client.post("/users/", json=ADA)).status_code == 401
        assert (await client.post("/users/", json=ADA, headers=await make_key())).status_code == 201
        assert await outbox() == []
