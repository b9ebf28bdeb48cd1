"""A token of one purpose is refused at every other: each kind of token at each place where one is taken."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from datetime import timedelta
from uuid import UUID

import pytest
from httpx import AsyncClient

from denizen.core.accounts import Accounts
from denizen.core.tokens import TOKEN_LENGTH
from denizen.onetime import service as onetime
from denizen.onetime.errors import LinkInvalid
from denizen.onetime.service import _PURPOSES as PURPOSES
from tests.conftest import MakeKey
from tests.refresh.conftest import GiveTokens, SignIn

Take = Callable[[AsyncClient, Accounts, str], Awaitable[bool]]


async def _authorise(client: AsyncClient, accounts: Accounts, token: str) -> bool:
    """Ours is a route that needs somebody and no right."""
    answer = await client.get("/jobs/", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code in {200, 401, 403}, answer.text
    return answer.status_code != 401


async def _refresh(client: AsyncClient, accounts: Accounts, token: str) -> bool:
    answer = await client.post("/auth/refresh", json={"refresh_token": token})
    assert answer.status_code in {200, 401}, answer.text
    return answer.status_code == 200


def _spend(purpose: str) -> Take:
    async def take(client: AsyncClient, accounts: Accounts, token: str) -> bool:
        try:
            await onetime.peek(accounts, purpose, token, at=accounts.clock())
            async with accounts.writing() as db:
                await onetime.spend(accounts, db, purpose, token, at=accounts.clock())
        except LinkInvalid:
            return False
        return True

    return take


async def _spend_code(client: AsyncClient, accounts: Accounts, token: str) -> bool:
    ticket, _, code = token.partition(" ")
    try:
        await onetime.spend_code(accounts, ticket, code or "000000", at=accounts.clock())
    except LinkInvalid:
        return False
    return True


PLACES: dict[str, Take] = {
    "Authorization": _authorise,
    "POST /auth/refresh": _refresh,
    **{f"spend {purpose}": _spend(purpose) for purpose in PURPOSES},
    "spend a code": _spend_code,
}
"""Where a token is taken."""

OPENS: dict[str, str] = {
    "key": "Authorization",
    "session": "Authorization",
    "refresh": "POST /auth/refresh",
    "access": "nowhere: it is for other services",
    **{purpose: f"spend {purpose}" for purpose in PURPOSES},
    "mailed_code": "spend a code",
}
"""Each kind of token, and the one place that it is for."""


@pytest.fixture
async def tokens(accounts: Accounts, sign_in: SignIn, give_tokens: GiveTokens, make_key: MakeKey) -> dict[str, str]:
    """A fresh token of each kind, all of one person."""
    person = await sign_in()
    given = await give_tokens(person)
    made = {
        "key": (await make_key())["Authorization"].removeprefix("Bearer "),
        "session": person.session,
        "refresh": given["refresh_token"],
        "access": given["access_token"],
    }
    at, user_id = accounts.clock(), UUID(person.id)
    async with accounts.writing() as db:
        for purpose in PURPOSES:
            if purpose == "mailed_code":
                ticket, code = await onetime.issue_code(accounts, db, at=at, user_id=user_id, email="a@example.org")
                made[purpose] = f"{ticket} {code}"
            else:
                made[purpose] = await onetime.issue(
                    accounts, db, purpose, at=at, lifetime=timedelta(hours=1), user_id=user_id
                )
    return made


async def test_each_token_opens_its_own_place_and_no_other(
    client: AsyncClient, accounts: Accounts, tokens: dict[str, str]
) -> None:
    assert tokens.keys() == OPENS.keys()

    for kind, token in tokens.items():
        for place, take in PLACES.items():
            if place == OPENS[kind]:
                continue
            bare = token.partition(" ")[0]
            assert not await take(client, accounts, bare), f"{kind} at {place}"

    for kind, token in tokens.items():  # none was spent by being shown elsewhere
        if OPENS[kind] in PLACES:
            assert await PLACES[OPENS[kind]](client, accounts, token), kind


async def test_the_prefix_of_another_purpose_helps_nobody(
    client: AsyncClient, accounts: Accounts, tokens: dict[str, str]
) -> None:
    """What is digested is the whole token."""
    opaque = {kind: token for kind, token in tokens.items() if len(token) == TOKEN_LENGTH}

    for kind, token in opaque.items():
        for other, prefixed in opaque.items():
            if prefixed[:4] != token[:4] and OPENS[other] in PLACES:
                disguised = prefixed[:4] + token[4:]
                assert not await PLACES[OPENS[other]](client, accounts, disguised), f"{kind} as {other}"


@pytest.mark.parametrize(("kind", "hint"), [("access", "other services"), ("refresh", "POST /auth/refresh")])
async def test_who_sends_the_wrong_one_of_ours_is_told_so(
    client: AsyncClient, tokens: dict[str, str], kind: str, hint: str
) -> None:
    token = tokens[kind]

    refused = await client.get("/users/", headers={"Authorization": f"Bearer {token}"})

    assert (refused.status_code, refused.json()["code"]) == (401, "credentials_invalid")
    assert hint in refused.json()["detail"]
    assert token not in refused.text


def test_every_purpose_is_in_the_table() -> None:
    assert set(PURPOSES) <= OPENS.keys()
    assert all(inspect.iscoroutinefunction(take) for take in PLACES.values())
