"""Signing in by a link or a code that is mailed: who gets one is not told, and each works once."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from httpx import AsyncClient, Response

from denizen.core.accounts import Accounts
from denizen.core.tokens import new_token
from tests.account.conftest import Outbox, fits, give_key, opens, proved, set_columns, stored
from tests.account.test_answer_alike import STATES, bring_into
from tests.conftest import PATIENT, Clock, MakeUser
from tests.sessions.conftest import bearer

ASK = {"link": "/auth/magic-link", "code": "/auth/code"}
LINK = "/auth/magic-link/sign-in"
CODE = "/auth/code/sign-in"
HTML = {"Accept": "text/html"}
SENDING = re.compile("UPDATE denizen_mails|SELECT denizen_mails")
"""What the sender of mails does meanwhile."""


@pytest.fixture
def overrides() -> dict[str, Any]:
    return {"sign_in_rate_per_address": 0, "mail_rate_per_recipient": 0, **PATIENT}


@pytest.fixture
async def ada(make_user: MakeUser) -> dict[str, Any]:
    return await make_user(username="ada", email="Ada@example.org")


async def ask(client: AsyncClient, way: str, email: str = "ADA@example.org") -> Response:
    answer = await client.post(ASK[way], json={"email": email})
    assert answer.status_code == 202, answer.text
    return answer


def code_in(text: str) -> str:
    (found,) = re.findall(r"^\d{6}$", text, re.MULTILINE)
    return str(found)


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 1_000_000:06}"


class TestAlike:
    @pytest.fixture(params=[None, "smtp://127.0.0.1:1"], ids=["outbox", "server away"])
    def overrides(self, request: pytest.FixtureRequest) -> dict[str, Any]:
        return {"mail_url": request.param, "sign_in_rate_per_address": 0, **PATIENT}

    @pytest.mark.parametrize("way", ASK)
    async def test_asking_is_answered_alike_whoever_has_the_address(
        self, client: AsyncClient, accounts: Accounts, make_user: MakeUser, way: str
    ) -> None:
        """The same status, body, headers and statements for known, unknown, unverified, suspended ... accounts."""
        emails = {"unknown": "personX@example.org"}
        for number, state in enumerate(STATES[1:]):
            emails[state] = f"person{number}@example.org"
            await bring_into(accounts, await make_user(email=emails[state]), state)
        await ask(client, way, "somebody@example.org")  # what is compiled or opened at first use
        ran, found = list[str](), {}
        accounts.database.observers.append(ran.append)
        for state in STATES:
            ran.clear()
            answer = await ask(client, way, emails[state])
            headers = {name: value for name, value in answer.headers.items() if name != "x-request-id"}
            body = re.sub(r"dzc_[\w-]{43}", "dzc_", answer.text)
            found[state] = (body, headers, [re.sub(r"\s+", " ", each) for each in ran if not SENDING.search(each)])

        for state in STATES:
            assert found[state] == found["unknown"], state


@pytest.mark.parametrize("way", ASK)
@pytest.mark.parametrize("state", ["unknown", "suspended", "inactive", "deleted"])
async def test_nobody_is_written_to_who_cannot_sign_in(
    client: AsyncClient, accounts: Accounts, ada: dict[str, Any], outbox: Outbox, *, way: str, state: str
) -> None:
    await bring_into(accounts, ada, state)
    answer = await ask(client, way, "nobody@example.org" if state == "unknown" else "ada@example.org")

    assert await outbox() == []
    if way == "code":
        refused = await client.post(CODE, json={"ticket": answer.json()["ticket"], "code": "000000"})
        assert (refused.status_code, refused.json()["code"]) == (422, "link_invalid")


async def test_link_signs_in_once_and_looking_at_it_spends_nothing(
    client: AsyncClient, accounts: Accounts, ada: dict[str, Any], outbox: Outbox, clock: Clock
) -> None:
    await proved(accounts, ada)
    await ask(client, "link")
    (letter,) = await outbox()
    assert (letter.template, letter.address) == ("magic_link", "Ada@example.org")
    for _ in range(2):
        page = await client.get(letter.link)
        assert (page.status_code, "Ada@example.org" in page.text) == (200, True)
    clock.turn(minutes=14)
    answer = await client.post(LINK, json={"token": letter.token})

    assert answer.status_code == 200
    assert (answer.json()["token_type"], answer.json()["session"]["method"]) == ("bearer", "magic_link")
    assert await opens(accounts, bearer(answer.json()["access_token"]))
    assert await fits(accounts, ada, "correct horse battery")
    again = await client.post(LINK, json={"token": letter.token})
    assert (again.status_code, again.json()["code"]) == (422, "link_invalid")
    assert (await client.get(letter.link)).status_code == 422


async def test_code_signs_in_with_its_ticket_and_no_other(
    client: AsyncClient, accounts: Accounts, ada: dict[str, Any], outbox: Outbox
) -> None:
    """A code is bound to the request that asked for it."""
    await proved(accounts, ada)
    strangers = (await ask(client, "code", "nobody@example.org")).json()["ticket"]
    ticket = (await ask(client, "code")).json()["ticket"]
    (letter,) = await outbox()
    code = code_in(letter.text)
    for sent in (strangers, new_token("dzc_"), "x"):
        assert (await client.post(CODE, json={"ticket": sent, "code": code})).json()["code"] == "link_invalid"
    answer = await client.post(CODE, json={"ticket": ticket, "code": f" {code[:3]} {code[3:]} "})

    assert answer.status_code == 200
    assert answer.json()["session"]["method"] == "code"
    assert await opens(accounts, bearer(answer.json()["access_token"]))
    assert (await client.post(CODE, json={"ticket": ticket, "code": code})).json()["code"] == "link_invalid"


async def test_code_has_five_tries_and_ten_minutes(
    client: AsyncClient, accounts: Accounts, ada: dict[str, Any], outbox: Outbox, clock: Clock
) -> None:
    await proved(accounts, ada)
    for number in range(2):
        ticket = (await ask(client, "code")).json()["ticket"]
        code = code_in((await outbox())[-1].text)
        if number == 0:
            for _ in range(5):
                assert (await client.post(CODE, json={"ticket": ticket, "code": wrong(code)})).status_code == 422
        else:
            clock.turn(minutes=10, seconds=1)
        refused = await client.post(CODE, json={"ticket": ticket, "code": code})
        assert (refused.status_code, refused.json()["code"]) == (422, "link_invalid")


async def test_tickets_from_before_are_answered_alike_whoever_has_the_address(
    client: AsyncClient, accounts: Accounts, ada: dict[str, Any], outbox: Outbox
) -> None:
    """Nobody learns by asking twice who has an account, whatever he sends."""
    await proved(accounts, ada)
    found = []
    for email in ("ada@example.org", "nobody@example.org"):
        first = (await ask(client, "code", email)).json()["ticket"]
        await ask(client, "code", email)
        refused = [await client.post(CODE, json={"ticket": first, "code": "00000x"}) for _ in range(12)]
        found.append([(each.status_code, each.json()["code"]) for each in refused])
    assert found[0] == found[1]


@pytest.mark.parametrize("state", STATES)
async def test_wrong_guesses_are_counted_alike_everywhere_whoever_has_the_address(
    client: AsyncClient, accounts: Accounts, ada: dict[str, Any], state: str
) -> None:
    """Nobody learns from where his guesses are counted that there is an account, be it suspended or deleted."""
    await bring_into(accounts, ada, state)
    email = "nobody@example.org" if state == "unknown" else "ada@example.org"
    for _ in range(10):
        await client.post("/auth/login", json={"username": email, "password": "a wrong one"})
    ticket = (await ask(client, "code", email)).json()["ticket"]

    assert (await client.post(CODE, json={"ticket": ticket, "code": "00000x"})).status_code == 429


async def test_nobody_takes_anybody_the_code_he_waits_for(
    client: AsyncClient, accounts: Accounts, ada: dict[str, Any], outbox: Outbox
) -> None:
    """Who asks for a code for somebody else's address leaves that of its owner as it is."""
    await proved(accounts, ada)
    ticket = (await ask(client, "code")).json()["ticket"]
    (letter,) = await outbox()
    await ask(client, "code")

    assert (await client.post(CODE, json={"ticket": ticket, "code": code_in(letter.text)})).status_code == 200


