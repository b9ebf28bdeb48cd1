"""Another address: confirmed at the new one, undone from the old one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from httpx import AsyncClient, Response

from denizen.core.accounts import Accounts
from tests.account.conftest import (
    ANOTHER,
    PASSWORD,
    Letter,
    Outbox,
    Scene,
    SignIn,
    code,
    fits,
    give_key,
    opens,
    proved,
    set_columns,
    stored,
)
from tests.conftest import Clock, MakeKey, MakeUser

PATH = "/auth/change-email"
NEW = "countess@example.com"


@pytest.fixture
async def ada(make_user: MakeUser, accounts: Accounts) -> dict[str, Any]:
    """A person whose address is proved."""
    ada = await make_user(username="ada", email="Ada@example.org")
    await proved(accounts, ada)
    return ada


async def ask(client: AsyncClient, headers: dict[str, str], email: str = NEW) -> Response:
    return await client.post(PATH, json={"email": email}, headers=headers)


async def confirm(client: AsyncClient, letter: Letter, **body: str) -> Response:
    return await client.post("/auth/confirm-email", json={"token": letter.token, **body})


async def undo(client: AsyncClient, letter: Letter) -> Response:
    return await client.post("/auth/undo-email", json={"token": letter.token})


async def test_nothing_changes_before_the_new_address_is_confirmed(
    scene: Scene, ada: dict[str, Any], clock: Clock
) -> None:
    client, accounts, outbox, sign_in = scene
    headers = await sign_in(ada)

    asked = await ask(client, headers)
    before = await stored(accounts, ada)
    (letter,) = await outbox()
    clock.turn(minutes=1)
    answer = await confirm(client, letter)

    assert asked.status_code == 202
    assert before.email == "Ada@example.org"
    assert (letter.template, letter.address) == ("change_email", NEW)
    assert letter.link.startswith("http://testserver/auth/confirm-email?token=dze_")
    assert (answer.status_code, answer.json()["email"], answer.json()["username"]) == (200, NEW, "ada")
    assert (await stored(accounts, ada)).email_verified_at == clock()
    assert await opens(accounts, headers)
    told = (await outbox())[1]
    assert (told.template, told.address) == ("email_changed", "Ada@example.org")
    assert told.link.startswith("http://testserver/auth/undo-email?token=dzu_")


async def test_found_by_the_new_address_from_then_on(
    client: AsyncClient, outbox: Outbox, ada: dict[str, Any], sign_in: SignIn, make_key: MakeKey
) -> None:
    await ask(client, await sign_in(ada))
    await confirm(client, (await outbox())[0])
    headers = await make_key()

    assert len((await client.get("/users/?q=countess", headers=headers)).json()) == 1
    assert (await client.get(f"/users/?email={NEW.upper()}", headers=headers)).json()[0]["id"] == ada["id"]


async def test_username_that_is_the_address_follows_it(
    client: AsyncClient, accounts: Accounts, outbox: Outbox, make_user: MakeUser, sign_in: SignIn
) -> None:
    bob = await make_user(username="bob@example.org", email="bob@example.org")
    await proved(accounts, bob)

    await ask(client, await sign_in(bob), "bob@example.com")
    answer = await confirm(client, (await outbox())[0])
    assert (answer.json()["username"], answer.json()["email"]) == ("bob@example.com", "bob@example.com")
    answer = await undo(client, (await outbox("email_changed"))[0])
    assert (answer.json()["username"], answer.json()["email"]) == ("bob@example.org", "bob@example.org")
    long = f"{'b' * 60}@example.com"
    await ask(client, await sign_in(bob), long)
    answer = await confirm(client, (await outbox("change_email"))[-1])
    assert (answer.json()["username"], answer.json()["email"]) == (None, long)


async def test_answer_does_not_tell_that_an_address_has_an_account_and_its_owner_is_told(
    client: AsyncClient, outbox: Outbox, ada: dict[str, Any], make_user: MakeUser, sign_in: SignIn
) -> None:
    await make_user(username="bob", email="Bob@example.org")
    headers = await sign_in(ada)

    free, taken = await ask(client, headers), await ask(client, headers, "bob@example.org")

    assert (taken.status_code, taken.text) == (free.status_code, free.text)
    assert [(each.template, each.address) for each in await outbox()] == [
        ("change_email", NEW),
        ("sign_up_known", "bob@example.org"),
    ]
    data = (await client.get("/users/me/data", headers=headers)).json()
    assert "bob@" not in str(data).lower()
    assert NEW not in str(data)


async def test_address_that_was_taken_meanwhile_is_a_conflict_and_spends_nothing(
    scene: Scene, ada: dict[str, Any], make_user: MakeUser
) -> None:
    client, accounts, outbox, sign_in = scene
    await ask(client, await sign_in(ada))
    (letter,) = await outbox()
    bob = await make_user(username="bob", email=NEW.upper())

    taken = await confirm(client, letter)
    await set_columns(accounts, bob, email=None, email_key=None)

    assert (taken.status_code, code(taken)) == (409, "email_taken")
    assert (await confirm(client, letter)).status_code == 200


async def test_only_the_latest_request_can_be_confirmed_and_only_from_the_address_it_was_made_with(
    client: AsyncClient, accounts: Accounts, outbox: Outbox, ada: dict[str, Any], sign_in: SignIn
) -> None:
    headers = await sign_in(ada)
    await ask(client, headers, "first@example.org")
    await ask(client, headers, "second@example.org")
    first, second = await outbox()

    assert code(await confirm(client, first)) == "link_invalid"
    await set_columns(accounts, ada, email="third@example.org", email_key="third@example.org")
    assert code(await confirm(client, second)) == "link_invalid"


async def test_changing_the_address_takes_a_recent_proof_of_who_one_is(
    client: AsyncClient, ada: dict[str, Any], sign_in: SignIn, clock: Clock, make_key: MakeKey
) -> None:
    headers = await sign_in(ada)
    clock.turn(minutes=11)

    assert code(await ask(client, headers)) == "reauthentication_needed"
    assert code(await ask(client, await make_key())) == "session_needed"


async def test_first_proof_by_a_new_address_ends_everything_before_and_gives_the_old_one_no_say(
    client: AsyncClient, accounts: Accounts, outbox: Outbox, ada: dict[str, Any], sign_in: SignIn
) -> None:
    """Pre-hijacking: an account of a stranger's, brought to somebody's address. The old one may be anybody's."""
    await set_columns(accounts, ada, email_verified_at=None)
    headers, key = await sign_in(ada), await give_key(accounts, ada)
    await ask(client, headers)

    answer = await confirm(client, (await outbox())[0], password=ANOTHER)

    assert answer.status_code == 200
    assert not await opens(accounts, headers)
    assert not await opens(accounts, key)
    assert await fits(accounts, ada, ANOTHER)
    assert [each.template for each in await outbox()] == ["change_email"]


