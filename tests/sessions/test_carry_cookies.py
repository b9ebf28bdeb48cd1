"""Sign-ins in a cookie: out of the reach of scripts and of other sites."""

from __future__ import annotations

import asyncio
from http.cookies import SimpleCookie
from typing import Any
from uuid import UUID

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient, Response
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from denizen import erase_user
from denizen.app import install
from denizen.core.accounts import Accounts
from denizen.core.events import Event
from denizen.core.hashers import NullHasher
from denizen.sessions.events import SessionsEnded
from denizen.settings import Settings
from tests.conftest import MakeKey, MakeUser
from tests.sessions.conftest import PASSWORD, login

HTTPS = "https://accounts.example.org"


@pytest.fixture
def overrides() -> dict[str, Any]:
    return {"base_url": HTTPS, "allowed_hosts": "testserver,accounts.example.org"}


def cookie_in(answer: Response) -> Any:
    """Give the one cookie that an answer sets."""
    [morsel] = SimpleCookie(answer.headers["set-cookie"]).values()
    return morsel


class Signed:
    """A browser that has signed in."""

    def __init__(self, answer: Response) -> None:
        assert answer.status_code == 200, answer.text
        morsel = cookie_in(answer)
        self.cookie = {"Cookie": f"{morsel.key}={morsel.value}"}
        self.csrf = {"X-CSRF-Token": answer.json()["csrf_token"]}


@pytest.fixture
async def signed(client: AsyncClient, ada: dict[str, Any]) -> Signed:
    signed = Signed(await login(client, cookie=True))
    client.cookies.clear()  # each test sends what it means to send
    return signed


async def test_cookie_is_for_https_and_not_for_scripts(client: AsyncClient, ada: dict[str, Any]) -> None:
    """HttpOnly, SameSite=Lax, `__Host-` and Secure where people come by https."""
    answer = await login(client, cookie=True)

    assert answer.json().keys() == {"csrf_token", "token_type", "expires_in", "session"}
    assert answer.json()["token_type"] == "cookie"
    assert "dzs_" not in answer.text
    morsel = cookie_in(answer)
    assert morsel.key.startswith("__Host-denizen_session_")
    assert (morsel["secure"], morsel["httponly"], morsel["samesite"]) == (True, True, "lax")
    assert (morsel["path"], morsel["domain"], morsel["max-age"]) == ("/", "", str(90 * 86400))


async def test_cookie_reads_without_more_and_changes_with_its_csrf_token(client: AsyncClient, signed: Signed) -> None:
    read = await client.get("/auth/sessions", headers=signed.cookie)
    assert (read.status_code, len(read.json())) == (200, 1)

    for wrong in (b"", b"x", b"\xe9", b"x" * 10_000):
        sent = [(b"Cookie", signed.cookie["Cookie"].encode()), (b"X-CSRF-Token", wrong)]
        refused = await client.post("/auth/logout", headers=sent)
        assert (refused.status_code, refused.json()["code"]) == (403, "csrf_failed")
    assert (await client.get("/auth/sessions/current", headers=signed.cookie)).status_code == 200

    done = await client.post("/auth/logout", headers=signed.cookie | signed.csrf)
    assert done.status_code == 204
    assert cookie_in(done)["max-age"] == "0"
    assert (await client.get("/auth/sessions/current", headers=signed.cookie)).status_code == 401


