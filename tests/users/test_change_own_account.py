"""`/users/me`, and one's own account by its id: what is one's own to see, to change and to leave."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from httpx import AsyncClient
from sqlalchemy import select, update

from denizen.core.accounts import Accounts
from denizen.core.auth import BeyondCaller, Caller, NotWhileImpersonating, Scope
from denizen.core.events import Event
from denizen.keys.models import Key
from denizen.roles.models import ADMIN_ID, UserRole
from denizen.sessions.models import Session
from denizen.sessions.service import open_session
from denizen.users import states
from denizen.users.models import User
from denizen.users.schemas import UserUpdate
from denizen.users.service import change_user
from tests.conftest import Clock, MakeKey, MakeUser

Headers = dict[str, str]


async def sign_in(accounts: Accounts, user: dict[str, Any], *, admin: bool = False, by: UUID | None = None) -> Headers:
    """Sign somebody in; gives the headers that carry it."""
    at = accounts.clock()
    async with accounts.writing() as db:
        if admin:
            db.add(UserRole(user_id=UUID(user["id"]), role_id=ADMIN_ID, granted_at=at))
        session, token = await open_session(accounts, db, UUID(user["id"]), method="password", at=at)
        if by is not None:
            await db.execute(update(Session).where(Session.id == session.id).values(impersonator_id=by))
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
async def ada(make_user: MakeUser) -> dict[str, Any]:
    return await make_user(username="ada", email="ada@example.org")


async def test_me_is_whoever_calls(
    client: AsyncClient, ada: dict[str, Any], accounts: Accounts, make_key: MakeKey
) -> None:
    """By a sign-in, or by a key of his own; one statement finds out who calls and one reads the row."""
    signed_in = await sign_in(accounts, ada)
    operators, own = await make_key(), await make_key(Scope.USERS_READ)
    own_id = (await client.get("/keys/current", headers=own)).json()["id"]
    async with accounts.writing() as db:
        await db.execute(update(Key).where(Key.id == UUID(own_id)).values(user_id=UUID(ada["id"])))
    ran: list[str] = []
    accounts.database.observers.append(ran.append)

    answer = await client.get("/users/me", headers=signed_in)

    assert len(ran) == 2
    assert (answer.status_code, answer.headers["etag"], answer.json()) == (200, '"1"', ada)
    assert (await client.get("/users/me", headers=own)).json() == ada
    assert (await client.get(f"/users/{ada['id']}", headers=signed_in)).json() == ada
    assert (await client.head("/users/me", headers=signed_in)).headers["etag"] == '"1"'
    anybody, operator = await client.get("/users/me"), await client.get("/users/me", headers=operators)
    assert (anybody.status_code, anybody.json()["code"]) == (401, "credentials_missing")
    for method in ("GET", "DELETE"):
        operator = await client.request(method, "/users/me", headers=operators)
        assert (operator.status_code, operator.json()["code"]) == (403, "session_needed")


async def test_others_are_not_there_for_who_may_not_see_them(
    client: AsyncClient, ada: dict[str, Any], make_user: MakeUser, accounts: Accounts, make_key: MakeKey
) -> None:
    """Another person's data is a 404; who may see accounts is told which right is missing."""
    eve = await sign_in(accounts, await make_user())
    reader = await make_key(Scope.USERS_READ)
    path = f"/users/{ada['id']}"

    for method, body in (("GET", None), ("PATCH", {"full_name": "Eve"}), ("DELETE", None)):
        answer = await client.request(method, path, json=body, headers=eve)
        assert (answer.status_code, answer.json()["code"]) == (404, "user_not_found"), method
    for act in ("suspend", "unsuspend", "restore"):
        answer = await client.post(f"{path}/{act}", headers=eve)
        assert (answer.status_code, answer.json()["code"]) == (404, "user_not_found"), act
    refused = await client.patch(path, json={"full_name": "Eve"}, headers=reader)
    assert (refused.status_code, refused.json()["code"]) == (403, "scope_missing")
    assert (await client.get(path, headers=reader)).json() == ada


NOT_ONES_OWN: dict[str, Any] = {
    "email": "eve@example.org",
    "password": "correct horse battery staple",
    "is_active": False,
    "external_id": "crm-1",
    "email_verified_at": "2026-01-01T00:00:00Z",
    "suspended_at": None,
    "deleted_at": None,
    "id": "019a5c1e-7f00-7a11-8b22-3c33d44e55f6",
    "created_at": "2026-01-01T00:00:00Z",
    "roles": ["admin"],
    "permissions": ["*"],
    "scopes": ["*"],
}


