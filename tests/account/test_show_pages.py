"""The pages that links in letters lead to: a GET spends nothing, the button does it, errors are told there."""

from __future__ import annotations

import html
from typing import Any

import pytest
from httpx import AsyncClient, Response

from denizen.core.accounts import Accounts
from denizen.pages.templates import CSP
from tests.account.conftest import ANOTHER, Letter, Outbox, Scene, SignIn, ask, fits, proved, stored
from tests.conftest import MakeUser

BROWSER = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
GERMAN = {"accept-language": "de-DE,de;q=0.9,en;q=0.8"}


def text(answer: Response) -> str:
    """A page, after a look at what every page has."""
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"] == CSP
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"
    return html.unescape(answer.text)


async def submit(client: AsyncClient, path: str, **fields: str) -> Response:
    return await client.post(path, data=fields, headers=BROWSER)


@pytest.fixture
async def reset(client: AsyncClient, ada: dict[str, Any], outbox: Outbox) -> Letter:
    await ask(client, "/auth/forgot-password", "ada@example.org")
    return (await outbox())[0]


async def test_looking_at_a_page_spends_nothing(
    client: AsyncClient, accounts: Accounts, ada: dict[str, Any], reset: Letter
) -> None:
    pages = [await client.get(reset.link, headers=BROWSER) for _ in range(3)]
    head = await client.head(reset.link)

    assert [each.status_code for each in [*pages, head]] == [200] * 4
    assert f'name="token" value="{reset.token}"' in text(pages[0])
    assert "Ada@example.org" in text(pages[0])
    assert (await stored(accounts, ada)).version == 1
    assert (await submit(client, "/auth/reset-password", token=reset.token, password=ANOTHER)).status_code == 200


async def test_form_of_a_browser_is_answered_with_a_page_and_that_of_a_program_with_json(
    client: AsyncClient, accounts: Accounts, ada: dict[str, Any], reset: Letter
) -> None:
    answer = await submit(client, "/auth/reset-password", token=reset.token, password=ANOTHER)
    again = await client.post("/auth/reset-password", data={"token": reset.token, "password": ANOTHER})

    assert "Password set" in text(answer)
    assert await fits(accounts, ada, ANOTHER)
    assert again.headers["content-type"] == "application/problem+json"


async def test_what_is_wrong_with_a_password_is_told_on_the_form_which_can_be_sent_again(
    client: AsyncClient, accounts: Accounts, ada: dict[str, Any], reset: Letter
) -> None:
    answer = await submit(client, "/auth/reset-password", token=reset.token, password="hunter2<>")

    assert answer.status_code == 422 or await fits(accounts, ada, "hunter2<>")
    answer = await submit(client, "/auth/reset-password", token=reset.token, password="short<>")
    assert answer.status_code == 422
    assert "A password has at least 8 characters." in text(answer)
    assert f'name="token" value="{reset.token}"' in text(answer)
    assert "short<>" not in text(answer)


async def test_link_that_opens_nothing_is_explained_on_a_page(client: AsyncClient) -> None:
    for path in ("verify", "reset-password", "confirm-email", "undo-email"):
        for answer in (
            await client.get(f"/auth/{path}?token=dzv_nothing"),
            await submit(
                client, f"/auth/{path}", token="dzv_nothing", **({"password": ANOTHER} if "reset" in path else {})
            ),
        ):
            assert answer.status_code == 422
            assert "This link cannot be used" in text(answer)
            assert "<form" not in text(answer)


async def test_address_that_was_taken_meanwhile_is_explained_on_a_page(
    scene: Scene, ada: dict[str, Any], make_user: MakeUser
) -> None:
    client, accounts, outbox, sign_in = scene
    await proved(accounts, ada)
    await client.post("/auth/change-email", json={"email": "new@example.org"}, headers=await sign_in(ada))
    await make_user(email="new@example.org")

    answer = await submit(client, "/auth/confirm-email", token=(await outbox())[0].token)

    assert answer.status_code == 409
    assert "Another account has this address" in text(answer)


async def test_pages_and_letters_speak_german_to_whoever_asks_for_it(
    client: AsyncClient, outbox: Outbox, ada: dict[str, Any]
) -> None:
    await ask(client, "/auth/request-verify-token", "ada@example.org", **GERMAN)
    (letter,) = await outbox()

    page = await client.get(letter.link, headers=BROWSER | GERMAN)
    wrong = await client.post(
        "/auth/verify", data={"token": letter.token, "password": "kurz"}, headers=BROWSER | GERMAN
    )

    assert '<html lang="de">' in text(page)
    assert "Passwort wählen" in text(page)
    assert "Dieses Passwort ist zu kurz." in text(wrong)
    assert "Passwort wählen" in text(wrong)


async def test_first_proof_asks_for_a_password_and_a_later_one_does_not(
    client: AsyncClient, accounts: Accounts, outbox: Outbox, ada: dict[str, Any], sign_in: SignIn
) -> None:
    await ask(client, "/auth/request-verify-token", "ada@example.org")
    (letter,) = await outbox()
    first = await client.get(letter.link)
    done = await submit(client, "/auth/verify", token=letter.token, password=ANOTHER)
    await client.post("/auth/change-email", json={"email": "new@example.org"}, headers=await sign_in(ada))
    later = await client.get((await outbox("change_email"))[0].link)

    assert 'type="password"' in text(first)
    assert "Ada@example.org is confirmed" in text(done)
    assert 'type="password"' not in text(later)
    assert "new@example.org" in text(later)
