"""Another password, by whoever knows the present one."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from httpx import AsyncClient

from denizen.account import plans
from denizen.core.accounts import Accounts
from denizen.sessions.states import end_sessions
from tests.account.conftest import ANOTHER, PASSWORD, Outbox, Scene, SignIn, code, fits, opens, set_columns
from tests.conftest import Clock, MakeKey

PATH = "/auth/change-password"
BODY = {"current_password": PASSWORD, "new_password": ANOTHER}


async def test_other_sessions_end_at_once_and_this_one_goes_on(
    client: AsyncClient, accounts: Accounts, outbox: Outbox, ada: dict[str, Any], sign_in: SignIn
) -> None:
    this, other = await sign_in(ada), await sign_in(ada)

    answer = await client.post(PATH, json=BODY, headers=this)

    assert (answer.status_code, answer.content) == (204, b"")
    assert await fits(accounts, ada, ANOTHER)
    assert await opens(accounts, this)
    assert not await opens(accounts, other)
    assert [(each.template, each.address) for each in await outbox()] == [("password_changed", "Ada@example.org")]


async def test_pending_links_open_nothing_any_more(
    client: AsyncClient, outbox: Outbox, ada: dict[str, Any], sign_in: SignIn
) -> None:
    await client.post("/auth/forgot-password", json={"email": "ada@example.org"})
    (letter,) = await outbox()

    await client.post(PATH, json=BODY, headers=await sign_in(ada))

    answer = await client.post("/auth/reset-password", json={"token": letter.token, "password": PASSWORD})
    assert code(answer) == "link_invalid"


async def test_present_password_is_needed_and_a_wrong_one_counts_as_a_guess(
    client: AsyncClient, accounts: Accounts, ada: dict[str, Any], sign_in: SignIn, clock: Clock
) -> None:
    headers = await sign_in(ada)

    missing = await client.post(PATH, json={"new_password": ANOTHER}, headers=headers)
    wrong = [
        await client.post(PATH, json={**BODY, "current_password": f"wrong {number}"}, headers=headers)
        for number in range(accounts.settings.guesses_free + 1)
    ]
    right = await client.post(PATH, json=BODY, headers=headers)

    assert (missing.status_code, missing.json()["field"]) == (422, "current_password")
    assert [code(each) for each in wrong] == ["sign_in_failed"] * (len(wrong) - 1) + ["too_many_requests"]
    assert right.status_code == 429
    assert await fits(accounts, ada, PASSWORD)
    clock.turn(minutes=20)
    assert (await client.post(PATH, json=BODY, headers=headers)).status_code == 204


@pytest.mark.parametrize("change", ["ended", "suspended", "deleted"])
@pytest.mark.parametrize("path", [PATH, "/auth/change-email"])
async def test_requests_in_flight_do_nothing_once_their_sign_in_has_ended(
    scene: Scene, ada: dict[str, Any], change: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was asked for before somebody was signed out everywhere is not done after it."""
    client, accounts, outbox, sign_in = scene
    headers = await sign_in(ada)
    held = plans.hold_own

    async def meanwhile(db: Any, caller: Any, *, at: Any) -> Any:
        await db.rollback()  # on SQLite there is one writer: let the other one in
        if change == "ended":
            async with accounts.writing() as other:
                await end_sessions(other, UUID(ada["id"]), reason="test")
        else:
            values = {"deleted_at": at, "erase_at": at} if change == "deleted" else {"suspended_at": at}
            await set_columns(accounts, ada, **values)
        return await held(db, caller, at=at)

    monkeypatch.setattr("denizen.account.service.hold_own", meanwhile)
    body = BODY if path == PATH else {"email": "ada@example.net"}
    refused = await client.post(path, json=body, headers=headers)

    assert (refused.status_code, code(refused)) == (401, "credentials_invalid")
    assert await fits(accounts, ada, PASSWORD)
    assert await outbox() == []


async def test_present_password_is_as_long_as_at_sign_in_at_most(
    client: AsyncClient, ada: dict[str, Any], sign_in: SignIn
) -> None:
    """Nobody has a megabyte hashed."""
    answer = await client.post(PATH, json=BODY | {"current_password": "x" * 4097}, headers=await sign_in(ada))

    assert (answer.status_code, answer.json()["field"]) == (422, "current_password")


async def test_policy_holds_here_too(
    client: AsyncClient, accounts: Accounts, ada: dict[str, Any], sign_in: SignIn
) -> None:
    answer = await client.post(PATH, json={**BODY, "new_password": "ada@example.org"}, headers=await sign_in(ada))

    assert (answer.status_code, code(answer)) == (422, "password_contextual")
    assert await fits(accounts, ada, PASSWORD)


async def test_who_has_no_password_chooses_one_just_after_he_signed_in(
    client: AsyncClient, accounts: Accounts, ada: dict[str, Any], sign_in: SignIn, clock: Clock
) -> None:
    await set_columns(accounts, ada, hashed_password=None)
    headers = await sign_in(ada)
    clock.turn(minutes=11)

    late = await client.post(PATH, json={"new_password": ANOTHER}, headers=headers)
    fresh = await client.post(PATH, json={"new_password": ANOTHER}, headers=await sign_in(ada))

    assert code(late) == "reauthentication_needed"
    assert fresh.status_code == 204
    assert await fits(accounts, ada, ANOTHER)


async def test_keys_and_nobody_have_no_password(client: AsyncClient, make_key: MakeKey) -> None:
    assert code(await client.post(PATH, json=BODY, headers=await make_key())) == "session_needed"
    assert code(await client.post(PATH, json=BODY)) == "credentials_missing"
