"""Services ask what a token is good for (RFC 7662), and hear nothing of one that opens nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import jwt
import pytest
from httpx import AsyncClient
from sqlalchemy import select

from denizen.core.accounts import Accounts
from denizen.core.auth import Scope
from denizen.core.tokens import new_token
from denizen.roles.models import Role, UserRole
from denizen.sessions.service import open_session
from denizen.sessions.states import end_sessions
from tests.conftest import BASE_URL, Clock, MakeKey, MakeUser
from tests.refresh.conftest import GiveTokens, Person, SignIn
from tests.signing.conftest import STRANGER_ID, kid_of, signed_by_a_stranger, strangers_headers

Ask = Callable[[str], Awaitable[dict[str, Any]]]


@pytest.fixture
async def ask(client: AsyncClient, make_key: MakeKey) -> Ask:
    """Ask as a service does."""
    headers = await make_key(Scope.TOKENS_INTROSPECT)

    async def introspect(token: str) -> dict[str, Any]:
        answer = await client.post("/auth/introspect", data={"token": token}, headers=headers)
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told

    return introspect


def told(claims: dict[str, Any]) -> tuple[int | None, list[str] | None]:
    """When somebody proved who he is, and how."""
    return claims.get("auth_time"), claims.get("amr")


async def give_role(accounts: Accounts, person: Person, *permissions: str) -> None:
    at = accounts.clock()
    async with accounts.writing() as db:
        role = Role(name="clerk", description="", permissions=list(permissions), created_at=at, updated_at=at)
        db.add(role)
        await db.flush()
        db.add(UserRole(user_id=UUID(person.id), role_id=role.id, granted_at=at))


async def test_a_session_is_described(accounts: Accounts, sign_in: SignIn, ask: Ask, clock: Clock) -> None:
    person = await sign_in()
    await give_role(accounts, person, "users:read", "shop:sell")

    assert await ask(person.session) == {
        "active": True,
        "kind": "session",
        "token_type": "Bearer",
        "iss": BASE_URL,
        "scope": "shop:sell users:read",
        "client_id": BASE_URL,
        "exp": int(clock().timestamp()) + 90 * 86400,
        "sub": person.id,
        "sid": str(person.session_id),
        "auth_time": int(clock().timestamp()),
        "amr": ["pwd"],
    }


async def test_a_key_is_described(make_key: MakeKey, client: AsyncClient, ask: Ask) -> None:
    headers = await make_key(Scope.USERS_READ, Scope.USERS_WRITE)
    key = (await client.get("/keys/current", headers=headers)).json()

    assert await ask(headers["Authorization"].removeprefix("Bearer ")) == {
        "active": True,
        "kind": "key",
        "token_type": "Bearer",
        "iss": BASE_URL,
        "scope": "users:read users:write",
        "client_id": key["id"],
    }


async def test_an_access_token_is_described_while_its_session_goes_on(
    accounts: Accounts, sign_in: SignIn, give_tokens: GiveTokens, ask: Ask, clock: Clock
) -> None:
    """Signed out, it is not active at once, though services that check it by themselves take it for a minute more."""
    person = await sign_in()
    await give_role(accounts, person, "users:read")
    access = (await give_tokens(person))["access_token"]

    told = await ask(access)
    async with accounts.writing() as db:
        await end_sessions(db, UUID(person.id), reason="signed out")

    assert {name: told[name] for name in ("active", "kind", "sub", "sid", "scope", "aud", "exp")} == {
        "active": True,
        "kind": "access_token",
        "sub": person.id,
        "sid": str(person.session_id),
        "scope": "users:read",
        "aud": BASE_URL,
        "exp": int(clock().timestamp()) + 60,
    }
    assert await ask(access) == {"active": False}


async def test_when_and_how_somebody_proved_who_he_is_is_told(
    client: AsyncClient, make_user: MakeUser, ask: Ask, clock: Clock
) -> None:
    """In the token that services check by themselves, and to those that ask: after a new proof the new time."""
    await make_user(username="ada")
    first = int(clock().timestamp())
    login = {"username": "ada", "password": "correct horse battery"}
    session = (await client.post("/auth/login", json=login)).json()["access_token"]
    clock.turn(minutes=20)
    headers = {"Authorization": f"Bearer {session}"}

    given = (await client.post("/auth/tokens", headers=headers)).json()
    assert told(jwt.decode(given["access_token"], options={"verify_signature": False})) == (first, ["pwd"])
    assert told(await ask(given["access_token"])) == told(await ask(session)) == (first, ["pwd"])

    proved = await client.post("/auth/reauthenticate", json={"password": login["password"]}, headers=headers)
    clock.turn(minutes=1)
    given = (await client.post("/auth/refresh", json={"refresh_token": given["refresh_token"]})).json()
    assert told(await ask(given["access_token"])) == (first + 20 * 60, ["pwd"])
    assert told(await ask(proved.json()["access_token"])) == (first + 20 * 60, ["pwd"])


@pytest.mark.parametrize(
    ("method", "amr"),
    [("code", ["otp"]), ("magic_link", ["otp"]), ("invitation", ["otp"]), ("first_admin", ["otp"]), ("badge", None)],
)
async def test_how_somebody_signed_in_is_told_as_rfc_8176_has_it(
    client: AsyncClient, accounts: Accounts, make_user: MakeUser, ask: Ask, *, method: str, amr: list[str] | None
) -> None:
    """Of a way that is a host's own nothing is said."""
    user, at = await make_user(), accounts.clock()
    async with accounts.writing() as db:
        _, session = await open_session(accounts, db, UUID(user["id"]), method=method, at=at)
    given = (await client.post("/auth/tokens", headers={"Authorization": f"Bearer {session}"})).json()

    for token in (session, given["access_token"]):
        assert told(await ask(token)) == (int(at.timestamp()), amr)


