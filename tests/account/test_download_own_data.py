"""All that is stored about somebody, for himself."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from httpx import AsyncClient

from denizen.users.states import suspend_user
from tests.account.conftest import Scene, SignIn, ask, code, give_key, stored
from tests.conftest import Clock, MakeKey, MakeUser

PATH = "/users/me/data"


async def test_data_is_all_of_the_person_and_of_nobody_else_and_without_secrets(
    scene: Scene, make_user: MakeUser, ada: dict[str, Any]
) -> None:
    client, accounts, outbox, sign_in = scene
    bob = await make_user(username="bob", email="bob@example.org")
    for user in (ada, bob):
        await ask(client, "/auth/request-verify-token", user["email"])
        await give_key(accounts, user)
        await sign_in(user)

    answer = await client.get(PATH, headers=await sign_in(bob))
    held = answer.json()

    assert answer.status_code == 200
    assert answer.headers["content-disposition"] == 'attachment; filename="my-data.json"'
    assert answer.headers["cache-control"] == "no-store"
    assert held["account"]["id"] == bob["id"]
    assert held["account"].keys() >= {"username", "email", "created_at", "email_verified_at", "suspended_at"}
    assert [each["method"] for each in held["sessions"]] == ["password"] * 2
    assert [each["name"] for each in held["keys"]] == ["own"]
    assert [each["address"] for each in held["mails"]] == ["bob@example.org"]
    assert held["roles"] == []
    assert {"user.created", "session.created"} <= {each["action"] for each in held["audit"]}
    assert all(each.keys() == {"id", "at", "action", "outcome", "personal"} for each in held["audit"])
    assert held["audit"][0]["at"] >= held["audit"][-1]["at"]
    assert "127.0.0.1" in {each["personal"].get("address") for each in held["audit"]}
    assert ada["id"] not in answer.text
    assert "ada@" not in answer.text.lower()
    hashed = (await stored(accounts, bob)).hashed_password
    assert hashed is not None
    for secret in ("digest", "password", "content", "payload", hashed, (await outbox())[1].token):
        assert secret not in answer.text.replace('"method": "password"', "")


async def test_reason_of_a_suspension_is_for_administrators_alone(
    scene: Scene, ada: dict[str, Any], clock: Clock
) -> None:
    """What is told whoever writes it: the person, who is back since, does not find it in his data."""
    client, accounts, _, sign_in = scene
    reason = "Chargeback under review"
    async with accounts.writing() as db:
        until = clock() + timedelta(days=1)
        await suspend_user(db, UUID(ada["id"]), reason=reason, until=until, at=clock())
    clock.turn(days=2)

    answer = await client.get(PATH, headers=await sign_in(ada))

    assert answer.status_code == 200
    assert answer.json()["account"]["suspended_until"] is not None
    assert reason not in answer.text
    assert "suspension_reason" not in answer.text
    assert (await stored(accounts, ada)).suspension_reason == reason


async def test_data_takes_a_recent_proof_of_who_one_is(
    client: AsyncClient, ada: dict[str, Any], sign_in: SignIn, clock: Clock, make_key: MakeKey
) -> None:
    headers = await sign_in(ada)
    clock.turn(minutes=11)

    assert code(await client.get(PATH, headers=headers)) == "reauthentication_needed"
    assert code(await client.get(PATH, headers=await make_key())) == "session_needed"
