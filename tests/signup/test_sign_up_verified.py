"""Sign-up where the address has to be proved first: nothing is there before, and no answer tells who has an account."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from httpx import AsyncClient, Response
from sqlalchemy import func, select

from denizen.core.accounts import Accounts
from denizen.core.tokens import new_token
from denizen.onetime.models import OneTimeToken
from denizen.users.models import User
from tests.account.conftest import ANOTHER, Outbox, fits, stored
from tests.conftest import PATIENT, Clock, MakeKey

ADA = {"username": "ada", "email": "Ada@example.org", "full_name": "Ada", "password": "correct horse battery"}
PATHS = ["/users/", "/auth/register"]
CONFIRM = "/auth/register/confirm"

SENDING = re.compile("(FROM|UPDATE) denizen_mails")
"""What the sender of mails does meanwhile."""


@pytest.fixture(params=[None, "smtp://127.0.0.1:1"], ids=["outbox", "server away"])
def mail_url(request: pytest.FixtureRequest) -> str | None:
    url: str | None = request.param
    return url


@pytest.fixture
def overrides() -> dict[str, Any]:
    return {"signup": "verified", **PATIENT}


def seen(answer: Response) -> tuple[Any, ...]:
    """What a client sees of an answer, but for the id of the request."""
    headers = {name: value for name, value in answer.headers.items() if name != "x-request-id"}
    return answer.status_code, answer.content, headers


async def count_accounts(accounts: Accounts) -> int:
    async with accounts.database.read.session() as db:
        return int((await db.execute(select(func.count()).select_from(User))).scalar_one())


@pytest.fixture
async def known(client: AsyncClient, make_key: MakeKey) -> dict[str, Any]:
    """Somebody who has an account."""
    body = {"username": "grace", "email": "Grace@example.org", "password": "correct horse battery"}
    made: dict[str, Any] = (await client.post("/users/", json=body, headers=await make_key())).json()
    return made


class TestAlike:
    @pytest.fixture
    def overrides(self, mail_url: str | None) -> dict[str, Any]:
        return {"signup": "verified", "mail_url": mail_url, **PATIENT}

    @pytest.mark.parametrize("path", PATHS)
    async def test_answer_and_work_are_the_same_for_known_and_unknown_addresses(
        self,
        client: AsyncClient,
        accounts: Accounts,
        known: dict[str, Any],
        path: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """The answer, its size and its work are the same at verified sign-up, the mail server up or down."""
        ran, hashed = list[str](), list[str]()
        hash_once = accounts.hashing.hash

        async def counting(password: str, **options: Any) -> str:
            hashed.append(password)
            return await hash_once(password, **options)

        monkeypatch.setattr(type(accounts.hashing), "hash", lambda _, *given, **options: counting(*given, **options))
        await client.post(path, json=ADA | {"username": "first", "email": "first@example.org"})
        accounts.database.observers.append(ran.append)
        found = []
        for number, email in enumerate(("somebody@example.org", known["email"], "GRACE@EXAMPLE.ORG")):
            ran.clear()
            hashed.clear()
            answer = await client.post(path, json=ADA | {"username": f"ada{number}", "email": email})
            statements = [re.sub(r"\s+", " ", each) for each in ran if not SENDING.search(each)]
            found.append((*seen(answer), statements, len(hashed)))

        assert found[0][0] == 202
        assert found[0][-1] == 1
        assert found[0] == found[1] == found[2]

    async def test_a_username_that_is_taken_tells_nothing_of_the_address(
        self, client: AsyncClient, known: dict[str, Any]
    ) -> None:
        for username, code in (("Grace", "username_taken"), ("grаce", "username_too_similar")):
            answers = [
                await client.post("/auth/register", json=ADA | {"username": username, "email": email})
                for email in ("somebody@example.org", known["email"])
            ]
            assert [answer.status_code for answer in answers] == [409, 409]
            assert answers[0].json()["code"] == answers[1].json()["code"] == code

    async def test_an_address_as_username_tells_nothing_of_itself(
        self, client: AsyncClient, known: dict[str, Any], make_key: MakeKey
    ) -> None:
        body = {"username": "eve@example.org", "email": "eve@example.org", "password": "correct horse battery"}
        assert (await client.post("/users/", json=body, headers=await make_key())).status_code == 201
        answers = [
            await client.post("/auth/register", json=body | {"username": email, "email": email})
            for email in ("eve@example.org", "new@example.org")
        ]
        assert seen(answers[0]) == seen(answers[1])
        assert answers[0].status_code == 202


async def test_letters_are_in_the_readers_language(client: AsyncClient, outbox: Outbox) -> None:
    for name in ("ada", "lovelace"):
        await client.post("/users/", json=ADA | {"username": name}, headers={"Accept-Language": "de"})
        await client.post(CONFIRM, json={"token": (await outbox("sign_up"))[0].token, "password": ADA["password"]})

    assert [(each.template, "Guten Tag" in each.text) for each in await outbox()] == [
        ("sign_up", True),
        ("sign_up_known", True),
    ]


async def test_account_is_there_once_the_link_is_used(
    client: AsyncClient, accounts: Accounts, outbox: Outbox, clock: Clock
) -> None:
    assert (await client.post("/users/", json=ADA)).status_code == 202
    assert await count_accounts(accounts) == 0
    (letter,) = await outbox()
    assert (letter.template, letter.address) == ("sign_up", "Ada@example.org")
    for _ in range(2):
        page = await client.get(letter.link)  # which spends nothing
        assert page.status_code == 200
        assert 'value="ada"' in page.text
    clock.turn(hours=23)
    made = await client.post(CONFIRM, json={"token": letter.token, "password": ANOTHER})

    assert made.status_code == 201
    assert made.headers["location"].endswith(made.json()["id"])
    assert (made.json()["username"], made.json()["email"]) == ("ada", "Ada@example.org")
    assert (await stored(accounts, made.json())).email_verified_at == clock.at
    again = await client.post(CONFIRM, json={"token": letter.token, "password": ANOTHER})
    assert (again.status_code, again.json()["code"]) == (422, "link_invalid")


async def test_whoever_has_an_account_is_told_and_nothing_changes(
    client: AsyncClient, accounts: Accounts, outbox: Outbox, known: dict[str, Any]
) -> None:
    await client.post("/auth/register", json=ADA | {"email": "grace@EXAMPLE.org"})

    (letter,) = await outbox()
    assert (letter.template, letter.address) == ("sign_up_known", "grace@example.org")
    assert "token=" not in letter.text
    assert await count_accounts(accounts) == 1


async def test_a_name_taken_meanwhile_is_told_and_another_one_can_be_given(
    client: AsyncClient, outbox: Outbox, make_key: MakeKey
) -> None:
    await client.post("/auth/register", json=ADA)
    (letter,) = await outbox("sign_up")
    other = ADA | {"email": "other@example.org"}
    assert (await client.post("/users/", json=other, headers=await make_key())).status_code == 201

    refused = await client.post(CONFIRM, json={"token": letter.token, "password": ANOTHER})
    assert (refused.status_code, refused.json()["code"]) == (409, "username_taken")
    page = await client.post(
        CONFIRM, data={"token": letter.token, "username": "ada", "password": ANOTHER}, headers=HTML
    )
    assert (page.status_code, 'role="alert"' in page.text, letter.token in page.text) == (409, True, True)
    made = await client.post(
        CONFIRM, data={"token": letter.token, "username": "ada2", "password": ANOTHER}, headers=HTML
    )
    assert (made.status_code, "ada2" in made.text) == (201, True)


HTML = {"Accept": "text/html"}


async def test_password_is_of_whoever_proves_the_address_and_of_nobody_else(
    client: AsyncClient, accounts: Accounts, outbox: Outbox
) -> None:
    """A stranger who signs up with somebody's address knows no password of the account, whatever its owner does."""
    await client.post("/auth/register", json=ADA)
    (letter,) = await outbox()
    without = await client.post(CONFIRM, json={"token": letter.token})
    assert (without.status_code, without.json()["code"]) == (422, "invalid")
    assert (await client.post(CONFIRM, data={"token": letter.token, "password": ""}, headers=HTML)).status_code == 422
    weak = await client.post(CONFIRM, json={"token": letter.token, "password": "password"})
    assert (weak.status_code, weak.json()["code"]) == (422, "password_common")
    made = await client.post(CONFIRM, json={"token": letter.token, "password": ANOTHER})

    assert made.status_code == 201
    assert await fits(accounts, made.json(), ANOTHER)
    assert not await fits(accounts, made.json(), ADA["password"])


