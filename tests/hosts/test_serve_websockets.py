"""A host's WebSockets ask who calls as its other routes do; what ends with a request is refused at the start."""

from __future__ import annotations

import json
from typing import Annotated, Any

import pytest
from fastapi import FastAPI, WebSocket
from httpx import AsyncClient

from denizen import (
    Caller,
    CurrentUser,
    Db,
    FreshSession,
    Here,
    Installed,
    NotFound,
    OptionalUser,
    ReadDb,
    User,
    install,
    requires,
)
from denizen.core.hashers import NullHasher
from denizen.testing import faked
from tests.conftest import BASE_URL
from tests.hosts.conftest import MakeSettings, connect, texts

ADA = {"username": "ada", "email": "ada@example.org", "password": "correct horse battery"}


@pytest.fixture
def host() -> FastAPI:
    """An application with WebSockets."""
    app = FastAPI()

    @app.websocket("/hello")
    async def greet(socket: WebSocket, user: CurrentUser, _: FreshSession) -> None:
        await socket.accept()
        await socket.send_text(f"Hello {user.username}")
        await socket.close()

    @app.websocket("/rooms")
    async def enter(socket: WebSocket, user: OptionalUser) -> None:
        await socket.accept()
        await socket.send_text("stranger" if user is None else str(user.username))
        raise NotFound("There is no such room.")

    @app.websocket("/notes")
    async def follow(socket: WebSocket, caller: Annotated[Caller, requires("notes:read")]) -> None:
        raise NotImplementedError

    @app.websocket("/count")
    async def count(socket: WebSocket, accounts: Here) -> None:
        await socket.accept()
        async with accounts.writing() as db:
            ada = await db.get(User, accounts.process)
        await socket.send_json(ada)

    return app


def refusal(told: list[dict[str, Any]]) -> tuple[int, str]:
    """Give the status and the code of what answers instead."""
    start, body = told
    assert (start["type"], body["type"]) == ("websocket.http.response.start", "websocket.http.response.body")
    return start["status"], json.loads(body["body"])["code"]


async def sign_in(client: AsyncClient, **how: Any) -> dict[str, Any]:
    """Sign somebody in who was not there before."""
    await client.post("/accounts/users/", json=ADA)
    sent = {"username": "ada", "password": ADA["password"], **how}
    found: dict[str, Any] = (await client.post("/accounts/auth/login", json=sent)).json()
    return found


async def test_a_websocket_knows_its_caller(host: FastAPI, accounts: Installed, client: AsyncClient) -> None:
    token = f"Bearer {(await sign_in(client))['access_token']}"

    assert texts(await connect(host, "/hello", authorization=token)) == ["Hello ada"]
    assert texts(await connect(host, "/count")) == ["null"]
    assert refusal(await connect(host, "/hello")) == (401, "credentials_missing")
    assert refusal(await connect(host, "/rooms", authorization="Bearer dzs_x")) == (401, "credentials_invalid")
    assert refusal(await connect(host, "/notes", authorization=token)) == (403, "scope_missing")
    told = await connect(host, "/rooms")
    assert texts(told) == ["stranger"]
    assert told[-1] == {"type": "websocket.close", "code": 1008, "reason": "not_found"}


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_a_cookie_opens_a_websocket_for_our_own_pages_alone(
    host: FastAPI, accounts: Installed, client: AsyncClient
) -> None:
    """A page of any site can open one, and the browser sends the cookie with it (ASVS 5.0, 4.4.2)."""
    accounts.settings = accounts.settings.model_copy(update={"insecure_cookies": True})
    await sign_in(client, cookie=True)
    cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())

    assert texts(await connect(host, "/rooms", cookie=cookie, origin=BASE_URL)) == ["ada"]
    for origin in ("https://example.com", "null", f"{BASE_URL}.example.com"):
        assert refusal(await connect(host, "/rooms", cookie=cookie, origin=origin)) == (403, "csrf_failed")
    assert refusal(await connect(host, "/rooms", cookie=cookie)) == (403, "csrf_failed")


async def test_a_server_that_cannot_answer_instead_refuses_all_the_same(host: FastAPI) -> None:
    with faked(host) as accounts:
        ada = accounts.make_person(username="ada").headers["Authorization"]
        assert texts(await connect(host, "/rooms", denies=False, authorization=ada)) == ["ada"]
        told = await connect(host, "/hello", denies=False)

    assert told == [{"type": "websocket.close", "code": 1008, "reason": "credentials_missing"}]


async def test_what_ends_with_a_request_is_refused_at_the_start(settings_of: MakeSettings) -> None:
    app = FastAPI()
    accounts = install(app, prefix="/accounts", settings=settings_of("own"), hasher=NullHasher())

    @app.websocket("/chat")
    async def chat(socket: WebSocket, db: Db) -> None: ...

    @app.websocket("/watch")
    async def watch(socket: WebSocket, db: Any = accounts.read_db) -> None: ...

    @app.get("/pets")
    async def list_pets(db: ReadDb) -> None: ...

    with pytest.raises(LookupError, match=r"WEBSOCKET /chat: A WebSocket lives .* Ask for `Here`") as told:
        async with app.router.lifespan_context(app):
            pass
    assert "WEBSOCKET /watch" in str(told.value)
    assert "/pets" not in str(told.value)
    with pytest.raises(LookupError, match="A WebSocket lives for longer"):
        await connect(app, "/chat")
