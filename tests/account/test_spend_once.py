"""What opens once opens once: R10, for each kind of link of this room, on both databases."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from httpx import AsyncClient, Response

from denizen.core.accounts import Accounts
from tests.account.conftest import ANOTHER, Outbox, SignIn, proved, stored

AT_ONCE = 20


async def at_once(client: AsyncClient, path: str, body: dict[str, str]) -> list[Response]:
    """Send the same twenty times at once."""
    answers: list[Response] = []

    async def send() -> None:
        answers.append(await client.post(path, json=body))

    async with anyio.create_task_group() as tasks:
        for _ in range(AT_ONCE):
            tasks.start_soon(send)
    return answers


def assert_one_won(answers: list[Response]) -> None:
    assert sorted(each.status_code for each in answers) == [200] + [422] * (AT_ONCE - 1)
    assert {each.json()["code"] for each in answers if each.status_code == 422} == {"link_invalid"}


@pytest.mark.parametrize("way", ["verify", "reset-password"])
async def test_of_twenty_who_spend_a_link_one_gets_on(
    client: AsyncClient, accounts: Accounts, outbox: Outbox, ada: dict[str, Any], way: str
) -> None:
    ask = {"verify": "/auth/request-verify-token", "reset-password": "/auth/forgot-password"}[way]
    await client.post(ask, json={"email": "ada@example.org"})
    before = await stored(accounts, ada)

    assert_one_won(await at_once(client, f"/auth/{way}", {"token": (await outbox())[0].token, "password": ANOTHER}))

    assert (await stored(accounts, ada)).version == before.version + 1


async def test_of_twenty_who_confirm_or_undo_a_change_of_address_one_gets_on(
    client: AsyncClient, accounts: Accounts, outbox: Outbox, ada: dict[str, Any], sign_in: SignIn
) -> None:
    await proved(accounts, ada)
    await client.post("/auth/change-email", json={"email": "new@example.org"}, headers=await sign_in(ada))

    assert_one_won(await at_once(client, "/auth/confirm-email", {"token": (await outbox())[0].token}))

    (told,) = await outbox("email_changed")
    assert_one_won(await at_once(client, "/auth/undo-email", {"token": told.token}))
    assert len(await outbox("reset")) == 1


async def test_different_links_of_one_person_at_once_never_wait_for_each_other_for_ever(
    client: AsyncClient, accounts: Accounts, outbox: Outbox, ada: dict[str, Any], sign_in: SignIn
) -> None:
    await client.post("/auth/change-email", json={"email": "new@example.org"}, headers=await sign_in(ada))
    for path in ("/auth/request-verify-token", "/auth/forgot-password"):
        await client.post(path, json={"email": "ada@example.org"})
    change, verify, reset = await outbox()
    answers: list[int] = []

    async def send(path: str, **body: str) -> None:
        answers.append((await client.post(path, json=body)).status_code)

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(lambda: send("/auth/confirm-email", token=change.token))
            tasks.start_soon(lambda: send("/auth/verify", token=verify.token))
            tasks.start_soon(lambda: send("/auth/reset-password", token=reset.token, password=ANOTHER))
            tasks.start_soon(lambda: send("/auth/forgot-password", email="ada@example.org"))

    assert set(answers) == {200, 202, 422}
    assert answers.count(200) == 1, "the first proof ends all that was pending"
