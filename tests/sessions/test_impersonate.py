"""Acting in somebody's place: a quarter of an hour, with his permissions, away from his credentials."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from httpx import AsyncClient, Response
from sqlalchemy import text, update
from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.accounts import Accounts
from denizen.core.auth import CredentialsInvalid
from denizen.core.events import Event
from denizen.core.ids import new_id
from denizen.roles.events import RoleChanged
from denizen.roles.service import revoke_role
from denizen.sessions.events import Impersonated
from denizen.sessions.models import Session
from denizen.sessions.service import impersonate
from tests.conftest import Clock, MakeKey, MakePerson
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
    assert not await works(client, headers)


async def test_who_was_taken_the_right_since_he_was_recognised_stands_in_for_nobody(
    accounts: Accounts, ada: dict[str, Any], make_person: MakePerson
) -> None:
    boss, at = await make_person(roles=["admin"]), accounts.clock()
    await make_person(roles=["admin"])
    caller = await accounts.recognise(boss.headers["Authorization"], at)
    assert caller is not None
    async with accounts.writing() as db:
        await revoke_role(db, boss.id, "admin", caller=None, at=at)

    with pytest.raises(CredentialsInvalid):
        async with accounts.writing() as db:
            await impersonate(accounts, db, UUID(ada["id"]), caller=caller, at=at)


class TestAtOnce:
    """What a role allows changes, and somebody stands in for whoever has it, each in the middle of the other."""

    @pytest.fixture
    def database_kind(self) -> str:
        """PostgreSQL, on which two write at a time."""
        return "postgresql"

    @pytest.fixture
    async def root(self, client: AsyncClient, ada: dict[str, Any], make_key: MakeKey) -> Headers:
        """The operator's key. Ada has a role of his making."""
        root = await make_key()
        role = {"name": "clerk", "permissions": ["users:read"]}
        assert (await client.post("/roles/", json=role, headers=root)).status_code == 201
        assert (await client.put(f"/users/{ada['id']}/roles/clerk", headers=root)).status_code == 200
        return root

    async def test_whoever_comes_second_sees_what_the_role_allows_now(
        self, client: AsyncClient, accounts: Accounts, ada: dict[str, Any], make_admin: MakeAdmin, root: Headers
    ) -> None:
        boss = await make_admin("users:read", "users:impersonate")

        changed, stood_in = await interleave(
            accounts,
            RoleChanged,
            client.patch("/roles/clerk", json={"permissions": ["users:read", "users:write"]}, headers=root),
            client.post(f"/users/{ada['id']}/impersonate", headers=boss),
        )

        assert changed.status_code == 200, changed.text
        assert (stood_in.status_code, stood_in.json()["code"]) == (403, "beyond_caller")

    async def test_whoever_came_first_goes_on_no_longer(
        self, client: AsyncClient, accounts: Accounts, ada: dict[str, Any], make_admin: MakeAdmin, root: Headers
    ) -> None:
        boss = await make_admin("users:read", "users:impersonate")

        stood_in, changed = await interleave(
            accounts,
            Impersonated,
            client.post(f"/users/{ada['id']}/impersonate", headers=boss),
            client.patch("/roles/clerk", json={"permissions": ["users:read", "users:write"]}, headers=root),
        )

        assert (stood_in.status_code, changed.status_code) == (200, 200)
        assert not await works(client, bearer(stood_in.json()["access_token"]))
        assert await works(client, boss)

    async def test_whoever_loses_the_right_meanwhile_does_not_stand_in(
        self, client: AsyncClient, accounts: Accounts, ada: dict[str, Any], make_person: MakePerson, root: Headers
    ) -> None:
        role = {"name": "helper", "permissions": ["users:read", "users:impersonate"]}
        assert (await client.post("/roles/", json=role, headers=root)).status_code == 201
        boss = await make_person(roles=["helper"])

        changed, stood_in = await interleave(
            accounts,
            RoleChanged,
            client.patch("/roles/helper", json={"permissions": ["users:read"]}, headers=root),
            client.post(f"/users/{ada['id']}/impersonate", headers=boss.headers),
        )

        assert changed.status_code == 200, changed.text
        assert (stood_in.status_code, stood_in.json()["code"]) == (401, "credentials_invalid")


async def interleave(
    accounts: Accounts, at: type[Event], first: Coroutine[Any, Any, Response], second: Coroutine[Any, Any, Response]
) -> tuple[Response, Response]:
    """Let `second` begin when `first` has recorded an event, and `first` go on when that waits for it or is done."""
    begun: list[asyncio.Task[Response]] = []

    async def meanwhile(db: AsyncSession, event: Event) -> None:
        if isinstance(event, at) and not begun:
            begun.append(asyncio.create_task(second))
            async with accounts.database.read.session() as read:
                while not (begun[0].done() or await read.scalar(text(_WAITS))):  # noqa: ASYNC110  (the database has no event for it)
                    await asyncio.sleep(0.005)

    accounts.listeners = (*accounts.listeners, meanwhile)
    answer = await first
    return answer, await begun[0]


_WAITS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
