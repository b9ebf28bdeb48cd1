"""What is mailed to sign in by cannot be foretold, is not stored as it is, and does not last."""

from __future__ import annotations

import hashlib
import random
import secrets
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest
from httpx import AsyncClient
from sqlalchemy import select

from denizen.core.accounts import Accounts
from denizen.core.base import Base
from denizen.onetime.models import OneTimeToken
from denizen.onetime.service import issue_code
from tests.account.conftest import Outbox, proved
from tests.conftest import PATIENT, Clock, MakeUser
from tests.passwordless.test_sign_in_by_letter import CODE, LINK, ask, code_in


@pytest.fixture
def overrides() -> dict[str, Any]:
    return {"sign_in_rate_per_address": 0, "mail_rate_per_recipient": 0, "magic_link_lifetime": 600, **PATIENT}


@pytest.fixture
async def ada(make_user: MakeUser, accounts: Accounts) -> dict[str, Any]:
    made = await make_user(username="ada", email="ada@example.org")
    await proved(accounts, made)
    return made


async def stored_values(accounts: Accounts) -> list[Any]:
    """Everything that is in our tables; ids and times, which hold digits of their own, are left out."""
    found: list[Any] = []
    async with accounts.database.read.session() as db:
        for table in Base.metadata.sorted_tables:
            if table.name.startswith("denizen_") and "search" not in table.name:
                rows = (await db.execute(select(*table.columns))).all()
                found += [each for row in rows for each in row if not isinstance(each, UUID | datetime | None)]
    return found


async def test_code_is_stored_nowhere_in_the_clear(
    client: AsyncClient, accounts: Accounts, ada: dict[str, Any], outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor as a digest that anybody could compute from a million codes, who has the database and no key."""
    monkeypatch.setattr(secrets, "randbelow", lambda _: 802_917)
    ticket = (await ask(client, "code")).json()["ticket"]
    (letter,) = await outbox()
    code = code_in(letter.text)
    assert code == "802917"

    values = await stored_values(accounts)
    assert [each for each in values if code.encode() in (each if isinstance(each, bytes) else str(each).encode())] == []
    async with accounts.database.read.session() as db:
        digest = (await db.scalars(select(OneTimeToken.code_digest))).one()
    for text in (code, ticket + code, code + ticket, f"{ticket} {code}"):
        for algorithm in ("md5", "sha1", "sha256", "sha512", "blake2b"):
            assert hashlib.new(algorithm, text.encode()).digest()[:32] != digest
    assert (await client.post(CODE, json={"ticket": ticket, "code": code})).status_code == 200


async def test_codes_come_from_the_generator_for_secrets(
    accounts: Accounts, ada: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever knows the state of `random` foretells none, and a code is all of what `secrets` gave."""

    async def make() -> str:
        async with accounts.writing() as db:
            made = await issue_code(accounts, db, at=accounts.clock(), user_id=UUID(ada["id"]), email="ada@example.org")
        return made[1]

    before = random.getstate()
    try:
        series = []
        for _ in range(2):
            random.seed(7)
            series.append([await make() for _ in range(10)])
        random.seed(7)
        foretold = [f"{random.randrange(1_000_000):06}" for _ in range(10)]
    finally:
        random.setstate(before)
    assert series[0] != series[1]
    assert foretold not in series
    assert len({*series[0], *series[1]}) >= 18
    assert all(len(each) == 6 and each.isascii() and each.isdigit() for each in series[0] + series[1])

    monkeypatch.setattr(secrets, "randbelow", {1_000_000: 42}.__getitem__)
    assert await make() == "000042"


async def test_link_ends_after_its_lifetime(
    client: AsyncClient, ada: dict[str, Any], outbox: Outbox, clock: Clock
) -> None:
    await ask(client, "link")
    (letter,) = await outbox()
    clock.turn(seconds=599)
    assert (await client.get(letter.link)).status_code == 200
    clock.turn(seconds=1)

    refused = await client.post(LINK, json={"token": letter.token})
    assert (refused.status_code, refused.json()["code"]) == (422, "link_invalid")
    assert (await client.get(letter.link)).status_code == 422


async def test_newer_link_ends_the_older_one(client: AsyncClient, ada: dict[str, Any], outbox: Outbox) -> None:
    for _ in range(2):
        await ask(client, "link")
    older, newer = await outbox()

    refused = await client.post(LINK, json={"token": older.token})
    assert (refused.status_code, refused.json()["code"]) == (422, "link_invalid")
    assert (await client.post(LINK, json={"token": newer.token})).status_code == 200