async def test_old_address_undoes_the_change_and_closes_the_account_to_whoever_made_it(
    scene: Scene, ada: dict[str, Any], clock: Clock
) -> None:
    client, accounts, outbox, sign_in = scene
    thief = await sign_in(ada)
    await ask(client, thief)
    await confirm(client, (await outbox())[0])
    key = await give_key(accounts, ada)
    await client.post(
        "/auth/change-password", json={"current_password": PASSWORD, "new_password": ANOTHER}, headers=thief
    )
    await client.post("/auth/forgot-password", json={"email": NEW})
    clock.turn(days=6)

    answer = await undo(client, (await outbox("email_changed"))[0])

    assert (answer.status_code, answer.json()["email"]) == (200, "Ada@example.org")
    assert not await opens(accounts, thief)
    assert not await opens(accounts, key)
    assert (await stored(accounts, ada)).hashed_password is None
    lost, found = await outbox("reset")
    assert (lost.address, found.address) == (NEW, "Ada@example.org")
    body = {"password": "the owner chose this"}
    assert code(await client.post("/auth/reset-password", json={"token": lost.token, **body})) == "link_invalid"
    assert (await client.post("/auth/reset-password", json={"token": found.token, **body})).status_code == 200
    assert await fits(accounts, ada, "the owner chose this")


