"""`GET /.well-known/jwks.json`: public, cacheable, one statement."""

from __future__ import annotations

from httpx import AsyncClient

from denizen.core.accounts import Accounts
from tests.conftest import Clock
from tests.signing.conftest import sign

PATH = "/.well-known/jwks.json"


async def test_the_set_has_all_that_a_service_needs(client: AsyncClient, accounts: Accounts) -> None:
    await sign(accounts)

    answer = await client.get(PATH)

    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "public, max-age=300"
    (key,) = answer.json()["keys"]
    assert key.keys() == {"kty", "crv", "x", "y", "kid", "use", "alg"}
    assert (key["kty"], key["crv"], key["use"], key["alg"]) == ("EC", "P-256", "sig", "ES256")


async def test_an_empty_set_is_not_kept(client: AsyncClient) -> None:
    """The first key signs as soon as it is made."""
    answer = await client.get(PATH)

    assert (answer.status_code, answer.json()) == (200, {"keys": []})
    assert answer.headers["cache-control"] == "no-cache"


async def test_who_has_the_set_is_told_so(client: AsyncClient, accounts: Accounts) -> None:
    await sign(accounts)
    tag = (await client.get(PATH)).headers["etag"]

    same = await client.get(PATH, headers={"If-None-Match": f'"other", W/{tag}'})
    other = await client.get(PATH, headers={"If-None-Match": '"other"'})

    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
    assert same.headers["cache-control"] == "public, max-age=300"
    assert other.status_code == 200


async def test_it_costs_one_statement(client: AsyncClient, accounts: Accounts) -> None:
    await sign(accounts)
    ran: list[str] = []
    accounts.database.observers.append(ran.append)

    await client.get(PATH)

    assert len(ran) == 1


async def test_signing_costs_one_statement_in_ten_seconds(accounts: Accounts, clock: Clock) -> None:
    await sign(accounts)
    ran: list[str] = []
    accounts.database.observers.append(ran.append)

    for _ in range(10):
        await sign(accounts)
    assert ran == []
    clock.turn(seconds=10)
    for _ in range(10):
        await sign(accounts)
    assert len(ran) == 1