async def test_the_password_of_the_end_is_judged_by_all_that_is_known(client: AsyncClient, outbox: Outbox) -> None:
    await client.post("/auth/register", json=ADA | {"full_name": "Augusta King-Noel"})
    (letter,) = await outbox()

    for password in ("augusta.king.noel", "Noel-Augusta-1815", "bernoulli-1"):
        body = {"token": letter.token, "username": "bernoulli", "password": password}
        refused = await client.post(CONFIRM, json=body)
        assert (refused.status_code, refused.json()["code"]) == (422, "password_contextual"), password
    assert (await client.post(CONFIRM, json={"token": letter.token, "password": ANOTHER})).status_code == 201


async def test_of_two_who_sign_up_with_one_address_the_first_to_prove_it_gets_it(
    client: AsyncClient, outbox: Outbox
) -> None:
    await client.post("/auth/register", json=ADA)
    await client.post("/auth/register", json=ADA | {"username": "lovelace"})
    one, other = await outbox("sign_up")

    assert (await client.post(CONFIRM, json={"token": other.token, "password": ANOTHER})).json()[
        "username"
    ] == "lovelace"
    refused = await client.post(CONFIRM, json={"token": one.token, "password": ANOTHER})
    assert (refused.status_code, refused.json()["code"]) == (409, "email_taken")


