"""Own fields of somebody who has to prove his address first wait with the link, and are there with the account."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

import pytest
from httpx import AsyncClient
from pydantic import BaseModel, Field

from denizen.core.accounts import Accounts
from denizen.core.assembly import assemble
from denizen.core.hashers import NullHasher
from denizen.onetime.service import issue
from denizen.settings import Settings
from denizen.signup.schemas import SignUpConfirm
from denizen.signup.service import confirm_sign_up
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


class Guarded(BaseModel):
    """The same accounts later: what people chose of themselves is others' to set by now."""

    department: str
    badge: Annotated[int | None, Field(json_schema_extra={"readOnly": True})] = None


class Moved(BaseModel):
    """And where what they chose does not fit any more."""

    department: int


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize(
    ("kept", "model", "stored"),
    [
        ({"profile": {**SALES, "badge": 3}}, Guarded, {**SALES, "badge": None}),
        ({"profile": SALES}, Moved, {}),
        ({}, Guarded, {}),
    ],
    ids=["read-only by now", "a misfit by now", "a link of before there were profiles"],
)
async def test_what_a_link_carries_is_judged_as_of_today_and_keeps_nobody_out(
    accounts: Accounts, settings: Settings, kept: dict[str, Any], model: type[BaseModel], stored: dict[str, Any]
) -> None:
    at, payload = accounts.clock(), {"username": "ada", "full_name": None, **kept}
    async with accounts.writing() as db:
        token = await issue(
            accounts, db, "sign_up", at=at, lifetime=timedelta(hours=1), email="ada@example.org", payload=payload
        )
    later = assemble(settings, (), hasher=NullHasher(), profile=model)
    try:
        async with later.writing() as db:
            user = await confirm_sign_up(later, db, SignUpConfirm(token=token, password=ANOTHER), at=at)

        assert user.profile == stored
    finally:
        await later.close()
