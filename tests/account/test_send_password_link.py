"""A link for a new password, sent to its owner by an administrator, who does not get to see it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from httpx import AsyncClient
from sqlalchemy import update

from denizen.core.accounts import Accounts
from denizen.core.auth import Scope
from denizen.core.ids import new_id
from denizen.roles.models import ADMIN_ID, UserRole
from denizen.sessions.models import Session
from tests.account.conftest import ANOTHER, PASSWORD, Outbox, Scene, code, fits, opens, set_columns
from tests.conftest import MakeKey, MakeUser


def path(user: dict[str, Any]) -> str:
    return f"/users/{user['id']}/password-link"


async def test_link_goes_to_the_owner_and_ends_his_sessions_when_it_is_used(
    scene: Scene, ada: dict[str, Any], make_key: MakeKey
) -> None:
    client, accounts, outbox, sign_in = scene
    session = await sign_in(ada)

    answer = await client.post(path(ada), headers=await make_key())
    (letter,) = await outbox()
    still = await opens(accounts, session)
    await client.post("/auth/reset-password", json={"token": letter.token, "password": ANOTHER})

    assert answer.status_code == 202
    assert letter.token not in answer.text
    assert (letter.template, letter.address) == ("reset", "Ada@example.org")
    assert still
    assert not await opens(accounts, session)
    assert await fits(accounts, ada, ANOTHER)


async def test_account_without_an_address_is_a_conflict(
    client: AsyncClient, accounts: Accounts, outbox: Outbox, ada: dict[str, Any], make_key: MakeKey
) -> None:
    await set_columns(accounts, ada, email=None, email_key=None)

    answer = await client.post(path(ada), headers=await make_key())

    assert (answer.status_code, code(answer)) == (409, "email_missing")
    assert await outbox() == []


async def test_sending_a_link_takes_users_write_and_an_account(
    client: AsyncClient, ada: dict[str, Any], make_key: MakeKey
) -> None:
    assert code(await client.post(path(ada), headers=await make_key(Scope.USERS_READ))) == "scope_missing"
    assert code(await client.post(path(ada))) == "credentials_missing"
    for user_id in (new_id(), "7"):
        answer = await client.post(f"/users/{user_id}/password-link", headers=await make_key())
        assert (answer.status_code, code(answer)) == (404, "user_not_found")


async def test_nobody_is_sent_a_link_by_whoever_may_less_than_he(
    scene: Scene, ada: dict[str, Any], make_key: MakeKey
) -> None:
    """No take-over through ordinary rights: an administrator's mailbox may be easier to get at than his account."""
    client, accounts, outbox, _ = scene
    async with accounts.writing() as db:
        db.add(UserRole(user_id=UUID(ada["id"]), role_id=ADMIN_ID, granted_at=accounts.clock()))

    answer = await client.post(path(ada), headers=await make_key(Scope.USERS_WRITE))

    assert (answer.status_code, code(answer)) == (403, "beyond_caller")
    assert await outbox() == []


async def test_who_acts_in_somebody_elses_place_touches_no_credentials(
    scene: Scene, ada: dict[str, Any], make_user: MakeUser
) -> None:
    client, accounts, outbox, sign_in = scene
    bob = await make_user(username="bob", email="bob@example.org")
    headers = await sign_in(ada)
    async with accounts.writing() as db:
        db.add(UserRole(user_id=UUID(ada["id"]), role_id=ADMIN_ID, granted_at=accounts.clock()))
        await db.execute(update(Session).values(impersonator_id=UUID(bob["id"])))

    for method, where, body in (
        ("POST", path(bob), None),
        ("POST", "/auth/change-password", {"current_password": PASSWORD, "new_password": ANOTHER}),
        ("POST", "/auth/change-email", {"email": "new@example.org"}),
        ("GET", "/users/me/data", None),
    ):
        answer = await client.request(method, where, json=body, headers=headers)
        assert (answer.status_code, code(answer)) == (403, "not_while_impersonating"), where
    assert await outbox() == []
