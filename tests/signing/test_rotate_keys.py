"""Keys are changed without a request that fails, by whichever process, and at once when one has leaked."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import load_der_private_key
from httpx import AsyncClient
from pydantic import SecretStr
from sqlalchemy import func, select

from denizen.core.accounts import Accounts
from denizen.core.secret import Unreadable
from denizen.signing.feature import FEATURE
from denizen.signing.models import SigningKey
from denizen.signing.service import ANNOUNCED, KEPT, MAX_AGE, REFRESHED, rotate_keys, rotate_when_due
from tests.conftest import PATIENT, Clock
from tests.signing.conftest import Another, Service, kid_of, sign


@pytest.fixture
def overrides() -> dict[str, Any]:
    return PATIENT


async def stored(accounts: Accounts) -> int:
    async with accounts.database.read.session() as db:
        return int((await db.execute(select(func.count()).select_from(SigningKey))).scalar_one())


async def published(client: AsyncClient) -> list[str]:
    return [key["kid"] for key in (await client.get("/.well-known/jwks.json")).json()["keys"]]


async def test_processes_that_begin_at_once_make_one_key(another: Another) -> None:
    processes = [another() for _ in range(5)]

    tokens = await asyncio.gather(*(sign(each) for each in processes * 4))

    assert len({kid_of(token) for token in tokens}) == 1
    assert await stored(processes[0]) == 1


async def test_processes_that_rotate_at_once_make_one_key(another: Another) -> None:
    processes = [another() for _ in range(5)]
    await sign(processes[0])

    made = await asyncio.gather(*(rotate_keys(each, at=each.clock()) for each in processes))

    assert len({key.id for key in made}) == 1
    assert await stored(processes[0]) == 2


@pytest.mark.slow
async def test_no_valid_request_fails_while_keys_change(
    accounts: Accounts, another: Another, client: AsyncClient, clock: Clock
) -> None:
    """Two processes sign; services that fetched the keys at different times check, without looking again before they
    have to.
    """
    processes = [accounts, another()]
    services = [Service(client, clock) for _ in range(6)]
    valid: list[str] = []
    seen = set[str]()
    for step in range(120):
        clock.turn(seconds=15)
        if step in (30, 31, 75):
            await rotate_keys(processes[step % 2], at=clock())
        valid = [*valid[-6:], *[await sign(each) for each in processes]]  # the oldest is 45 seconds old
        seen.update(map(kid_of, valid))
        for number, service in enumerate(services):
            if step >= 3 * number:  # so that their sets run out at different times
                for token in valid:
                    assert await service.check(token)

    assert len(seen) == 3
    assert {service.fetched for service in services} <= {5, 6}


async def test_a_key_is_published_before_it_signs_and_after_it_has(
    accounts: Accounts, client: AsyncClient, clock: Clock
) -> None:
    first = kid_of(await sign(accounts))
    second = str((await rotate_keys(accounts, at=clock())).id)

    assert await published(client) == [first, second]
    assert kid_of(await sign(accounts)) == first
    clock.turn(seconds=ANNOUNCED.total_seconds() - 1)
    assert kid_of(await sign(accounts)) == first
    clock.turn(seconds=1)
    assert kid_of(await sign(accounts)) == second
    clock.turn(seconds=KEPT.total_seconds() - 1)
    assert await published(client) == [first, second]
    clock.turn(seconds=1)
    assert await published(client) == [second]
    assert ANNOUNCED >= 2 * MAX_AGE


async def test_a_key_that_waits_is_not_overtaken(accounts: Accounts, clock: Clock) -> None:
    await sign(accounts)
    waiting = await rotate_keys(accounts, at=clock())

    assert (await rotate_keys(accounts, at=clock())).id == waiting.id


async def test_a_leaked_key_is_withdrawn_at_once(
    accounts: Accounts, another: Another, client: AsyncClient, clock: Clock
) -> None:
    """Other processes sign with the new one after some seconds."""
    other = another()
    leaked = kid_of(await sign(other))
    await rotate_keys(accounts, at=clock())

    made = await rotate_keys(accounts, at=clock(), at_once=True)

    assert await published(client) == [str(made.id)]
    assert kid_of(await sign(accounts)) == str(made.id)
    assert kid_of(await sign(other)) == leaked
    clock.turn(seconds=REFRESHED.total_seconds())
    assert kid_of(await sign(other)) == str(made.id)


async def test_keys_change_by_themselves_when_they_are_old(accounts: Accounts, clock: Clock) -> None:
    await rotate_when_due(accounts)
    assert await stored(accounts) == 0  # who signs nothing needs no key
    first = kid_of(await sign(accounts))

    clock.turn(days=89)
    await rotate_when_due(accounts)
    assert await stored(accounts) == 1
    clock.turn(days=1)
    await rotate_when_due(accounts)
    await rotate_when_due(accounts)

    assert await stored(accounts) == 2
    assert kid_of(await sign(accounts)) == first
    clock.turn(minutes=10)
    assert kid_of(await sign(accounts)) != first
    assert [job.name for job in FEATURE.jobs] == ["rotate signing keys"]


async def test_withdrawn_keys_are_deleted(accounts: Accounts, clock: Clock) -> None:
    await sign(accounts)
    await rotate_keys(accounts, at=clock())
    (cleaner,) = FEATURE.cleaners

    async def clean() -> int:
        async with accounts.writing() as db:
            return await cleaner.run(accounts, db, clock(), 100)

    assert await clean() == 0
    clock.turn(seconds=(ANNOUNCED + KEPT).total_seconds())
    assert await clean() == 1
    assert await stored(accounts) == 1


async def test_a_clock_that_goes_back_stops_nothing(accounts: Accounts, clock: Clock) -> None:
    await sign(accounts)
    clock.at -= timedelta(days=400)

    assert await sign(accounts)
    assert await stored(accounts) == 1


async def test_another_secret_is_told_and_a_new_key_helps(accounts: Accounts, another: Another, clock: Clock) -> None:
    await sign(accounts)
    moved = another(secret_key=SecretStr("another secret, as long as the first 1"))

    with pytest.raises(Unreadable, match="DENIZEN_SECRET_KEY"):
        await sign(moved)
    made = await rotate_keys(moved, at=clock(), at_once=True)

    assert kid_of(await sign(moved)) == str(made.id)


async def test_private_halves_are_not_stored_in_clear(accounts: Accounts) -> None:
    await sign(accounts)

    async with accounts.database.read.session() as db:
        (key,) = (await db.scalars(select(SigningKey))).all()

    assert "d" not in json.loads(key.public)
    assert jwt.PyJWK.from_json(key.public).key.curve.name == "secp256r1"
    with pytest.raises(ValueError, match="deserialize"):
        load_der_private_key(key.private, password=None)
    assert "private" not in repr(key)
