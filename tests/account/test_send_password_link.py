"""A link for a new password, sent to its owner by an administrator, who does not get to see it."""

from __future__ import annotations

from typing import Any

from httpx import AsyncClient

from denizen.core.accounts import Accounts
from denizen.core.auth import Scope
from denizen.core.ids import new_id
from tests.account.conftest import ANOTHER, Outbox, SignIn, code, fits, opens, set_columns
from tests.conftest import MakeKey


def path(user: dict[str, Any]) -> str:
    return f"/users/{user['id']}/password-link"


async def test_link_goes_to_the_owner_and_ends_his_sessions_when_it_is_used(
    client: AsyncClient,
    accounts: Accounts,
    outbox: Outbox,
    ada: dict[str, Any],
    sign_in: SignIn,
    make_key: MakeKey,
) -> None:
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
