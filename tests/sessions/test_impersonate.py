"""Acting in somebody's place: a quarter of an hour, with his permissions, away from his credentials."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from httpx import AsyncClient
from sqlalchemy import update

from denizen.core.accounts import Accounts
from denizen.core.ids import new_id
from denizen.sessions.models import Session
from tests.conftest import Clock, MakeKey
from tests.sessions.conftest import PASSWORD, Headers, MakeAdmin, SignIn, bearer, works
from tests.sessions.test_sign_in import set_user


async def stand_in(client: AsyncClient, user_id: str, headers: Headers) -> Headers:
    answer = await client.post(f"/users/{user_id}/impersonate", headers=headers)
    assert answer.status_code == 200, answer.text
    return bearer(answer.json()["access_token"])


async def test_lasts_a_quarter_of_an_hour_and_says_who(
    client: AsyncClient, ada: dict[str, Any], make_admin: MakeAdmin, sign_in: SignIn, clock: Clock
) -> None:
    boss = await make_admin()
    owner = await sign_in()

    answer = await client.post(f"/users/{ada['id']}/impersonate", headers=boss)

    body = answer.json()
    assert (answer.status_code, body["expires_in"], body["session"]["method"]) == (200, 900, "impersonation")
    headers = bearer(body["access_token"])
    listed = (await client.get("/auth/sessions", headers=owner)).json()
    assert [each["impersonator_id"] is None for each in listed] == [True, False]  # the owner sees it
    clock.turn(seconds=899)
    assert await works(client, headers)
    clock.turn(seconds=1)
    assert not await works(client, headers)


async def test_lasts_no_longer_than_the_sign_in_of_whoever_stands_in(
    client: AsyncClient, ada: dict[str, Any], make_admin: MakeAdmin, accounts: Accounts, clock: Clock
) -> None:
    boss = await make_admin()
    async with accounts.writing() as db:
        await db.execute(update(Session).values(expires_at=clock.at + timedelta(minutes=5)))

    answer = await client.post(f"/users/{ada['id']}/impersonate", headers=boss)

    assert (answer.status_code, answer.json()["expires_in"]) == (200, 300)


async def test_has_the_permissions_of_the_person_and_no_more(
    client: AsyncClient, ada: dict[str, Any], make_admin: MakeAdmin
) -> None:
    headers = await stand_in(client, ada["id"], await make_admin())

    answer = await client.get("/users/", headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing")


async def test_keeps_off_credentials_and_does_not_go_on_to_others(
    client: AsyncClient, ada: dict[str, Any], make_admin: MakeAdmin, sign_in: SignIn
) -> None:
    """An impersonated session cannot touch credentials."""
    boss, owner = await make_admin(), await sign_in()
    headers = await stand_in(client, ada["id"], boss)
    [mine, *_] = (await client.get("/auth/sessions", headers=headers)).json()

    for method, path, body in (
        ("POST", "/auth/reauthenticate", {"password": PASSWORD}),
        ("DELETE", "/auth/sessions", None),
        ("DELETE", f"/auth/sessions/{mine['id']}", None),
        ("POST", f"/users/{ada['id']}/impersonate", None),
    ):
        answer = await client.request(method, path, json=body, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "not_while_impersonating"), path
    assert (await client.post("/auth/logout", headers=headers)).status_code == 204
    assert [await works(client, each) for each in (headers, owner, boss)] == [False, True, True]


async def test_changes_no_name_that_the_person_signs_in_by(
    client: AsyncClient, ada: dict[str, Any], make_admin: MakeAdmin
) -> None:
    headers = await stand_in(client, ada["id"], await make_admin())

    for name, value in (("username", "lovelace"), ("username", None)):
        refused = await client.patch("/users/me", json={name: value}, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (403, "not_while_impersonating")
    changed = await client.patch("/users/me", json={"full_name": "Ada"}, headers=headers)
    assert (changed.status_code, changed.json()["username"]) == (200, "ada")


async def test_needs_the_permission(client: AsyncClient, ada: dict[str, Any], make_admin: MakeAdmin) -> None:
    headers = await make_admin("users:write")

    answer = await client.post(f"/users/{ada['id']}/impersonate", headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing")


async def test_ends_with_the_sign_in_of_whoever_stands_in(
    client: AsyncClient, ada: dict[str, Any], make_admin: MakeAdmin
) -> None:
    boss = await make_admin()
    headers = await stand_in(client, ada["id"], boss)

    await client.post("/auth/logout", headers=boss)

    assert not await works(client, headers)


async def test_nobody_stands_in_for_whom_there_is_not(
    client: AsyncClient, accounts: Accounts, ada: dict[str, Any], make_admin: MakeAdmin
) -> None:
    boss, at = await make_admin(), datetime(2026, 1, 1, tzinfo=UTC)

    for user_id in (new_id(), "7"):
        answer = await client.post(f"/users/{user_id}/impersonate", headers=boss)
        assert (answer.status_code, answer.json()["code"]) == (404, "user_not_found")
    await set_user(accounts, ada["id"], suspended_at=at)
    answer = await client.post(f"/users/{ada['id']}/impersonate", headers=boss)
    assert (answer.status_code, answer.json()["code"]) == (409, "account_not_in_use")
    await set_user(accounts, ada["id"], deleted_at=at)
    assert (await client.post(f"/users/{ada['id']}/impersonate", headers=boss)).status_code == 404


async def test_ends_when_the_person_may_do_more_than_before(
    client: AsyncClient, ada: dict[str, Any], make_admin: MakeAdmin, make_key: MakeKey, sign_in: SignIn
) -> None:
    """Nobody takes over: whoever stands in was asked what the person could do then. The owner's own sign-ins go on."""
    boss, owner, root = await make_admin(), await sign_in(), await make_key()
    for name in ("first", "second"):
        role = {"name": name, "permissions": ["users:read"]}
        assert (await client.post("/roles/", json=role, headers=root)).status_code == 201

    headers = await stand_in(client, ada["id"], boss)
    assert (await client.put(f"/users/{ada['id']}/roles/first", headers=root)).status_code == 200
    assert [await works(client, each) for each in (headers, owner, boss)] == [False, True, True]

    headers = await stand_in(client, ada["id"], boss)
    await client.patch("/roles/second", json={"permissions": ["users:read", "users:export"]}, headers=root)
    await client.patch("/roles/first", json={"description": "The same."}, headers=root)
    assert await works(client, headers)
    more = {"permissions": ["users:read", "users:export"]}
    assert (await client.patch("/roles/first", json=more, headers=root)).status_code == 200
    assert [await works(client, each) for each in (headers, owner, boss)] == [False, True, True]