async def test_wrong_codes_count_as_wrong_passwords_do(
    client: AsyncClient, accounts: Accounts, ada: dict[str, Any], outbox: Outbox
) -> None:
    """Wrong guesses at an account are counted once for all endpoints."""
    await proved(accounts, ada)
    for _ in range(2):
        ticket = (await ask(client, "code")).json()["ticket"]
        code = code_in((await outbox())[-1].text)
        for _ in range(5):
            await client.post(CODE, json={"ticket": ticket, "code": wrong(code)})
    ticket = (await ask(client, "code")).json()["ticket"]
    code = code_in((await outbox())[-1].text)
    statuses = [
        (await client.post(CODE, json={"ticket": ticket, "code": wrong(code)})).status_code,
        (await client.post(CODE, json={"ticket": ticket, "code": code})).status_code,
        (await client.post("/auth/login", json={"username": "ada", "password": "correct horse battery"})).status_code,
    ]

    assert 429 in statuses[:2]
    assert statuses[2] == 429


@pytest.mark.parametrize("way", ASK)
async def test_first_proof_ends_what_was_before_and_the_new_sign_in_goes_on(
    client: AsyncClient, accounts: Accounts, ada: dict[str, Any], outbox: Outbox, way: str
) -> None:
    """The first proof of an address ends every password, session and key made before it."""
    signed_in = await client.post("/auth/login", json={"username": "ada", "password": "correct horse battery"})
    old, key = bearer(signed_in.json()["access_token"]), await give_key(accounts, ada)
    asked = await ask(client, way)
    (letter,) = await outbox()
    if way == "link":
        answer = await client.post(LINK, json={"token": letter.token})
    else:
        answer = await client.post(CODE, json={"ticket": asked.json()["ticket"], "code": code_in(letter.text)})

    assert answer.status_code == 200
    user = await stored(accounts, ada)
    assert (user.email_verified_at, user.hashed_password) == (accounts.clock(), None)
    assert [await opens(accounts, each) for each in (old, key)] == [False, False]
    assert await opens(accounts, bearer(answer.json()["access_token"]))


