"""Own fields of somebody who has to prove his address first wait with the link, and are there with the account."""

from __future__ import annotations

from typing import Any

import pytest
from httpx import AsyncClient

from tests.account.conftest import ANOTHER, Outbox, outbox
from tests.conftest import PATIENT, MakeKey
from tests.profiles.conftest import SALES

__all__ = ["outbox"]


@pytest.fixture
def overrides() -> dict[str, Any]:
    return {"signup": "verified", **PATIENT}


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_own_fields_come_with_the_account(client: AsyncClient, outbox: Outbox, make_key: MakeKey) -> None:
    asked = {"username": "ada", "email": "ada@example.org", "password": "correct horse battery"}

    refused = await client.post("/users/", json={**asked, "profile": {**SALES, "clearance": 1}})
    accepted = await client.post("/users/", json={**asked, "profile": {**SALES, "badge": 3}})
    (letter,) = await outbox()
    made = await client.post("/auth/register/confirm", json={"token": letter.token, "password": ANOTHER})
    found = await client.get("/users/", params={"profile.badge": "3"}, headers=await make_key())

    assert (refused.status_code, accepted.status_code, made.status_code) == (422, 202, 201)
    assert (made.json()["profile"]["department"], made.json()["profile"]["badge"]) == ("sales", 3)
    assert [each["username"] for each in found.json()] == ["ada"]