@pytest.mark.parametrize("admin", [False, True])
async def test_nobody_sets_on_himself_what_is_not_his(
    client: AsyncClient, ada: dict[str, Any], accounts: Accounts, admin: bool
) -> None:
    """Mass assignment: nothing but names, whatever one may do to others; address and password name their flows."""
    headers = await sign_in(accounts, ada, admin=admin)
    flows = {"email": "/auth/change-email", "password": "/auth/change-password"}

    for path in ("/users/me", f"/users/{ada['id']}"):
        for field, value in NOT_ONES_OWN.items():
            answer = await client.patch(path, json={"full_name": "Ada", field: value}, headers=headers)
            assert (answer.status_code, answer.json()["field"]) == (422, field), (path, field)
            assert flows.get(field, "") in answer.json()["detail"]
            assert str(value) not in answer.text
    assert (await client.get("/users/me", headers=headers)).json() == ada

    stale = await client.patch("/users/me", json={"full_name": "Ada"}, headers=headers | {"If-Match": '"7"'})
    own = await client.patch("/users/me", json={"full_name": "Ada", "username": "countess"}, headers=headers)
    again = await client.patch(f"/users/{ada['id']}", json={"full_name": None}, headers=headers)
    assert stale.status_code == 412
    assert (own.json()["username"], own.json()["full_name"], own.json()["email"]) == ("countess", "Ada", ada["email"])
    assert (again.json()["full_name"], again.json()["version"]) == (None, 3)


@pytest.mark.parametrize("path", ["/users/me", "/users/{id}"])
async def test_leaving_takes_a_fresh_proof_and_ends_every_sign_in(
    client: AsyncClient, ada: dict[str, Any], accounts: Accounts, clock: Clock, path: str
) -> None:
    path = path.format(**ada)
    async with accounts.writing() as db:
        await db.execute(update(User).where(User.id == UUID(ada["id"])).values(email_verified_at=clock()))
    old = await sign_in(accounts, ada)
    clock.turn(minutes=11)
    impersonated = await sign_in(accounts, ada, by=UUID(ada["id"]))

    stale = await client.delete(path, headers=old)
    refused = await client.delete(path, headers=impersonated)
    fresh = await sign_in(accounts, ada)
    at_once = await client.delete(f"/users/{ada['id']}?erase=true", headers=fresh)
    left = await client.delete(path, headers=fresh)

    assert (stale.status_code, stale.json()["code"]) == (403, "reauthentication_needed")
    assert (refused.status_code, refused.json()["code"]) == (403, "not_while_impersonating")
    assert (at_once.status_code, at_once.json()["code"]) == (403, "scope_missing")  # the grace is against thieves
    assert left.status_code == 204
    for headers in (old, impersonated, fresh):
        assert (await client.get("/users/me", headers=headers)).status_code == 401
    async with accounts.database.read.session() as db:
        user = (await db.scalars(select(User).where(User.id == UUID(ada["id"])))).one()
    assert user.erase_at == clock() + timedelta(days=30)


async def test_nobody_suspends_himself(client: AsyncClient, ada: dict[str, Any], accounts: Accounts) -> None:
    headers = await sign_in(accounts, ada, admin=True)

    for act in ("suspend", "unsuspend"):
        answer = await client.post(f"/users/{ada['id']}/{act}", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "own_account")


async def test_who_acts_in_anothers_place_changes_no_address_and_deletes_nobody(
    make_user: MakeUser, client: AsyncClient, ada: dict[str, Any], accounts: Accounts
) -> None:
    eve = await make_user()
    headers = await sign_in(accounts, ada, admin=True, by=UUID(eve["id"]))

    for method, path, body in (
        ("PATCH", f"/users/{eve['id']}", {"email": "else@example.org"}),
        ("DELETE", f"/users/{eve['id']}", None),
        ("POST", f"/users/{eve['id']}/restore", None),
    ):
        answer = await client.request(method, path, json=body, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, NotWhileImpersonating.code), (method, path)
    renamed = await client.patch(f"/users/{eve['id']}", json={"full_name": "Eve"}, headers=headers)
    assert renamed.json()["full_name"] == "Eve"


async def test_guards_are_asked_before_somebody_else_is_touched(
    client: AsyncClient, ada: dict[str, Any], make_user: MakeUser, accounts: Accounts
) -> None:
    """No take-over through ordinary rights: what a guard refuses is not done; of one's own account none is asked."""
    caller = await sign_in(accounts, ada, admin=True)
    eve = await make_user()
    asked, heard = list[Any](), list[Event]()

    async def refuse(_: Any, who: Caller, user_ids: Any) -> None:
        asked.append((who.user_id, list(user_ids)))
        raise BeyondCaller("This account may do what you may not.")

    async def listen(_: Any, event: Event) -> None:
        heard.append(event)

    accounts.guards, accounts.listeners = (refuse,), (listen,)
    acts: list[tuple[str, str, Any]] = [
        ("PATCH", "", {"full_name": "Eve"}),
        ("PATCH", "", {"email": "else@example.org"}),
        ("POST", "/suspend", None),
        ("POST", "/unsuspend", None),
        ("POST", "/restore", None),
        ("DELETE", "", None),
        ("DELETE", "?erase=true", None),
    ]
    for method, behind, body in acts:
        answer = await client.request(method, f"/users/{eve['id']}{behind}", json=body, headers=caller)
        assert (answer.status_code, answer.json()["code"]) == (403, "beyond_caller"), (method, behind)

    assert asked == [(UUID(ada["id"]), [UUID(eve["id"])])] * len(acts)
    assert heard == []
    assert (await client.patch("/users/me", json={"full_name": "A"}, headers=caller)).status_code == 200
    async with accounts.writing() as db:  # the operator is asked nothing
        await change_user(db, UUID(eve["id"]), UserUpdate(full_name="E"), versions=None, at=accounts.clock())
        await states.suspend_user(db, UUID(eve["id"]), at=accounts.clock())
    assert len(asked) == len(acts)
