"""One's own sign-ins: shown, ended, idle and over; and those of others for administrators."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest
from httpx import AsyncClient

from denizen.core.accounts import Accounts
from denizen.core.events import record
from denizen.core.ids import new_id
from denizen.sessions.service import write_last_uses
from denizen.users.events import EmailProved, PasswordChanged, UserDeleted, UserSuspended, UserUpdated
from tests.conftest import PATIENT, Clock, MakeKey, MakeUser
from tests.sessions.conftest import PASSWORD, MakeAdmin, SignIn, login, works


@pytest.fixture
def overrides() -> dict[str, Any]:
    return dict(PATIENT)


async def ids(client: AsyncClient, headers: dict[str, str]) -> list[str]:
    answer = await client.get("/auth/sessions", headers=headers)
    assert answer.status_code == 200, answer.text
    return [each["id"] for each in answer.json()]


async def test_owner_sees_where_from_and_when(client: AsyncClient, sign_in: SignIn, clock: Clock) -> None:
    first = await sign_in(headers={"User-Agent": "telephone"})
    clock.turn(hours=1)
    second = await sign_in(headers={"User-Agent": "x" * 5000})

    shown = (await client.get("/auth/sessions", headers=second)).json()

    assert [(each["device"], each["current"]) for each in shown] == [("telephone", False), ("x" * 200, True)]
    assert shown[0]["created_at"] == "2026-01-31T09:30:00.123456Z"
    assert "dzs_" not in str(shown)
    assert await works(client, first)


async def test_last_use_is_noted_off_the_request_once_a_minute(
    client: AsyncClient, accounts: Accounts, sign_in: SignIn, clock: Clock
) -> None:
    """A read is no write."""
    headers = await sign_in()
    ran: list[str] = []
    accounts.database.observers.append(ran.append)

    clock.turn(seconds=59)
    await works(client, headers)
    await write_last_uses(accounts)
    assert {statement.split()[0] for statement in ran} == {"SELECT"}
    clock.turn(seconds=1)
    for _ in range(3):
        await works(client, headers)
    ran.clear()
    await write_last_uses(accounts)
    assert len([statement for statement in ran if statement.startswith("UPDATE")]) == 1

    shown = (await client.get("/auth/sessions/current", headers=headers)).json()
    assert shown["last_used_at"] == "2026-01-31T09:31:00.123456Z"
    assert shown["authenticated_at"] == "2026-01-31T09:30:00.123456Z"


async def test_sign_in_ends_unused_and_at_the_latest(
    client: AsyncClient, accounts: Accounts, sign_in: SignIn, clock: Clock
) -> None:
    """Idle and absolute time-outs; what has ended is swept up."""
    used, unused = await sign_in(), await sign_in()
    for _ in range(6):
        clock.turn(days=13, hours=23)
        assert await works(client, used)
        await write_last_uses(accounts)
    assert not await works(client, unused)
    assert len(await ids(client, used)) == 1

    clock.turn(days=6, hours=6)
    await write_last_uses(accounts)
    assert not await works(client, used)

    cleaner = next(each for each in accounts.cleaners if each.name == "expired sign-ins")
    async with accounts.writing() as db:
        assert await cleaner.run(accounts, db, accounts.clock(), 1) == 1
        assert await cleaner.run(accounts, db, accounts.clock(), 10) == 1
        assert await cleaner.run(accounts, db, accounts.clock(), 10) == 0


async def test_sign_out_ends_this_one_at_once(client: AsyncClient, sign_in: SignIn) -> None:
    first, second = await sign_in(), await sign_in()

    answer = await client.post("/auth/logout", headers=first)

    assert (answer.status_code, answer.content) == (204, b"")
    assert [await works(client, each) for each in (first, second)] == [False, True]
    assert (await client.post("/auth/logout", headers=first)).status_code == 401


async def test_one_and_all_others_are_ended(client: AsyncClient, sign_in: SignIn) -> None:
    first, second, third, fourth = [await sign_in() for _ in range(4)]
    own = await ids(client, first)

    assert (await client.delete(f"/auth/sessions/{own[1]}", headers=first)).status_code == 204
    assert [await works(client, each) for each in (first, second, third, fourth)] == [True, False, True, True]
    assert (await client.delete(f"/auth/sessions/{own[1]}", headers=first)).status_code == 404
    assert (await client.delete("/auth/sessions", headers=first)).status_code == 204
    assert [await works(client, each) for each in (first, second, third, fourth)] == [True, False, False, False]


async def test_other_peoples_sign_ins_are_not_found(client: AsyncClient, sign_in: SignIn, make_user: MakeUser) -> None:
    """Another person's data is a 404."""
    await make_user(username="eve", email="eve@example.org")
    ada, eve = await sign_in(), await sign_in("eve")
    [theirs] = await ids(client, ada)

    for session_id in (theirs, str(new_id()), "7", "x" * 300):
        answer = await client.delete(f"/auth/sessions/{session_id}", headers=eve)
        assert (answer.status_code, answer.json()["code"]) == (404, "session_not_found")
    await client.delete("/auth/sessions", headers=eve)
    assert await works(client, ada)