@pytest.mark.parametrize("change", ["suspended", "inactive", "deleted", "another address"])
async def test_what_was_sent_opens_nothing_once_nobody_may_sign_in_or_the_address_is_another(
    client: AsyncClient, accounts: Accounts, ada: dict[str, Any], outbox: Outbox, change: str
) -> None:
    await ask(client, "link")
    ticket = (await ask(client, "code")).json()["ticket"]
    link, code = await outbox()
    if change == "another address":
        await set_columns(accounts, ada, email="ada@example.net", email_key="ada@example.net")
    else:
        await bring_into(accounts, ada, change)

    for path, body in (
        (LINK, {"token": link.token}),
        (CODE, {"ticket": ticket, "code": code_in(code.text)}),
    ):
        refused = await client.post(path, json=body)
        assert (refused.status_code, refused.json()["code"]) == (422, "link_invalid"), path


@pytest.mark.parametrize("way", ASK)
async def test_of_twenty_at_once_one_signs_in(
    client: AsyncClient, accounts: Accounts, ada: dict[str, Any], outbox: Outbox, way: str
) -> None:
    """Single use under parallel redemptions."""
    await proved(accounts, ada)
    asked = await ask(client, way)
    (letter,) = await outbox()
    path, body = LINK, {"token": letter.token if way == "link" else ""}
    if way == "code":
        path, body = CODE, {"ticket": asked.json()["ticket"], "code": code_in(letter.text)}
    answers = await asyncio.gather(*(client.post(path, json=body) for _ in range(20)))

    assert [answer.status_code for answer in answers].count(200) == 1
    assert {answer.status_code for answer in answers} <= {200, 422, 429}


async def test_tokens_of_other_purposes_open_nothing(
    client: AsyncClient, accounts: Accounts, ada: dict[str, Any], outbox: Outbox
) -> None:
    """A token of one purpose is refused at every other."""
    await ask(client, "link")
    ticket = (await ask(client, "code")).json()["ticket"]
    link, _ = await outbox()
    for path, body in (
        (LINK, {"token": ticket}),
        (LINK, {"token": "dzp_" + link.token[4:]}),
        (CODE, {"ticket": link.token, "code": "000000"}),
        ("/auth/verify", {"token": link.token}),
        ("/auth/reset-password", {"token": link.token, "password": "a staple of seven seas"}),
    ):
        assert (await client.post(path, json=body)).json()["code"] == "link_invalid", path
    assert not await fits(accounts, ada, "a staple of seven seas")