async def test_what_was_taken_away_is_not_told(
    accounts: Accounts, sign_in: SignIn, give_tokens: GiveTokens, ask: Ask
) -> None:
    person = await sign_in()
    await give_role(accounts, person, "users:read", "users:write")
    access = (await give_tokens(person))["access_token"]
    async with accounts.writing() as db:
        role = (await db.scalars(select(Role).where(Role.name == "clerk"))).one()
        role.permissions = ["users:read"]

    assert (await ask(access))["scope"] == "users:read"


async def test_what_opens_nothing_is_not_active_and_all_answers_are_alike(
    sign_in: SignIn, give_tokens: GiveTokens, ask: Ask, clock: Clock
) -> None:
    given = await give_tokens(await sign_in())
    clock.turn(seconds=60)
    others = [
        given["access_token"],  # over
        given["refresh_token"],  # opens a place of its own alone
        *(new_token(prefix) for prefix in ("dzs_", "dzk_", "dzr_", "dzv_", "dzp_", "dzm_")),
        "",
        " ",
        "nonsense",
        "eyJhbGciOiJub25lIn0.e30.",
        "x" * 100_000,
        "\N{SNOWMAN}",
    ]

    for token in others:
        assert await ask(token) == {"active": False}, token


async def test_a_strangers_key_in_the_token_is_not_taken(
    sign_in: SignIn, give_tokens: GiveTokens, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = (await give_tokens(await sign_in()))["access_token"]
    claims = jwt.decode(ours, options={"verify_signature": False})
    asked: list[object] = []
    monkeypatch.setattr("urllib.request.urlopen", lambda *given, **_: asked.append(given))

    for header in strangers_headers().values():
        for kid in (kid_of(ours), STRANGER_ID):
            assert await ask(signed_by_a_stranger(claims, kid, header)) == {"active": False}, (header, kid)
    assert asked == []
    assert (await ask(ours))["active"] is True


async def test_json_is_taken_as_well(client: AsyncClient, sign_in: SignIn, make_key: MakeKey) -> None:
    person = await sign_in()
    body = {"token": person.session, "token_type_hint": "access_token"}
    headers = await make_key(Scope.TOKENS_INTROSPECT)

    answer = await client.post("/auth/introspect", json=body, headers=headers)
    half = await client.post(
        "/auth/introspect",
        content=b'{"token": "dzs_\\ud800"}',
        headers={**headers, "Content-Type": "application/json"},
    )

    assert answer.json()["active"] is True
    assert half.json() == {"active": False}


async def test_asking_needs_the_scope(client: AsyncClient, sign_in: SignIn, make_key: MakeKey) -> None:
    person = await sign_in()
    body = {"token": person.session}

    assert (await client.post("/auth/introspect", json=body)).status_code == 401
    assert (await client.post("/auth/introspect", json=body, headers=person.headers)).status_code == 403
    reader = await make_key(Scope.USERS_READ)
    assert (await client.post("/auth/introspect", json=body, headers=reader)).json()["code"] == "scope_missing"
