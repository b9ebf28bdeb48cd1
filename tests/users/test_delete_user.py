from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import anyio
import pytest
from httpx import AsyncClient
from sqlalchemy import update

from denizen.core.accounts import Accounts
from denizen.core.auth import Scope
from denizen.core.events import Event
from denizen.keys.models import Key
from denizen.users.events import UserDeleted
from tests.conftest import PATIENT, MakeKey, MakeUser


@pytest.fixture
def overrides() -> dict[str, Any]:
    return dict(PATIENT)


async def test_account_is_gone_and_its_names_stay_taken(admin: AsyncClient, make_user: MakeUser) -> None:
    made = await make_user(username="ada", email="ada@example.org")
    stays = await make_user()
    path = f"/users/{made['id']}"

    answer = await admin.delete(path)

    assert (answer.status_code, answer.content) == (204, b"")
    assert (await admin.get(path)).status_code == 404
    assert (await admin.delete(path)).json()["code"] == "user_not_found"
    assert (await admin.patch(path, json={"full_name": "Ada"})).json()["code"] == "user_not_found"
    assert (await admin.get("/users/")).json() == [stays]
    for names in ({"username": "ADA"}, {"email": "Ada@Example.org"}, {"username": "аda"}):
        body = {"username": "eve", "email": "eve@example.org", "password": "correct horse battery"} | names
        assert (await admin.post("/users/", json=body)).status_code == 409


async def test_only_the_version_that_was_read_is_deleted(admin: AsyncClient, make_user: MakeUser) -> None:
    path = f"/users/{(await make_user())['id']}"
    await admin.patch(path, json={"full_name": "Ada"})

    for stale in (
        '"1"',
        '"3"',
        'W/"2"',
        "2",
        '"02"',
        '""',
        "",
        '"1", "3"',
        '"²"',
        '"3000000000"',
        "garbage",
        '"' + "9" * 30 + '"',
    ):
        answer = await admin.delete(path, headers={b"If-Match": stale.encode()})
        assert (answer.status_code, answer.json()["code"]) == (412, "user_changed"), stale
    assert (await admin.delete(path, headers={"If-Match": '"2"'})).status_code == 204
    assert (await admin.delete(path, headers={"If-Match": '"2"'})).status_code == 404

    for whichever in ("*", ' "1" '):
        path = f"/users/{(await make_user())['id']}"
        assert (await admin.delete(path, headers={"If-Match": whichever})).status_code == 204


async def test_keys_of_the_account_go_with_it_and_with_them_what_they_made(
    admin: AsyncClient, make_user: MakeUser, make_key: MakeKey, accounts: Accounts
) -> None:
    made = await make_user()
    own = await make_key(Scope.USERS_READ, Scope.KEYS_WRITE)
    own_id = (await admin.get("/keys/current", headers=own)).json()["id"]
    child = (await admin.post("/keys/", json={"name": "child", "scopes": ["users:read"]}, headers=own)).json()
    async with accounts.writing() as db:  # no address gives keys to people yet
        await db.execute(update(Key).where(Key.id == UUID(own_id)).values(user_id=UUID(made["id"])))

    await admin.delete(f"/users/{made['id']}")

    for token in (own["Authorization"], f"Bearer {child['token']}"):
        assert (await admin.get("/users/", headers={"Authorization": token})).status_code == 401
    ended = [key["revoked_at"] is not None for key in (await admin.get("/keys/")).json()]
    assert ended == [False, True, True]


async def test_deleting_needs_the_right_to(client: AsyncClient, make_user: MakeUser, make_key: MakeKey) -> None:
    path = f"/users/{(await make_user())['id']}"

    anybody = await client.delete(path)
    reader = await client.delete(path, headers=await make_key(Scope.USERS_READ, Scope.USERS_IMPORT, Scope.KEYS_WRITE))

    assert (anybody.status_code, anybody.json()["code"]) == (401, "credentials_missing")
    assert (reader.status_code, reader.json()["code"]) == (403, "scope_missing")
    assert (await client.get(path, headers=await make_key(Scope.USERS_READ))).status_code == 200


async def test_of_twenty_at_once_one_deletes(admin: AsyncClient, make_user: MakeUser, accounts: Accounts) -> None:
    path = f"/users/{(await make_user())['id']}"
    heard: list[Event] = []

    async def listen(_: Any, event: Event) -> None:
        heard.append(event)

    accounts.listeners = (listen,)
    statuses: list[int] = []

    async def erase() -> None:
        statuses.append((await admin.delete(path)).status_code)

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(erase)

    assert sorted(statuses) == [204] + [404] * 19
    user_id, erase_at = UUID(path.rpartition("/")[2]), accounts.clock() + timedelta(days=30)
    assert heard == [UserDeleted(user_id, erase_at)]
