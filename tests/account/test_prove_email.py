"""Proving an address: by whom it is done, what the first proof ends, and what a link is good for."""

from __future__ import annotations

from typing import Any

import pytest
from httpx import AsyncClient

from denizen.core.accounts import Accounts
from tests.account.conftest import (
    ANOTHER,
    PASSWORD,
    Outbox,
    Scene,
    SignIn,
    ask,
    code,
    fits,
    give_key,
    opens,
    proved,
    set_columns,
    stored,
)
from tests.conftest import Clock, MakeUser

ASK = "/auth/request-verify-token"


async def test_address_is_proved_by_the_link_that_was_sent_to_it(
    client: AsyncClient, accounts: Accounts, outbox: Outbox, ada: dict[str, Any], clock: Clock
) -> None:
    asked = await ask(client, ASK, "ADA@example.org")
    (letter,) = await outbox()

    answer = await client.post("/auth/verify", json={"token": letter.token, "password": ANOTHER})

    assert asked.status_code == 202
    assert (letter.template, letter.address) == ("verify", "Ada@example.org")
    assert letter.link.startswith("http://testserver/auth/verify?token=dzv_")
    assert answer.status_code == 200
    assert answer.json()["id"] == ada["id"]
    assert (await stored(accounts, ada)).email_verified_at == clock()
    assert await fits(accounts, ada, ANOTHER)


@pytest.mark.parametrize("password", [ANOTHER, None])
async def test_first_proof_ends_every_password_session_key_and_pending_change_made_before_it(
    scene: Scene, ada: dict[str, Any], password: str | None
) -> None:
    """Pre-hijacking: somebody opened the account with an address of somebody else's, and waited."""
    client, accounts, outbox, sign_in = scene
    session, key = await sign_in(ada), await give_key(accounts, ada)
    await ask(client, "/auth/forgot-password", "ada@example.org")
    await client.post("/auth/change-email", json={"email": "mallory@example.org"}, headers=session)
    await ask(client, ASK, "ada@example.org")
    reset, change, verify = await outbox()

    answer = await client.post("/auth/verify", json={"token": verify.token, "password": password})

    assert answer.status_code == 200
    assert not await opens(accounts, session)
    assert not await opens(accounts, key)
    assert not await fits(accounts, ada, PASSWORD)
    assert ((await stored(accounts, ada)).hashed_password is None) == (password is None)
    for path, body in (
        ("/auth/reset-password", {"token": reset.token, "password": PASSWORD}),
        ("/auth/confirm-email", {"token": change.token}),
    ):
        assert code(await client.post(path, json=body)) == "link_invalid"


async def test_whoever_has_proved_an_address_is_sent_no_further_link(
    client: AsyncClient, accounts: Accounts, outbox: Outbox, ada: dict[str, Any]
) -> None:
    await proved(accounts, ada)

    assert (await ask(client, ASK, "ada@example.org")).status_code == 202
    assert await outbox() == []


async def test_link_opens_nothing_once_the_account_has_another_address(
    client: AsyncClient, accounts: Accounts, outbox: Outbox, ada: dict[str, Any]
) -> None:
    await ask(client, ASK, "ada@example.org")
    (letter,) = await outbox()
    await set_columns(accounts, ada, email="ada@example.com", email_key="ada@example.com")

    answer = await client.post("/auth/verify", json={"token": letter.token})

    assert (answer.status_code, code(answer)) == (422, "link_invalid")
    assert (await stored(accounts, ada)).email_verified_at is None


async def test_link_expires(client: AsyncClient, outbox: Outbox, ada: dict[str, Any], clock: Clock) -> None:
    await ask(client, ASK, "ada@example.org")
    (letter,) = await outbox()
    clock.turn(days=1, seconds=1)

    assert code(await client.post("/auth/verify", json={"token": letter.token})) == "link_invalid"


async def test_newer_link_takes_the_place_of_an_older_one(
    client: AsyncClient, outbox: Outbox, ada: dict[str, Any]
) -> None:
    for _ in range(2):
        await ask(client, ASK, "ada@example.org")
    older, newer = await outbox()

    assert code(await client.post("/auth/verify", json={"token": older.token})) == "link_invalid"
    assert (await client.post("/auth/verify", json={"token": newer.token})).status_code == 200


async def test_password_that_comes_along_meets_the_same_policy_and_spends_nothing_when_refused(
    client: AsyncClient, outbox: Outbox, ada: dict[str, Any]
) -> None:
    await ask(client, ASK, "ada@example.org")
    (letter,) = await outbox()

    for password, expected in (("short", "password_too_short"), ("ada@example.org1", "password_contextual")):
        answer = await client.post("/auth/verify", json={"token": letter.token, "password": password})
        assert (answer.status_code, code(answer)) == (422, expected)
    assert (await client.post("/auth/verify", json={"token": letter.token})).status_code == 200


async def test_who_is_signed_in_need_not_say_his_address(
    client: AsyncClient, outbox: Outbox, ada: dict[str, Any], sign_in: SignIn
) -> None:
    answer = await client.post(ASK, json={}, headers=await sign_in(ada))

    assert answer.status_code == 202
    assert [letter.address for letter in await outbox()] == ["Ada@example.org"]
    assert code(await client.post(ASK, json={})) == "invalid"


@pytest.mark.parametrize("path", ["/auth/verify", "/auth/reset-password", "/auth/confirm-email", "/auth/undo-email"])
async def test_token_of_one_purpose_is_refused_at_every_other(scene: Scene, make_user: MakeUser, path: str) -> None:
    client, accounts, outbox, sign_in = scene
    ada, bob = await make_user(email="ada@example.org"), await make_user(email="bob@example.org")
    await proved(accounts, bob)
    await ask(client, ASK, "ada@example.org")
    await ask(client, "/auth/forgot-password", "ada@example.org")
    await client.post("/auth/change-email", json={"email": "new@example.org"}, headers=await sign_in(bob))
    (change,) = await outbox("change_email")
    assert (await client.post("/auth/confirm-email", json={"token": change.token})).status_code == 200
    await client.post("/auth/change-email", json={"email": "newest@example.org"}, headers=await sign_in(bob))
    session = await sign_in(ada)
    own = {
        "/auth/verify": "dzv_",
        "/auth/reset-password": "dzp_",
        "/auth/confirm-email": "dze_",
        "/auth/undo-email": "dzu_",
    }
    tokens = {letter.token for letter in await outbox() if "token=" in letter.text} | {session["Authorization"][7:]}

    assert {token[:4] for token in tokens} == {*own.values(), "dzs_"}
    for token in tokens:
        if not token.startswith(own[path]):
            body = {"token": token} | ({"password": ANOTHER} if path == "/auth/reset-password" else {})
            assert code(await client.post(path, json=body)) == "link_invalid"
            assert not await opens(accounts, {"Authorization": f"Bearer {token}"}) or token.startswith("dzs_")
