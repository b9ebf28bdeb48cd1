from __future__ import annotations

from functools import partial
from typing import Any
from uuid import UUID

import anyio
import pytest
from httpx import AsyncClient

from denizen.core.accounts import Accounts
from denizen.core.auth import Scope, known_scopes
from denizen.core.events import Event
from denizen.core.ids import new_id
from denizen.keys import service
from denizen.keys.events import KeyRevoked
from tests.conftest import PATIENT, Clock, MakeKey
from tests.keys.conftest import Headers, MakeChild


@pytest.fixture
def overrides() -> dict[str, Any]:
    return dict(PATIENT)


async def works(client: AsyncClient, headers: Headers) -> bool:
    return (await client.get("/keys/current", headers=headers)).status_code == 200


async def test_key_ends_at_once_and_with_it_three_generations(
    client: AsyncClient, make_key: MakeKey, make_child: MakeChild, accounts: Accounts, clock: Clock
) -> None:
    root = await make_key()
    child = await make_child(root)
    grandchild = await make_child(child["headers"])
    great_grandchild = await make_child(grandchild["headers"])
    sister = await make_child(root)
    heard: list[Event] = []

    async def hear(_: Any, event: Event) -> None:
        heard.append(event)

    accounts.listeners = (hear,)
    clock.turn(minutes=1)

    answer = await client.delete(f"/keys/{child['id']}", headers=root)

    assert (answer.status_code, answer.content) == (204, b"")
    for key in (child, grandchild, great_grandchild):
        assert not await works(client, key["headers"])
    assert await works(client, root)
    assert await works(client, sister["headers"])
    ended = [key["revoked_at"] for key in (await client.get("/keys/", headers=root)).json()]
    assert ended == [None, *["2026-01-31T09:31:00.123456Z"] * 3, None]
    assert heard == [KeyRevoked(UUID(child["id"]), 3)]

    clock.turn(minutes=1)
    assert (await client.delete(f"/keys/{child['id']}", headers=root)).status_code == 204
    assert [key["revoked_at"] for key in (await client.get("/keys/", headers=root)).json()] == ended
    assert len(heard) == 1


async def test_key_may_end_itself_and_what_has_no_more_than_it(
    client: AsyncClient, make_key: MakeKey, make_child: MakeChild
) -> None:
    root = await make_key()
    strong = await make_child(root, "users:read", "users:write", "keys:write")
    weak = await make_child(root, "users:read", "keys:write")
    reader = await make_child(root, "users:read")

    refused = await client.delete(f"/keys/{strong['id']}", headers=weak["headers"])
    assert (refused.status_code, refused.json()["code"]) == (403, "key_beyond_maker")
    assert await works(client, strong["headers"])
    assert (await client.delete(f"/keys/{reader['id']}", headers=weak["headers"])).status_code == 204
    assert (await client.delete(f"/keys/{weak['id']}", headers=weak["headers"])).status_code == 204
    assert not await works(client, weak["headers"])


async def test_key_that_is_none_is_not_found(admin: AsyncClient) -> None:
    for key_id in (str(new_id()), "7", "current", "019a5c1e-7f00-4a11-8b22-3c33d44e55f6", "x" * 300):
        answer = await admin.delete(f"/keys/{key_id}")
        assert (answer.status_code, answer.json()["code"]) == (404, "key_not_found")


async def test_child_that_is_made_while_its_family_ends_ends_with_it(
    client: AsyncClient, make_key: MakeKey, make_child: MakeChild, accounts: Accounts
) -> None:
    """Whichever comes first: who makes a key holds its maker, and who revokes looks again once he holds it."""
    root = await make_key(Scope.KEYS_WRITE)
    root_id = UUID((await client.get("/keys/current", headers=root)).json()["id"])
    child = await make_child(root, "keys:write")
    maker = await service.recognise(accounts, child["token"], accounts.clock())
    assert maker is not None
    ended: list[int] = []

    async def revoke() -> None:
        async with accounts.writing() as db:
            ended.append(await service.revoke_key(db, root_id, by=None, at=accounts.clock()))

    async with anyio.create_task_group() as group, accounts.writing() as db:
        _, token = await service.issue_key(
            db, name="late", scopes=known_scopes(maker.scopes), maker=maker, expires_at=None, at=accounts.clock()
        )
        group.start_soon(revoke)
        await anyio.sleep(0.2)  # long enough to come to where it waits
        assert ended == []

    assert ended == [3]
    assert not await works(client, {"Authorization": f"Bearer {token}"})


@pytest.mark.slow
async def test_no_child_survives_a_storm_of_makers(
    client: AsyncClient, make_key: MakeKey, make_child: MakeChild
) -> None:
    for attempt in range(4):
        root = await make_key()
        child = await make_child(root)
        statuses: list[int] = []
        keys = [root, child["headers"]]

        async def make(maker: Headers, statuses: list[int] = statuses, keys: list[Headers] = keys) -> None:
            answer = await client.post("/keys/", json={"name": "x", "scopes": ["users:read"]}, headers=maker)
            statuses.append(answer.status_code)
            if answer.status_code == 201:
                keys.append({"Authorization": f"Bearer {answer.json()['token']}"})

        async with anyio.create_task_group() as group:
            for number in range(12):
                group.start_soon(make, root if number % 2 else child["headers"])
                if number == 3 * attempt:
                    group.start_soon(partial(client.delete, f"/keys/{child['maker_id']}", headers=root))

        assert set(statuses) <= {201, 401}
        assert [await works(client, headers) for headers in keys] == [False] * len(keys)


async def test_child_cannot_revoke_its_maker(client: AsyncClient, make_key: MakeKey) -> None:
    maker = await make_key()
    body = {"name": "child", "scopes": [scope.value for scope in Scope]}
    child = (await client.post("/keys/", json=body, headers=maker)).json()
    maker_id = (await client.get("/keys/current", headers=maker)).json()["id"]

    refused = await client.delete(f"/keys/{maker_id}", headers={"Authorization": f"Bearer {child['token']}"})

    assert (refused.status_code, refused.json()["code"]) == (403, "key_beyond_maker")
    assert (await client.get("/keys/current", headers=maker)).status_code == 200