class TestBrowser:
    @pytest.fixture
    def overrides(self) -> dict[str, Any]:
        return {"base_url": "https://testserver"}

    async def test_page_signs_the_browser_in_by_cookie(
        self, client: AsyncClient, ada: dict[str, Any], outbox: Outbox
    ) -> None:
        await ask(client, "link")
        (letter,) = await outbox()
        page = await client.get(letter.link.replace("https:", "http:"))
        assert 'name="cookie" value="true"' in page.text
        form = {"token": letter.token, "cookie": "true"}
        foreign = await client.post(LINK, data=form, headers=HTML | {"Origin": "https://evil.example"})
        assert foreign.status_code == 403
        answer = await client.post(LINK, data=form, headers=HTML | {"Origin": "https://testserver"})

        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/html")
        assert "HttpOnly" in answer.headers["set-cookie"]
        assert "dzs_" not in answer.text

    @pytest.mark.parametrize("way", ASK)
    async def test_sign_in_that_the_browser_had_before_ends(
        self, client: AsyncClient, accounts: Accounts, ada: dict[str, Any], outbox: Outbox, way: str
    ) -> None:
        """As at sign-in by password: nobody holds two, one of which he cannot see any more."""
        await proved(accounts, ada)
        before = {"username": "ada", "password": "correct horse battery", "cookie": True}
        old = (await client.post("/auth/login", json=before)).cookies
        ((name, token),) = old.items()
        asked = await ask(client, way)
        (letter,) = await outbox()
        path, body = LINK, {"token": letter.token if way == "link" else ""}
        if way == "code":
            path, body = CODE, {"ticket": asked.json()["ticket"], "code": code_in(letter.text)}
        answer = await client.post(path, json=body | {"cookie": True}, headers={"Cookie": f"{name}={token}"})

        assert answer.status_code == 200, answer.text
        assert not await opens(accounts, bearer(token))
        assert await opens(accounts, bearer(answer.cookies[name]))


class TestOff:
    @pytest.fixture
    def overrides(self) -> dict[str, Any]:
        return {"passwordless": False}

    async def test_nothing_of_it_is_there(self, client: AsyncClient, ada: dict[str, Any], outbox: Outbox) -> None:
        for path, body in (
            *((path, {"email": "ada@example.org"}) for path in ASK.values()),
            (LINK, {"token": new_token("dzm_")}),
            (CODE, {"ticket": new_token("dzc_"), "code": "000000"}),
        ):
            refused = await client.post(path, json=body)
            assert (refused.status_code, refused.json()["code"]) == (404, "passwordless_off")
        assert (await client.get(LINK, params={"token": "x"})).status_code == 404
        assert await outbox() == []


class TestFew:
    @pytest.fixture
    def overrides(self) -> dict[str, Any]:
        return {"mail_rate_per_recipient": 2, "sign_in_rate_per_address": 5}

    async def test_few_letters_reach_one_address_and_one_address_asks_for_few(
        self, client: AsyncClient, ada: dict[str, Any], outbox: Outbox
    ) -> None:
        answers = [await client.post(ASK[way], json={"email": "ada@example.org"}) for way in ["link", "code"] * 3]

        assert [answer.status_code for answer in answers] == [202] * 5 + [429]
        assert [letter.template for letter in await outbox()] == ["magic_link", "code"] * 2

    async def test_all_together_ask_for_so_many_letters_wherever_they_come_from(
        self, client: AsyncClient, accounts: Accounts
    ) -> None:
        limits = {"letters_rate_total": 3, "sign_in_rate_per_address": 0}
        accounts.settings = accounts.settings.model_copy(update=limits)
        paths = [*ASK.values(), "/auth/forgot-password", "/auth/request-verify-token"]
        answers = [await client.post(path, json={"email": f"{path[6]}@example.org"}) for path in paths]

        assert [answer.status_code for answer in answers] == [202] * 3 + [429]
        assert answers[-1].headers["ratelimit-policy"] == '"letters-total";q=3;w=60'

    async def test_letters_of_one_kind_keep_nobody_from_those_of_another(
        self, client: AsyncClient, ada: dict[str, Any], outbox: Outbox
    ) -> None:
        """A stranger who asks for codes does not keep the owner of the account from a new password."""
        for _ in range(4):
            await ask(client, "code", "ada@example.org")
        await client.post("/auth/forgot-password", json={"email": "ada@example.org"})

        assert [letter.template for letter in await outbox()] == ["code", "code", "reset"]