async def test_twenty_endings_at_once_end_it_once(client: AsyncClient, sign_in: SignIn) -> None:
    headers = await sign_in()
    await sign_in()
    [_, other] = await ids(client, headers)

    answers = await asyncio.gather(*(client.delete(f"/auth/sessions/{other}", headers=headers) for _ in range(20)))

    assert sorted(answer.status_code for answer in answers) == [204] + [404] * 19


async def test_keys_have_no_sign_ins(client: AsyncClient, make_key: MakeKey) -> None:
    headers = await make_key()

    for method, path in (
        ("GET", "/auth/sessions"),
        ("GET", "/auth/sessions/current"),
        ("DELETE", "/auth/sessions"),
        ("DELETE", f"/auth/sessions/{new_id()}"),
        ("POST", "/auth/logout"),
        ("POST", f"/users/{new_id()}/impersonate"),
    ):
        answer = await client.request(method, path, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "session_needed"), (method, path)


async def test_token_of_another_purpose_opens_nothing(client: AsyncClient, sign_in: SignIn) -> None:
    """A token of one purpose is refused at every other."""
    token = (await sign_in())["Authorization"].removeprefix("Bearer dzs_")

    for wrong in ("dzk_", "dzr_", "dzv_", "dzp_", "dzm_", "DZS_", ""):
        answer = await client.get("/auth/sessions", headers={"Authorization": f"Bearer {wrong}{token}"})
        assert (answer.status_code, answer.json()["code"]) == (401, "credentials_invalid")


# --------------------------------------------------------------------------------------------------------------- events

Tell = Callable[[UUID], Any]
ENDING: dict[str, Tell] = {
    "password changed": lambda user_id: PasswordChanged(user_id, "reset"),
    "address proved first": lambda user_id: EmailProved(user_id, first=True),
    "suspended": UserSuspended,
    "deleted": UserDeleted,
    "deactivated": lambda user_id: UserUpdated(user_id, ("is_active",), after={"is_active": False}),
}
LEAVING: dict[str, Tell] = {
    "renamed": lambda user_id: UserUpdated(user_id, ("full_name",), after={"full_name": "Ada"}),
    "address proved again": EmailProved,
}


async def test_sign_ins_end_at_once_with_what_ended_their_ground(
    client: AsyncClient, accounts: Accounts, ada: dict[str, Any], sign_in: SignIn
) -> None:
    """Password change, reset, suspension, deactivation and deletion end sessions at once."""
    for what, event in {**ENDING, **LEAVING}.items():
        headers = await sign_in()
        async with accounts.writing() as db:
            await record(db, event(UUID(ada["id"])))
        assert await works(client, headers) == (what in LEAVING), what


async def test_change_of_password_keeps_the_one_it_was_made_with(
    client: AsyncClient, accounts: Accounts, ada: dict[str, Any], sign_in: SignIn
) -> None:
    mine, other = await sign_in(), await sign_in()
    kept = (await ids(client, mine))[0]

    async with accounts.writing() as db:
        await record(db, PasswordChanged(UUID(ada["id"]), "changed", keep=UUID(kept)))

    assert [await works(client, each) for each in (mine, other)] == [True, False]