async def test_first_owner_can_undo_after_a_second_change_and_nobody_after_that(
    client: AsyncClient, outbox: Outbox, ada: dict[str, Any], sign_in: SignIn
) -> None:
    for email in ("second@example.org", "third@example.org"):
        await ask(client, await sign_in(ada), email)
        await confirm(client, (await outbox("change_email"))[-1])
    first, second = await outbox("email_changed")

    assert (await undo(client, first)).json()["email"] == "Ada@example.org"
    assert code(await undo(client, second)) == "link_invalid"
    assert code(await undo(client, first)) == "link_invalid"


async def test_undoing_is_possible_for_seven_days(
    client: AsyncClient, outbox: Outbox, ada: dict[str, Any], sign_in: SignIn, clock: Clock
) -> None:
    await ask(client, await sign_in(ada))
    await confirm(client, (await outbox())[0])
    clock.at += timedelta(days=7)

    assert code(await undo(client, (await outbox("email_changed"))[0])) == "link_invalid"


@pytest.mark.parametrize("username", ["eve", "Ada@example.org"])
async def test_undoing_is_not_prevented_by_an_account_that_was_opened_with_the_old_address(
    scene: Scene, ada: dict[str, Any], make_user: MakeUser, username: str
) -> None:
    """Whoever stole an account could do that: proving an address beats having said that it is one's own."""
    client, accounts, outbox, sign_in = scene
    await ask(client, await sign_in(ada))
    await confirm(client, (await outbox())[0])
    squatter = await make_user(username=username, email="ada@example.org")

    answer = await undo(client, (await outbox("email_changed"))[0])

    assert (answer.status_code, answer.json()["email"]) == (200, "Ada@example.org")
    left = await stored(accounts, squatter)
    assert left.email is None
    assert left.username == (username if "@" not in username else f"user-{left.id.hex}")


@pytest.mark.parametrize("first", [True, False], ids=["never proved", "proved"])
async def test_undoing_is_not_prevented_by_a_deleted_account_that_never_proved_the_old_address(
    scene: Scene, ada: dict[str, Any], make_user: MakeUser, make_key: MakeKey, *, first: bool
) -> None:
    """A deleted account keeps its names for as long as it can be restored, and a thief could delete one of his own."""
    client, accounts, outbox, sign_in = scene
    await ask(client, await sign_in(ada))
    await confirm(client, (await outbox())[0])
    squatter = await make_user(username="eve", email="ada@example.org")
    if not first:
        await proved(accounts, squatter)
    assert (await client.delete("/users/me", headers=await sign_in(squatter))).status_code == 204

    answer = await undo(client, (await outbox("email_changed"))[0])

    if first:
        assert (answer.status_code, answer.json()["email"]) == (200, "Ada@example.org")
        restored = await client.post(f"/users/{squatter['id']}/restore", headers=await make_key())
        assert code(restored) == "user_not_found"
    else:
        assert (answer.status_code, code(answer)) == (409, "email_taken")


async def test_undoing_stops_at_an_account_that_has_proved_the_old_address(
    scene: Scene, ada: dict[str, Any], make_user: MakeUser
) -> None:
    client, accounts, outbox, sign_in = scene
    await ask(client, await sign_in(ada))
    await confirm(client, (await outbox())[0])
    await proved(accounts, await make_user(username="eve", email="ada@example.org"))

    answer = await undo(client, (await outbox("email_changed"))[0])

    assert (answer.status_code, code(answer)) == (409, "email_taken")