async def test_of_twenty_that_confirm_at_once_one_does(client: AsyncClient, accounts: Accounts, outbox: Outbox) -> None:
    """Single use under parallel redemptions."""
    await client.post("/auth/register", json=ADA)
    (letter,) = await outbox()
    answers = await asyncio.gather(
        *(
            client.post(CONFIRM, json={"token": letter.token, "username": f"ada{n}", "password": ANOTHER})
            for n in range(20)
        )
    )

    assert sorted(answer.status_code for answer in answers) == [201] + [422] * 19
    assert await count_accounts(accounts) == 1


async def test_link_expires_and_opens_nothing_else(client: AsyncClient, outbox: Outbox, clock: Clock) -> None:
    """A token of one purpose is refused at every other."""
    await client.post("/auth/register", json=ADA)
    (letter,) = await outbox()
    for path, body in (
        ("/auth/verify", {"token": letter.token}),
        ("/auth/magic-link/sign-in", {"token": letter.token}),
        (CONFIRM, {"token": new_token("dzn_"), "password": ANOTHER}),
        (CONFIRM, {"token": "dzv_" + letter.token[4:], "password": ANOTHER}),
    ):
        assert (await client.post(path, json=body)).json()["code"] == "link_invalid", path
    clock.turn(hours=25)
    assert (await client.post(CONFIRM, json={"token": letter.token, "password": ANOTHER})).json()[
        "code"
    ] == "link_invalid"
    assert (await client.get(letter.link)).status_code == 422


async def test_nothing_that_is_stored_or_said_shows_the_password_or_its_hash(
    client: AsyncClient, accounts: Accounts, capfd: pytest.CaptureFixture[str]
) -> None:
    await client.post("/auth/register", json=ADA)
    async with accounts.database.read.session() as db:
        (token,) = (await db.scalars(select(OneTimeToken))).all()

    assert token.payload is not None
    hashed = accounts.hashing.hasher.hash(ADA["password"])
    for secret in (ADA["password"], hashed[:20]):
        assert secret.encode() not in token.payload
        assert secret not in repr(token) + "".join(capfd.readouterr())


class TestFew:
    @pytest.fixture
    def overrides(self) -> dict[str, Any]:
        return {"signup": "verified", "mail_rate_per_recipient": 2, **PATIENT}

    async def test_strangers_cause_few_letters_to_one_address_and_are_not_told(
        self, client: AsyncClient, outbox: Outbox, clock: Clock
    ) -> None:
        answers = [await client.post("/auth/register", json=ADA | {"username": f"ada{n}"}) for n in range(4)]

        assert {seen(answer)[:2] for answer in answers} == {(202, answers[0].content)}
        assert len(await outbox()) == 2
        clock.turn(minutes=31)
        await client.post("/auth/register", json=ADA)
        assert len(await outbox()) == 3


async def test_whoever_may_create_accounts_does_so_directly(
    client: AsyncClient, outbox: Outbox, make_key: MakeKey
) -> None:
    assert (await client.post("/users/", json=ADA, headers=await make_key())).status_code == 201
    assert await outbox() == []