async def test_change_over_http_ends_sign_ins_at_once(
    client: AsyncClient, ada: dict[str, Any], sign_in: SignIn, make_key: MakeKey
) -> None:
    key = await make_key()
    headers = await sign_in()

    await client.patch(f"/users/{ada['id']}", json={"is_active": False}, headers=key)
    assert not await works(client, headers)
    await client.patch(f"/users/{ada['id']}", json={"is_active": True}, headers=key)
    assert not await works(client, headers)

    headers = await sign_in()
    await client.delete(f"/users/{ada['id']}", headers=key)
    assert not await works(client, headers)
    assert (await login(client)).status_code == 401


# ------------------------------------------------------------------------------------------------------- administrators


async def test_administrators_see_and_end_those_of_others(
    client: AsyncClient, ada: dict[str, Any], sign_in: SignIn, make_admin: MakeAdmin, make_key: MakeKey
) -> None:
    boss, key = await make_admin(), await make_key()
    headers = await sign_in()

    for caller in (boss, key):
        [shown] = (await client.get(f"/users/{ada['id']}/sessions", headers=caller)).json()
        assert (shown["method"], shown["current"]) == ("password", False)
    assert (await client.delete(f"/users/{ada['id']}/sessions", headers=boss)).status_code == 204
    assert not await works(client, headers)
    assert (await client.get(f"/users/{ada['id']}/sessions", headers=boss)).json() == []


async def test_sign_ins_of_nobody_are_not_found(client: AsyncClient, make_key: MakeKey) -> None:
    headers = await make_key()

    for method in ("GET", "DELETE"):
        for user_id in (new_id(), "7"):
            answer = await client.request(method, f"/users/{user_id}/sessions", headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (404, "user_not_found")


async def test_those_without_the_right_see_and_end_none(
    client: AsyncClient, ada: dict[str, Any], sign_in: SignIn, make_admin: MakeAdmin
) -> None:
    headers, reader = await sign_in(), await make_admin("users:read")

    assert (await client.get(f"/users/{ada['id']}/sessions", headers=headers)).status_code == 403
    assert (await client.delete(f"/users/{ada['id']}/sessions", headers=reader)).status_code == 403
    assert await works(client, headers)


Guarded = Callable[[AsyncClient, dict[str, str], str], Awaitable[Any]]


async def test_guards_are_asked_before_others_are_touched(
    client: AsyncClient, accounts: Accounts, ada: dict[str, Any], sign_in: SignIn, make_admin: MakeAdmin
) -> None:
    """No take-over: nobody touches the sessions of a person who holds a permission that the caller lacks."""
    from denizen.core.auth import BeyondCaller

    asked: list[Any] = []

    async def refuse(db: Any, caller: Any, user_ids: Any) -> None:
        asked.append(list(user_ids))
        raise BeyondCaller("No.")

    headers, boss = await sign_in(), await make_admin()
    accounts.guards = (refuse,)

    ended = await client.delete(f"/users/{ada['id']}/sessions", headers=boss)
    stood_in = await client.post(f"/users/{ada['id']}/impersonate", headers=boss)

    assert [ended.json()["code"], stood_in.json()["code"]] == ["beyond_caller"] * 2
    assert asked == [[UUID(ada["id"])]] * 2
    assert await works(client, headers)


async def test_endings_at_once_never_wait_for_each_other_crosswise(
    client: AsyncClient, accounts: Accounts, sign_in: SignIn, make_admin: MakeAdmin, clock: Clock
) -> None:
    """All of them come to an end on both databases, whoever is faster, while last uses are written."""
    boss = await make_admin()
    own = [await sign_in() for _ in range(6)]
    clock.turn(minutes=2)
    for each in own:
        assert (await client.get("/auth/sessions/current", headers=each)).status_code == 200
    ada = (await client.get("/users/me", headers=own[0])).json()

    writing = asyncio.create_task(write_last_uses(accounts))
    answers = await asyncio.gather(
        client.post("/auth/logout", headers=own[5]),
        client.delete("/auth/sessions", headers=own[1]),
        client.delete(f"/users/{ada['id']}/sessions", headers=boss),
        client.post("/auth/tokens", headers=own[3]),
        client.post("/auth/logout", headers=own[0]),
        client.post("/auth/login", json={"username": "ada", "password": PASSWORD}),
        client.patch(f"/users/{ada['id']}", json={"full_name": "Ada"}, headers=boss),
    )
    await writing

    statuses = [answer.status_code for answer in answers]
    assert set(statuses) <= {200, 204, 401, 404}, statuses
