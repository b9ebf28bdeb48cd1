"""One link, one administrator: no default account, and no second one by the same way."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest
from httpx import AsyncClient

from denizen.core.accounts import Accounts
from denizen.core.tokens import new_token
from denizen.founder.service import offer_first_administrator
from denizen.roles.models import ADMIN
from denizen.roles.service import grant_roles
from tests.conftest import PATIENT, Clock, MakeUser

PATH = "/auth/first-administrator"


def person(token: str, **fields: Any) -> dict[str, Any]:
    return {
        "token": token,
        "username": "root",
        "email": "root@example.org",
        "password": "correct horse battery",
        **fields,
    }


@pytest.fixture
def overrides() -> dict[str, Any]:
    return PATIENT


@pytest.fixture
async def token(accounts: Accounts) -> str:
    links = list[str]()
    assert await offer_first_administrator(accounts, links.append)
    assert links[0].startswith("http://testserver/auth/first-administrator?token=dza_")
    return links[0].partition("?token=")[2]


async def test_whoever_has_the_link_becomes_administrator_and_is_signed_in(client: AsyncClient, token: str) -> None:
    answer = await client.post(PATH, json=person(token))

    assert answer.status_code == 201
    client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
    (user,) = (await client.get("/users/")).json()
    assert (user["username"], user["email"]) == ("root", "root@example.org")
    assert (await client.get("/auth/sessions/current")).json()["method"] == "first_admin"
    assert (await client.get("/roles/")).status_code == 200


async def test_opening_the_page_spends_nothing(client: AsyncClient, token: str) -> None:
    for _ in range(2):
        page = await client.get(PATH, params={"token": token})
        assert page.status_code == 200
        assert 'action="first-administrator"' in page.text
        assert token in page.text
    assert (await client.post(PATH, json=person(token))).status_code == 201


async def test_the_form_of_the_page_does_it_and_shows_no_token_of_a_sign_in(client: AsyncClient, token: str) -> None:
    sent = person(token, full_name="")
    weak = await client.post(PATH, data=sent | {"password": "password"}, headers={"Accept": "text/html"})
    assert weak.status_code == 422
    assert 'role="alert"' in weak.text
    assert 'value="root@example.org"' in weak.text
    done = await client.post(PATH, data=sent, headers={"Accept": "text/html"})

    assert done.status_code == 200
    assert "root" in done.text
    assert "dzs_" not in done.text


async def test_the_link_works_once_and_for_an_hour(client: AsyncClient, token: str, clock: Clock) -> None:
    clock.turn(minutes=61)
    late = await client.post(PATH, json=person(token))
    assert (late.status_code, late.json()["code"]) == (422, "link_invalid")
    clock.turn(minutes=-2)
    assert (await client.post(PATH, json=person(token))).status_code == 201
    again = await client.post(PATH, json=person(token, username="other", email="other@example.org"))
    assert (again.status_code, again.json()["code"]) == (409, "administrator_exists")
    assert (await client.get(PATH, params={"token": token})).status_code == 409


async def test_what_is_refused_leaves_the_link_valid(client: AsyncClient, token: str, make_user: MakeUser) -> None:
    await make_user(username="root")

    taken = await client.post(PATH, json=person(token))
    assert (taken.status_code, taken.json()["code"]) == (409, "username_taken")
    assert (await client.post(PATH, json=person(token, username="chief"))).status_code == 201


@pytest.mark.slow
async def test_of_twenty_at_once_one_becomes_administrator(client: AsyncClient, token: str) -> None:
    """Single use under parallel redemptions."""
    answers = await asyncio.gather(
        *(client.post(PATH, json=person(token, username=f"n{n}", email=f"n{n}@example.org")) for n in range(20))
    )

    assert min(answer.status_code for answer in answers) == 201
    assert [answer.status_code for answer in answers].count(201) == 1
    assert {answer.json()["code"] for answer in answers if answer.status_code != 201} <= {
        "administrator_exists",
        "link_invalid",
    }


async def test_no_link_opens_anything_once_there_is_an_administrator(
    client: AsyncClient, accounts: Accounts, token: str, make_user: MakeUser
) -> None:
    made = await make_user()
    async with accounts.writing() as db:
        await grant_roles(db, UUID(made["id"]), [ADMIN], caller=None, at=accounts.clock())

    refused = await client.post(PATH, json=person(token))
    assert (refused.status_code, refused.json()["code"]) == (409, "administrator_exists")
    assert not await offer_first_administrator(accounts, print)


async def test_tokens_that_are_none_or_for_something_else_open_nothing(client: AsyncClient, token: str) -> None:
    """A token of one purpose is refused at every other."""
    for wrong in ("", "x", new_token("dza_"), new_token("dzi_"), "dzi_" + token[4:], token[:-1]):
        refused = await client.post(PATH, json=person(wrong))
        assert (refused.status_code, refused.json()["code"]) == (422, "link_invalid"), wrong
        if len(wrong) > 9:
            assert wrong not in refused.text
    misused = await client.post(
        "/auth/accept-invitation", json={"token": token, "username": "root", "password": "correct horse battery"}
    )
    assert misused.json()["code"] == "link_invalid"


async def test_nobody_sets_more_of_himself(client: AsyncClient, token: str) -> None:
    """Mass assignment is refused."""
    for field in ("id", "is_active", "email_verified_at", "created_at", "roles", "external_id"):
        refused = await client.post(PATH, json=person(token, **{field: "x"}))
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid")