OTHER_SITES = (
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://accounts.example.org"},
    {"Origin": "https://accounts.example.org.evil.example"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
)
OWN_SITE = (
    {"Origin": HTTPS, "Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none"},
)


async def test_pages_of_other_sites_change_nothing_even_with_the_token(client: AsyncClient, signed: Signed) -> None:
    for headers in OTHER_SITES:
        refused = await client.delete("/auth/sessions", headers=signed.cookie | signed.csrf | headers)
        assert (refused.status_code, refused.json()["code"]) == (403, "csrf_failed"), headers
    for headers in OWN_SITE:
        done = await client.delete("/auth/sessions", headers=signed.cookie | signed.csrf | headers)
        assert done.status_code == 204, headers


async def test_pages_of_other_sites_sign_nobody_in(client: AsyncClient, ada: dict[str, Any]) -> None:
    """Whoever is signed in to a stranger's account without knowing it tells that stranger what he does."""
    for headers in OTHER_SITES:
        refused = await login(client, cookie=True, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (403, "csrf_failed"), headers
    as_form = await client.post(
        "/auth/login",
        data={"username": "ada", "password": PASSWORD, "cookie": "true"},
        headers={"Origin": "https://evil.example"},
    )
    assert (as_form.status_code, "set-cookie" in as_form.headers) == (403, False)


async def test_header_wins_over_the_cookie(client: AsyncClient, signed: Signed, make_key: MakeKey) -> None:
    key = await make_key()

    assert (await client.get("/keys/current", headers=signed.cookie | key)).status_code == 200
    wrong = await client.get("/auth/sessions", headers=signed.cookie | {"Authorization": "Bearer nothing"})
    assert wrong.status_code == 401


async def test_cookie_changes_when_its_owner_proves_anew_who_he_is(client: AsyncClient, signed: Signed) -> None:
    """The session id changes at step-up."""
    answer = await client.post("/auth/reauthenticate", json={"password": PASSWORD}, headers=signed.cookie | signed.csrf)

    renewed = Signed(answer)
    client.cookies.clear()
    assert (await client.get("/auth/sessions", headers=signed.cookie)).status_code == 401
    refused = await client.post("/auth/logout", headers=renewed.cookie | signed.csrf)
    assert refused.status_code == 403
    assert (await client.post("/auth/logout", headers=renewed.cookie | renewed.csrf)).status_code == 204


async def test_new_sign_in_ends_the_one_that_the_browser_had(client: AsyncClient, signed: Signed) -> None:
    """The session id changes at sign-in, and a fixed one is of no use."""
    again = Signed(await login(client, cookie=True, headers=signed.cookie))
    client.cookies.clear()

    assert (await client.get("/auth/sessions", headers=signed.cookie)).status_code == 401
    assert len((await client.get("/auth/sessions", headers=again.cookie)).json()) == 1
    planted = {"Cookie": signed.cookie["Cookie"].partition("=")[0] + "=dzs_" + "a" * 43}
    chosen = Signed(await login(client, cookie=True, headers=planted))
    assert chosen.cookie != planted


async def test_get_changes_nothing(client: AsyncClient, signed: Signed) -> None:
    """A GET changes nothing: every act on sign-ins is a POST or a DELETE."""
    for path in ("/auth/login", "/auth/logout", "/auth/reauthenticate"):
        assert (await client.get(path, headers=signed.cookie)).status_code == 405
    assert (await client.get("/auth/sessions", headers=signed.cookie)).status_code == 200


class TestOrigins:
    @pytest.fixture
    def overrides(self) -> dict[str, Any]:
        return {"base_url": HTTPS, "allowed_hosts": "testserver", "cors_origins": "https://app.example.org"}

    async def test_pages_elsewhere_never_send_cookies(self, client: AsyncClient, signed: Signed) -> None:
        """Pages of configured origins call the API with a token of their own: credentials stay off."""
        asked = await client.options(
            "/auth/sessions",
            headers={
                "Origin": "https://app.example.org",
                "Access-Control-Request-Method": "DELETE",
                "Access-Control-Request-Headers": "X-CSRF-Token",
            },
        )
        assert asked.status_code == 400
        read = await client.get("/auth/sessions", headers=signed.cookie | {"Origin": "https://app.example.org"})
        assert "access-control-allow-credentials" not in read.headers


@pytest.mark.parametrize("database_kind", ["postgresql"])
async def test_a_sign_in_in_place_of_somebody_elses_never_waits_crosswise_with_his_erasure(
    client: AsyncClient, accounts: Accounts, signed: Signed, ada: dict[str, Any], make_user: MakeUser
) -> None:
    await make_user(username="eve", email="eve@example.org")
    waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    erasing: list[asyncio.Task[Any]] = []

    async def erase() -> None:
        async with accounts.writing() as db:
            await erase_user(db, UUID(ada["id"]), versions=None)

    async def meanwhile(db: AsyncSession, event: Event) -> None:
        if isinstance(event, SessionsEnded) and not erasing:  # Ada's is deleted, and nothing written down yet
            erasing.append(asyncio.create_task(erase()))
            async with accounts.database.read.session() as read:
                while not await read.scalar(text(waits)):  # noqa: ASYNC110  (the database has no event for it)
                    await asyncio.sleep(0.005)

    accounts.listeners = (meanwhile, *accounts.listeners)
    anew = await login(client, "eve", cookie=True, headers=signed.cookie)
    await asyncio.gather(*erasing)

    assert anew.status_code == 200, anew.text
    assert (await login(client)).status_code == 401
    assert len(erasing) == 1


class TestLoopback:
    @pytest.fixture
    def overrides(self) -> dict[str, Any]:
        return {"base_url": "http://127.0.0.1:8000", "allowed_hosts": "testserver"}

    async def test_plain_http_on_ones_own_machine(self, client: AsyncClient, ada: dict[str, Any]) -> None:
        morsel = cookie_in(await login(client, cookie=True))

        assert morsel.key.startswith("denizen_session_")
        assert (morsel["secure"], morsel["httponly"], morsel["samesite"]) == ("", True, "lax")


class TestPlainHttp:
    @pytest.fixture(params=[False, True])
    def overrides(self, request: pytest.FixtureRequest) -> dict[str, Any]:
        return {"base_url": "http://accounts.example.org", "insecure_cookies": request.param}

    async def test_plain_http_elsewhere_only_if_asked_for(
        self, client: AsyncClient, settings: Settings, ada: dict[str, Any]
    ) -> None:
        for password in (PASSWORD, "wrong"):
            answer = await login(client, password=password, cookie=True)
            if settings.insecure_cookies:
                assert answer.status_code == (200 if password == PASSWORD else 401)
            else:
                assert (answer.status_code, answer.json()["code"]) == (403, "cookie_refused")
        assert (await login(client)).status_code == 200


async def test_installs_on_one_host_have_cookies_of_their_own(settings: Settings) -> None:
    """The name ends in an install name."""
    names, body = set[str](), {"username": "ada", "email": "ada@example.org", "password": PASSWORD}
    for prefix in ("/team", "/guests"):
        app = FastAPI()
        accounts = install(app, prefix=prefix, settings=settings, hasher=NullHasher())
        async with AsyncClient(transport=ASGITransport(app), base_url="http://testserver") as client:
            await client.post(f"{prefix}/users/", json=body)
            asked = {"username": "ada", "password": PASSWORD, "cookie": True}
            names.add(cookie_in(await client.post(f"{prefix}/auth/login", json=asked)).key)
        await accounts.close()

    assert len(names) == 2
