"""A forgotten password: who gets a link, what it ends, and what it leaves."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from httpx import AsyncClient

from denizen.core.accounts import Accounts
from denizen.core.errors import TooMany
from denizen.limits.service import may_guess, wrong_guess
from tests.account.conftest import (
    ANOTHER,
    PASSWORD,
    Outbox,
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
from tests.conftest import PATIENT, Clock

ASK = "/auth/forgot-password"


async def test_new_password_is_set_by_the_link_and_every_session_ends(
    client: AsyncClient, accounts: Accounts, outbox: Outbox, ada: dict[str, Any], sign_in: SignIn
) -> None:
    await proved(accounts, ada)
    sessions, key = [await sign_in(ada), await sign_in(ada)], await give_key(accounts, ada)
    asked = await ask(client, ASK, "ada@example.org")
    (letter,) = await outbox()

    answer = await client.post("/auth/reset-password", json={"token": letter.token, "password": ANOTHER})

    assert asked.status_code == 202
    assert (letter.template, letter.address) == ("reset", "Ada@example.org")
    assert letter.link.startswith("http://testserver/auth/reset-password?token=dzp_")
    assert answer.status_code == 200
    assert answer.json()["version"] == ada["version"] + 1
    assert await fits(accounts, ada, ANOTHER)
    assert [await opens(accounts, each) for each in sessions] == [False, False]
    assert await opens(accounts, key), "it was made by the owner of a proved address"
    assert [each.template for each in await outbox()] == ["reset", "password_changed"]


async def test_reset_proves_the_address_and_is_a_first_proof_where_there_was_none(
    client: AsyncClient, accounts: Accounts, outbox: Outbox, ada: dict[str, Any], sign_in: SignIn
) -> None:
    session, key = await sign_in(ada), await give_key(accounts, ada)
    await ask(client, ASK, "ada@example.org")
    (letter,) = await outbox()

    await client.post("/auth/reset-password", json={"token": letter.token, "password": ANOTHER})

    assert (await stored(accounts, ada)).email_verified_at is not None
    assert not await opens(accounts, session)
    assert not await opens(accounts, key)


async def test_reset_forgets_wrong_guesses_so_that_the_owner_need_not_wait(
    client: AsyncClient, accounts: Accounts, outbox: Outbox, ada: dict[str, Any]
) -> None:
    who = f"user {ada['id']}"
    for _ in range(accounts.settings.guesses_free):
        await wrong_guess(accounts, who, "192.0.2.1")
    with pytest.raises(TooMany):
        await may_guess(accounts, who, "127.0.0.1")
    await ask(client, ASK, "ada@example.org")

    await client.post("/auth/reset-password", json={"token": (await outbox())[0].token, "password": ANOTHER})

    await may_guess(accounts, who, "127.0.0.1")


async def test_who_never_had_a_password_gets_one(
    client: AsyncClient, accounts: Accounts, outbox: Outbox, ada: dict[str, Any]
) -> None:
    await set_columns(accounts, ada, hashed_password=None)
    await ask(client, ASK, "ada@example.org")

    await client.post("/auth/reset-password", json={"token": (await outbox())[0].token, "password": ANOTHER})

    assert await fits(accounts, ada, ANOTHER)


@pytest.mark.parametrize("state", ["suspended", "inactive", "deleted", "nobody"])
async def test_nobody_is_written_to_whose_account_cannot_be_used(
    client: AsyncClient, accounts: Accounts, outbox: Outbox, ada: dict[str, Any], state: str
) -> None:
    at = accounts.clock()
    values: dict[str, dict[str, Any]] = {
        "suspended": {"suspended_at": at},
        "inactive": {"is_active": False},
        "deleted": {"deleted_at": at, "erase_at": at + timedelta(days=30)},
        "nobody": {"email": "ada@example.net", "email_key": "ada@example.net"},
    }
    await set_columns(accounts, ada, **values[state])

    assert (await ask(client, ASK, "ada@example.org")).status_code == 202
    assert await outbox() == []


async def test_policy_holds_here_too_and_a_refused_password_spends_nothing(
    client: AsyncClient, accounts: Accounts, outbox: Outbox, ada: dict[str, Any]
) -> None:
    await ask(client, ASK, "ada@example.org")
    (letter,) = await outbox()

    for password, expected in (
        ("short", "password_too_short"),
        ("password1", "password_common"),
        ("testserver99", "password_contextual"),
        ("ada@example.org", "password_contextual"),
        ("x" * 1025, "password_too_long"),
    ):
        answer = await client.post("/auth/reset-password", json={"token": letter.token, "password": password})
        assert (answer.status_code, code(answer)) == (422, expected)
    assert await fits(accounts, ada, PASSWORD)
    answer = await client.post("/auth/reset-password", json={"token": letter.token, "password": ANOTHER})
    assert answer.status_code == 200


async def test_link_opens_nothing_once_the_account_has_another_address(
    client: AsyncClient, accounts: Accounts, outbox: Outbox, ada: dict[str, Any]
) -> None:
    await ask(client, ASK, "ada@example.org")
    await set_columns(accounts, ada, email="ada@example.com", email_key="ada@example.com")

    answer = await client.post("/auth/reset-password", json={"token": (await outbox())[0].token, "password": ANOTHER})

    assert code(answer) == "link_invalid"
    assert await fits(accounts, ada, PASSWORD)


async def test_beyond_the_limit_of_a_recipient_the_answer_is_the_same_and_no_letter_is_written(
    client: AsyncClient, accounts: Accounts, outbox: Outbox, ada: dict[str, Any]
) -> None:
    most = accounts.settings.mail_rate_per_recipient
    answers = [await ask(client, ASK, spelling) for spelling in ["ada@example.org", "ADA@example.org"] * most]

    assert {(each.status_code, each.text) for each in answers} == {(202, answers[0].text)}
    assert len(await outbox()) == most


@pytest.mark.slow
async def test_one_address_asks_for_so_many_letters_and_no_more(client: AsyncClient, accounts: Accounts) -> None:
    most = accounts.settings.sign_in_rate_per_address
    answers = [await ask(client, ASK, f"nobody{number}@example.org") for number in range(most + 1)]

    assert {each.status_code for each in answers[:most]} == {202}
    assert answers[most].status_code == 429
    assert int(answers[most].headers["retry-after"]) >= 1


async def test_what_is_no_address_is_refused(client: AsyncClient) -> None:
    answer = await ask(client, ASK, "ada")

    assert (answer.status_code, code(answer)) == (422, "email_invalid")


class TestLifetime:
    @pytest.fixture
    def overrides(self) -> dict[str, Any]:
        return PATIENT | {"reset_lifetime": 1800}

    async def test_link_ends_after_its_lifetime(
        self, client: AsyncClient, accounts: Accounts, outbox: Outbox, ada: dict[str, Any], clock: Clock
    ) -> None:
        await ask(client, ASK, "ada@example.org")
        (letter,) = await outbox()
        clock.turn(seconds=1799)
        assert (await client.get(letter.link)).status_code == 200
        clock.turn(seconds=1)

        assert (await client.get(letter.link)).status_code == 422
        answer = await client.post("/auth/reset-password", json={"token": letter.token, "password": ANOTHER})
        assert (answer.status_code, code(answer)) == (422, "link_invalid")
        assert await fits(accounts, ada, PASSWORD)
