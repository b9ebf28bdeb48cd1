"""`CurrentUser` and its like ask whoever knows the callers: an install, or anything else that is a `Home`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient

from denizen import Accounts, Caller, CurrentCaller, CurrentUser, Db, FreshSession, OptionalUser, UserRead, requires
from denizen.core.auth import CredentialsInvalid
from denizen.core.home import Home, add_home
from denizen.core.problems import add_handlers
from denizen.hosts import check_routes
from tests.hosts.conftest import issue, reach

ADA = {"username": "ada", "email": "ada@example.org", "password": "correct horse battery"}
AT = datetime(2027, 1, 1, tzinfo=UTC)
WHO = UUID("019a5c1e-7f00-7a11-8b22-3c33d44e55f6")


class Elsewhere:
    """Knows one person, and has no database."""

    prefix = ""
    reauthentication_timeout = 600.0

    def __init__(self, *, gone: bool = False) -> None:
        self.gone = gone

    @property
    def clock(self) -> Callable[[], datetime]:
        """Stands still."""
        return lambda: AT

    async def recognise(self, authorization: str | None, at: datetime) -> Caller | None:
        """Know one token."""
        if authorization is None:
            return None
        if authorization != "Bearer of-ada":
            raise CredentialsInvalid("These credentials are unknown, expired or revoked.")
        return Caller("session", WHO, frozenset({"notes:write"}), user_id=WHO, authenticated_at=at)

    async def find_user(self, caller: Caller) -> Mapping[str, Any] | None:
        """Give what `GET /users/me` of another server would have answered."""
        if self.gone:
            return None
        times = dict.fromkeys(("created_at", "updated_at"), "2026-11-22T09:30:00.123456Z")
        nothing = dict.fromkeys(("external_id", "email_verified_at", "suspended_at", "suspended_until"))
        who = {"id": str(caller.user_id), "username": "ada", "email": "ada@example.org", "full_name": None}
        return {**who, **times, **nothing, "is_active": True, "profile": {}, "version": 1}


def add_routes(app: FastAPI) -> None:
    """Routes over each dependency that any home will do for."""

    @app.get("/me")
    async def show(user: CurrentUser) -> UserRead:
        return user

    @app.get("/greeting")
    async def greet(user: OptionalUser) -> str:
        return f"Hello {user.username}" if user else "Hello"

    @app.get("/notes")
    async def write(caller: Annotated[Caller, requires("notes:write")], fresh: FreshSession) -> bool:
        return caller == fresh

    @app.get("/kind")
    async def tell(caller: CurrentCaller) -> str:
        return caller.kind


async def test_the_account_of_whoever_calls_is_that_of_users_me(
    host: FastAPI, client: AsyncClient, accounts: Accounts
) -> None:
    add_routes(host)
    await client.post("/accounts/users/", json=ADA)
    signed_in = await client.post("/accounts/auth/login", data={k: ADA[k] for k in ("username", "password")})
    as_ada = {"Authorization": f"Bearer {signed_in.json()['access_token']}"}

    mine = await client.get("/me", headers=as_ada)
    ours = await client.get("/accounts/users/me", headers=as_ada)
    nobody = await client.get("/me")
    key = await client.get("/me", headers=await issue(accounts))

    assert mine.status_code == 200, mine.text
    assert mine.json() == ours.json()
    assert (nobody.status_code, nobody.json()["code"]) == (401, "credentials_missing")
    assert (key.status_code, key.json()["code"]) == (403, "session_needed")
    greeted = [await client.get("/greeting", headers=each) for each in (as_ada, {}, await issue(accounts))]
    assert [answer.json() for answer in greeted] == ["Hello ada", "Hello", "Hello"]
    assert (await client.get("/greeting", headers={"Authorization": "Bearer dzs_x"})).status_code == 401


async def test_a_home_without_a_database_serves_the_same_routes(host: FastAPI) -> None:
    home: Home = Elsewhere()
    add_home(host, home)
    add_handlers(host, whole=False)
    add_routes(host)
    as_ada = {"Authorization": "Bearer of-ada"}

    async with reach(host) as client:
        mine = await client.get("/me", headers=as_ada)
        told = [await client.get(path, headers=as_ada) for path in ("/greeting", "/notes", "/kind")]
        refused = [await client.get(path) for path in ("/me", "/notes", "/kind")]
        wrong = await client.get("/greeting", headers={"Authorization": "Bearer of-eve"})

    assert mine.json()["email"] == "ada@example.org"
    assert [answer.json() for answer in told] == ["Hello ada", True, "session"]
    assert [answer.status_code for answer in (*refused, wrong)] == [401] * 4


async def test_an_account_that_went_meanwhile_is_nobodys(host: FastAPI) -> None:
    add_home(host, Elsewhere(gone=True))
    add_handlers(host, whole=False)
    add_routes(host)

    async with reach(host) as client:
        answer = await client.get("/me", headers={"Authorization": "Bearer of-ada"})

    assert (answer.status_code, answer.json()["code"]) == (401, "credentials_invalid")


async def test_our_tables_want_an_install_and_the_error_says_so(host: FastAPI) -> None:
    add_home(host, Elsewhere())

    @host.get("/rows")
    async def read(db: Db) -> None:
        await db.flush()

    async with AsyncClient(transport=ASGITransport(host), base_url="http://host") as client:
        with pytest.raises(LookupError, match=r"`Db`, `ReadDb`, `Here` .* want `denizen.install\(app\)`"):
            await client.get("/rows")
    with pytest.raises(LookupError, match=r"GET /rows: The accounts of this application are not in a database"):
        check_routes(host)
