"""A suspension ends sign-ins and keys at once, keeps new ones out, and ends by itself when its time has come."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from httpx import AsyncClient
from sqlalchemy import select, update

from denizen.core.accounts import Accounts
from denizen.core.auth import CredentialsInvalid, Scope
from denizen.core.events import Event
from denizen.keys.models import Key
from denizen.sessions.errors import SignInFailed
from denizen.sessions.service import open_session
from denizen.users.events import EmailChanged, UserSuspended, UserUnsuspended
from denizen.users.models import User
from tests.conftest import Clock, MakeKey, MakeUser


@pytest.fixture
async def ada(make_user: MakeUser) -> dict[str, Any]:
    return await make_user(username="ada", email="ada@example.org")


async def sign_in(accounts: Accounts, user: dict[str, Any]) -> str:
    async with accounts.writing() as db:
        _, token = await open_session(accounts, db, UUID(user["id"]), method="password", at=accounts.clock())
    return f"Bearer {token}"


async def is_known(accounts: Accounts, authorization: str) -> bool:
    try:
        return await accounts.recognise(authorization, accounts.clock()) is not None
    except CredentialsInvalid:
        return False


async def test_suspension_ends_what_is_signed_in_and_lasts_until_somebody_ends_it(
    admin: AsyncClient, ada: dict[str, Any], accounts: Accounts, clock: Clock
) -> None:
    signed_in, path = await sign_in(accounts, ada), f"/users/{ada['id']}"
    heard: list[Event] = []

    async def listen(_: Any, event: Event) -> None:
        heard.append(event)

    accounts.listeners = (*accounts.listeners, listen)
    clock.turn(minutes=1)

    answer = await admin.post(f"{path}/suspend", json={"reason": "Chargeback"})

    now = "2026-01-31T09:31:00.123456Z"
    assert answer.headers["etag"] == '"2"'
    assert answer.json() == ada | {"suspended_at": now, "updated_at": now, "version": 2}
    assert not await is_known(accounts, signed_in)
    with pytest.raises(SignInFailed):
        await sign_in(accounts, ada)
    async with accounts.database.read.session() as db:
        assert (await db.scalars(select(User.suspension_reason))).all() == ["Chargeback"]
    clock.turn(days=1000)
    with pytest.raises(SignInFailed):
        await sign_in(accounts, ada)

    ended = await admin.post(f"{path}/unsuspend")
    again = await admin.post(f"{path}/unsuspend")

    assert (ended.json()["suspended_at"], ended.json()["version"]) == (None, 3)
    assert again.json() == ended.json()
    assert await is_known(accounts, await sign_in(accounts, ada))
    assert not await is_known(accounts, signed_in)  # what it ended stays so
    told = [event for event in heard if isinstance(event, UserSuspended | UserUnsuspended)]
    assert told == [
        UserSuspended(UUID(ada["id"]), None, after={"reason": "Chargeback"}),
        UserUnsuspended(UUID(ada["id"])),
    ]
    async with accounts.database.read.session() as db:
        assert (await db.scalars(select(User.suspension_reason))).all() == [None]


async def test_suspension_ends_by_itself(
    admin: AsyncClient, ada: dict[str, Any], accounts: Accounts, clock: Clock
) -> None:
    answer = await admin.post(f"/users/{ada['id']}/suspend", json={"until": "2026-02-01T00:00:00+02:00"})
    assert answer.json()["suspended_until"] == "2026-01-31T22:00:00Z"

    clock.turn(hours=12, minutes=29)
    with pytest.raises(SignInFailed):
        await sign_in(accounts, ada)
    clock.turn(minutes=1)
    assert await is_known(accounts, await sign_in(accounts, ada))


async def test_keys_of_whoever_is_suspended_rest_meanwhile(
    admin: AsyncClient, ada: dict[str, Any], accounts: Accounts, make_key: MakeKey
) -> None:
    own = await make_key(Scope.USERS_READ)
    own_id = UUID((await admin.get("/keys/current", headers=own)).json()["id"])
    async with accounts.writing() as db:
        await db.execute(update(Key).where(Key.id == own_id).values(user_id=UUID(ada["id"])))

    await admin.post(f"/users/{ada['id']}/suspend")
    assert not await is_known(accounts, own["Authorization"])
    await admin.post(f"/users/{ada['id']}/unsuspend")
    assert await is_known(accounts, own["Authorization"])
    await admin.patch(f"/users/{ada['id']}", json={"is_active": False})
    assert not await is_known(accounts, own["Authorization"])


async def test_what_is_not_acceptable_is_refused(admin: AsyncClient, ada: dict[str, Any]) -> None:
    path = f"/users/{ada['id']}/suspend"
    for body, field in (
        ({"until": "2026-01-31T09:30:00Z"}, "until"),
        ({"until": "2026-03-01T00:00:00"}, "until"),
        ({"until": "never"}, "until"),
        ({"reason": "x" * 501}, "reason"),
        ({"reason": "nul\x00"}, "reason"),
        ({"deleted_at": None}, "deleted_at"),
    ):
        answer = await admin.post(path, json=body)
        assert (answer.status_code, answer.json()["field"]) == (422, field), body
    for user_id in ("019a5c1e-7f00-7a11-8b22-3c33d44e55f6", "7", "me"):
        assert (await admin.post(f"/users/{user_id}/suspend")).status_code == 404
    assert (await admin.get(f"/users/{ada['id']}")).json() == ada


async def test_address_that_an_administrator_sets_is_proved_by_nobody(
    admin: AsyncClient, ada: dict[str, Any], accounts: Accounts, clock: Clock
) -> None:
    """And what was sent to the old one opens nothing any more; another spelling of the same is no other address."""
    async with accounts.writing() as db:
        await db.execute(update(User).values(email_verified_at=clock()))
    heard: list[Event] = []

    async def listen(_: Any, event: Event) -> None:
        heard.append(event)

    accounts.listeners = (listen,)
    path = f"/users/{ada['id']}"

    spelt = await admin.patch(path, json={"email": "Ada@Example.org"})
    assert spelt.json()["email_verified_at"] is not None
    assert not any(isinstance(event, EmailChanged) for event in heard)
    changed = await admin.patch(path, json={"email": "countess@example.org"})
    assert changed.json()["email_verified_at"] is None
    assert heard[-1] == EmailChanged(
        UUID(ada["id"]), "administrator", before={"email": "Ada@example.org"}, after={"email": "countess@example.org"}
    )
    emptied = await admin.patch(path, json={"email": None})
    assert (emptied.json()["email"], isinstance(heard[-1], EmailChanged)) == (None, True)
