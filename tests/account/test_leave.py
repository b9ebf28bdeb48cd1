"""Leaving: whoever does it is told, at the address he had."""

from __future__ import annotations

from typing import Any

from httpx import AsyncClient

from tests.account.conftest import Outbox, Scene, ask, opens, proved
from tests.conftest import MakeKey


async def test_who_leaves_gets_a_letter_and_his_sessions_and_links_end_at_once(
    scene: Scene, ada: dict[str, Any]
) -> None:
    client, accounts, outbox, sign_in = scene
    await proved(accounts, ada)
    await ask(client, "/auth/forgot-password", "ada@example.org")
    headers, other = await sign_in(ada), await sign_in(ada)

    answer = await client.delete("/users/me", headers=headers)

    assert answer.status_code == 204
    assert not await opens(accounts, headers)
    assert not await opens(accounts, other)
    reset, told = await outbox()
    assert (told.template, told.address) == ("deleted", "Ada@example.org")
    body = {"token": reset.token, "password": "a staple of seven seas"}
    assert (await client.post("/auth/reset-password", json=body)).json()["code"] == "link_invalid"


async def test_who_leaves_with_an_address_that_was_never_proved_leaves_it_to_its_owner(
    scene: Scene, ada: dict[str, Any]
) -> None:
    """Nobody takes a stranger's address hostage by signing up with it and leaving."""
    client, _, outbox, sign_in = scene

    assert (await client.delete("/users/me", headers=await sign_in(ada))).status_code == 204

    again = {"username": "ada", "email": "ada@example.org", "password": "a staple of seven seas"}
    assert (await client.post("/auth/register", json=again)).status_code == 201
    assert [letter.template for letter in await outbox()] == ["verify"]


async def test_who_is_deleted_by_others_is_not_told_that_he_did_it(
    client: AsyncClient, outbox: Outbox, ada: dict[str, Any], make_key: MakeKey
) -> None:
    assert (await client.delete(f"/users/{ada['id']}", headers=await make_key())).status_code == 204
    assert await outbox() == []
