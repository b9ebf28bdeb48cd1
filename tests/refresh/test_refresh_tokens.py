"""Access tokens are renewed by refresh tokens, each of which is good for one exchange, and for ten seconds more."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import jwt
import pytest
from httpx import ASGITransport, AsyncClient, Response
from sqlalchemy import func, select

from denizen.app import create_app
from denizen.core.accounts import Accounts
from denizen.core.deps import installs_of
from denizen.core.events import Event
from denizen.core.hashers import NullHasher
from denizen.core.tokens import new_token
from denizen.refresh.events import RefreshReused
from denizen.refresh.models import RefreshToken
from denizen.refresh.service import MOST_FAMILIES
from denizen.settings import Settings
from tests.conftest import BASE_URL, PATIENT, Clock, MakeUser
from tests.refresh.conftest import GiveTokens, Person, SignIn


@pytest.fixture
def overrides() -> dict[str, Any]:
    return PATIENT | {"insecure_cookies": True}


async def refresh(client: AsyncClient, token: str) -> Response:
    return await client.post("/auth/refresh", json={"refresh_token": token})


async def exchanged(client: AsyncClient, token: str) -> str:
    """The token that follows."""
    answer = await refresh(client, token)
    assert answer.status_code == 200, answer.text
    following: str = answer.json()["refresh_token"]
    return following


async def is_signed_in(client: AsyncClient, person: Person) -> bool:
    return (await client.post("/auth/tokens", headers=person.headers)).status_code == 200


async def stored(accounts: Accounts) -> int:
    async with accounts.database.read.session() as db:
        return int((await db.execute(select(func.count()).select_from(RefreshToken))).scalar_one())


async def test_tokens_are_given_to_who_signed_in(client: AsyncClient, sign_in: SignIn) -> None:
    answer = await client.post("/auth/tokens", headers=(await sign_in()).headers)

    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    given = answer.json()
    assert given["token_type"] == "Bearer"
    assert given["expires_in"] == 60
    assert given["refresh_token"].startswith("dzr_")
    assert len(given["refresh_token"]) == 47
    assert given["refresh_expires_in"] == 14 * 86400


async def test_keys_and_strangers_get_none(client: AsyncClient, make_key: Any) -> None:
    stranger = await client.post("/auth/tokens")
    key = await client.post("/auth/tokens", headers=await make_key())

    assert (stranger.status_code, stranger.json()["code"]) == (401, "credentials_missing")
    assert (key.status_code, key.json()["code"]) == (403, "session_needed")


async def test_a_refresh_token_gives_the_next_pair(
    client: AsyncClient, sign_in: SignIn, give_tokens: GiveTokens, clock: Clock
) -> None:
    person = await sign_in()
    first = await give_tokens(person)
    clock.turn(seconds=50)

    second = (await refresh(client, first["refresh_token"])).json()
    third = (await refresh(client, second["refresh_token"])).json()

    assert len({each["refresh_token"] for each in (first, second, third)}) == 3
    claims = jwt.decode(third["access_token"], options={"verify_signature": False})
    assert claims["sub"] == person.id
    assert claims["sid"] == str(person.session_id)
    assert claims["exp"] == int(clock().timestamp()) + 60


async def test_oauth_clients_send_a_form(client: AsyncClient, sign_in: SignIn, give_tokens: GiveTokens) -> None:
    token = (await give_tokens(await sign_in()))["refresh_token"]

    form = {"grant_type": "refresh_token", "refresh_token": token, "client_id": "shop", "client_secret": ""}
    answer = await client.post("/auth/refresh", data=form)
    other = await client.post("/auth/refresh", data={"grant_type": "password", "refresh_token": token})

    assert answer.status_code == 200
    assert answer.json()["refresh_token"] != token
    assert other.status_code == 422


async def test_twenty_at_once_get_one_and_the_same_successor(
    client: AsyncClient, sign_in: SignIn, give_tokens: GiveTokens
) -> None:
    token = (await give_tokens(await sign_in()))["refresh_token"]

    answers = await asyncio.gather(*(refresh(client, token) for _ in range(20)))

    assert [answer.status_code for answer in answers] == [200] * 20
    assert len({answer.json()["refresh_token"] for answer in answers}) == 1
    assert (await refresh(client, answers[0].json()["refresh_token"])).status_code == 200


async def test_two_processes_agree_on_the_successor(
    client: AsyncClient, settings: Settings, clock: Clock, sign_in: SignIn, give_tokens: GiveTokens
) -> None:
    token = (await give_tokens(await sign_in()))["refresh_token"]
    app = create_app(settings, hasher=NullHasher(), clock=clock)
    async with AsyncClient(transport=ASGITransport(app), base_url=BASE_URL) as other:
        answers = await asyncio.gather(*(refresh(each, token) for each in [client, other] * 10))
        clock.turn(seconds=11)
        reused = await refresh(other, token)
        after = await refresh(client, answers[0].json()["refresh_token"])
    await installs_of(app)[0].close()

    assert [answer.status_code for answer in answers] == [200] * 20
    assert len({answer.json()["refresh_token"] for answer in answers}) == 1
    assert len({jwt.get_unverified_header(answer.json()["access_token"])["kid"] for answer in answers}) == 1
    assert (reused.status_code, after.status_code) == (401, 401)


async def test_a_browser_gets_tokens_by_its_cookie_and_a_page_of_ours(client: AsyncClient, make_user: MakeUser) -> None:
    await make_user(username="ada", password="correct horse battery")
    login = {"username": "ada", "password": "correct horse battery", "cookie": True}
    signed = (await client.post("/auth/login", json=login)).json()

    strange = await client.post("/auth/tokens")
    own = await client.post("/auth/tokens", headers={"X-CSRF-Token": signed["csrf_token"]})

    assert (strange.status_code, strange.json()["code"]) == (403, "csrf_failed")
    assert own.status_code == 200


async def test_within_ten_seconds_the_same_successor_again(
    client: AsyncClient, sign_in: SignIn, give_tokens: GiveTokens, clock: Clock
) -> None:
    token = (await give_tokens(await sign_in()))["refresh_token"]
    following = await exchanged(client, token)

    clock.turn(seconds=10)

    assert await exchanged(client, token) == following


async def test_who_is_late_gets_one_that_still_can_be_exchanged(
    client: AsyncClient, sign_in: SignIn, give_tokens: GiveTokens, clock: Clock
) -> None:
    """A minute later it must not be taken for a stolen one."""
    person = await sign_in()
    first = (await give_tokens(person))["refresh_token"]
    third = await exchanged(client, await exchanged(client, first))

    clock.turn(seconds=9)
    late = await exchanged(client, first)
    clock.turn(seconds=60)

    assert late == third
    assert (await refresh(client, late)).status_code == 200
    assert await is_signed_in(client, person)


async def test_a_spent_token_ends_the_family_and_its_session(
    client: AsyncClient, accounts: Accounts, sign_in: SignIn, give_tokens: GiveTokens, clock: Clock
) -> None:
    """After the 401 the session is gone: what must outlive a refusal is not rolled back with it."""
    told: list[Event] = []

    async def hear(_: Any, event: Event) -> None:
        told.append(event)

    accounts.listeners = (*accounts.listeners, hear)
    person, other = await sign_in(), await sign_in()
    stolen = (await give_tokens(person))["refresh_token"]
    owned = await exchanged(client, stolen)
    clock.turn(seconds=11)

    shown = await refresh(client, stolen)

    assert (shown.status_code, shown.json()["code"]) == (401, "refresh_failed")
    assert (await refresh(client, owned)).status_code == 401
    assert not await is_signed_in(client, person)
    assert await is_signed_in(client, other)
    assert [event for event in told if isinstance(event, RefreshReused)] == [
        RefreshReused(user_id=UUID(person.id), session_id=person.session_id)
    ]


async def test_a_spent_token_is_known_weeks_later_though_it_is_not_stored(
    client: AsyncClient, accounts: Accounts, sign_in: SignIn, give_tokens: GiveTokens, clock: Clock
) -> None:
    """The thief has exchanged it ever since; its owner comes back from a holiday."""
    person = await sign_in()
    owned = token = (await give_tokens(person))["refresh_token"]
    for _ in range(30):
        clock.turn(days=1)
        token = await exchanged(client, token)
    assert await stored(accounts) == 2

    assert (await refresh(client, owned)).status_code == 401
    assert (await refresh(client, token)).status_code == 401
    assert not await is_signed_in(client, person)


async def test_many_show_a_spent_token_at_once(
    client: AsyncClient, sign_in: SignIn, give_tokens: GiveTokens, clock: Clock
) -> None:
    person = await sign_in()
    token = (await give_tokens(person))["refresh_token"]
    following = await exchanged(client, token)
    clock.turn(seconds=11)

    answers = await asyncio.gather(*(refresh(client, each) for each in [token, following] * 10))

    assert {answer.status_code for answer in answers} <= {200, 401}
    assert {answer.status_code for answer in answers[::2]} == {401}
    assert not await is_signed_in(client, person)


async def test_what_was_never_issued_is_refused_alike(
    client: AsyncClient, sign_in: SignIn, give_tokens: GiveTokens, clock: Clock
) -> None:
    person = await sign_in()
    token = (await give_tokens(person))["refresh_token"]
    await exchanged(client, token)
    clock.turn(seconds=11)
    unknown = [new_token("dzr_"), "dzr_", "", "x" * 5000, "dzr_é", token[:-1], token + "A"]

    refusals = [await refresh(client, each) for each in (*unknown, token)]

    assert {answer.status_code for answer in refusals} == {401}
    assert len({answer.json()["detail"] for answer in refusals}) == 1
    assert len({len(answer.content) for answer in refusals}) == 1


@pytest.mark.parametrize("end", ["idle", "absolute"])
async def test_the_family_ends_with_its_session(
    client: AsyncClient, sign_in: SignIn, give_tokens: GiveTokens, clock: Clock, end: str
) -> None:
    token = (await give_tokens(await sign_in()))["refresh_token"]
    if end == "absolute":
        for _ in range(9):
            clock.turn(days=9.9)
            token = await exchanged(client, token)
        clock.turn(days=0.9)
    else:
        clock.turn(days=14)

    assert (await refresh(client, token)).status_code == 401


async def test_an_exchange_is_a_use_of_the_session(
    client: AsyncClient, sign_in: SignIn, give_tokens: GiveTokens, clock: Clock
) -> None:
    """Idle for 14 days it would have ended."""
    person = await sign_in()
    token = (await give_tokens(person))["refresh_token"]
    for _ in range(3):
        clock.turn(days=10)
        token = await exchanged(client, token)

    assert await is_signed_in(client, person)


async def test_an_access_token_does_not_outlive_its_session(
    client: AsyncClient, sign_in: SignIn, give_tokens: GiveTokens, clock: Clock
) -> None:
    token = (await give_tokens(await sign_in()))["refresh_token"]
    for _ in range(9):
        clock.turn(days=9.9)
        token = await exchanged(client, token)
    clock.turn(days=0.9, seconds=-30)

    assert (await refresh(client, token)).json()["expires_in"] == 30


async def test_a_deactivated_owner_is_refused(
    client: AsyncClient, sign_in: SignIn, give_tokens: GiveTokens, make_key: Any
) -> None:
    person = await sign_in()
    token = (await give_tokens(person))["refresh_token"]

    changed = await client.patch(f"/users/{person.id}", json={"is_active": False}, headers=await make_key())

    assert changed.status_code == 200
    assert (await refresh(client, token)).status_code == 401


async def test_a_session_has_so_many_families_and_no_more(
    client: AsyncClient, accounts: Accounts, sign_in: SignIn, give_tokens: GiveTokens, clock: Clock
) -> None:
    """One that had to go is unknown, and not taken for a stolen one."""
    person = await sign_in()
    first = (await give_tokens(person))["refresh_token"]
    following = await exchanged(client, first)
    tokens = []
    for _ in range(MOST_FAMILIES):
        clock.turn(seconds=1)
        tokens.append((await give_tokens(person))["refresh_token"])

    assert await stored(accounts) == MOST_FAMILIES
    assert (await refresh(client, following)).status_code == 401
    assert (await refresh(client, first)).status_code == 401
    assert (await refresh(client, tokens[0])).status_code == 200
    assert await is_signed_in(client, person)


async def test_a_refresh_token_is_refused_after_signing_out(
    client: AsyncClient, sign_in: SignIn, give_tokens: GiveTokens
) -> None:
    """The newest one, and one that was exchanged within the last ten seconds."""
    person = await sign_in()
    spent = (await give_tokens(person))["refresh_token"]
    newest = await exchanged(client, spent)

    assert (await client.post("/auth/logout", headers=person.headers)).status_code == 204
    for token in (newest, spent):
        refused = await refresh(client, token)
        assert (refused.status_code, refused.json()["code"]) == (401, "refresh_failed")


async def test_who_impersonates_gets_no_refresh_token(client: AsyncClient, accounts: Accounts, sign_in: SignIn) -> None:
    person, administrator = await sign_in(), await sign_in()
    async with accounts.writing() as db:
        from denizen.sessions.models import Session

        session = await db.get_one(Session, person.session_id)
        session.impersonator_id = UUID(administrator.id)

    given = (await client.post("/auth/tokens", headers=person.headers)).json()

    assert (given["refresh_token"], given["refresh_expires_in"]) == (None, None)
    claims = jwt.decode(given["access_token"], options={"verify_signature": False})
    assert claims["act"] == {"sub": administrator.id}
    assert claims.keys().isdisjoint({"auth_time", "amr"}), "the person himself proved nothing"
    assert await stored(accounts) == 0


async def test_tokens_are_not_stored(
    client: AsyncClient, accounts: Accounts, sign_in: SignIn, give_tokens: GiveTokens
) -> None:
    first = (await give_tokens(await sign_in()))["refresh_token"]
    following = await exchanged(client, first)

    async with accounts.database.read.session() as db:
        rows = (await db.scalars(select(RefreshToken))).all()

    kept = b"".join(row.token_digest + row.family_digest for row in rows) + repr(rows).encode()
    for token in (first, following):
        assert token[4:].encode() not in kept
        assert token[4:20].encode() not in kept
