"""Clients of the application of a test, without a network: `AsyncClient`, and `Client` in a thread of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from denizen.client import AsyncClient, Client
from tests.conftest import BASE_URL, MakeKey

Reply = tuple[int, dict[str, str], bytes]


class Bridge(httpx.BaseTransport):
    """Lets a client that waits reach an application whose event loop is another thread's."""

    def __init__(self, app: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._inner = httpx.ASGITransport(app, raise_app_exceptions=False)
        self._loop = loop

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return asyncio.run_coroutine_threadsafe(self._reach(request, request.read()), self._loop).result(30)

    async def _reach(self, request: httpx.Request, content: bytes) -> httpx.Response:
        sent = httpx.Request(request.method, request.url, headers=request.headers, content=content)
        answer = await self._inner.handle_async_request(sent)
        return httpx.Response(answer.status_code, headers=answer.headers, content=await answer.aread())


class Flaky:
    """A server that gives these replies, one after the other, and passes on to `app` once none is left.

    An exception stands for a connection that is lost after the application did its work.
    """

    def __init__(self, app: Any, *replies: Reply | Exception) -> None:
        self.app = app
        self.replies = list(replies)
        self.seen: list[dict[str, str]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.seen.append({**headers, "method": scope["method"], "path": scope["path"]})
        if not self.replies:
            await self.app(scope, receive, send)
            return
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):

            async def nowhere(_: Any) -> None: ...

            await self.app(scope, receive, nowhere)
            raise reply
        status, told, body = reply
        encoded = [(name.encode(), value.encode()) for name, value in told.items()]
        await send({"type": "http.response.start", "status": status, "headers": encoded})
        await send({"type": "http.response.body", "body": body})


Pauses = list[float]
Reach = Callable[..., AsyncClient]


@pytest.fixture
def pauses() -> Pauses:
    """The seconds that clients would have slept."""
    return []


@pytest.fixture
def reach(app: FastAPI, pauses: Pauses) -> Reach:
    """Make a client of the application, or of what stands before it; it does not sleep."""

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    def make(token: str | None = None, *, server: Any = None, **options: Any) -> AsyncClient:
        return AsyncClient(BASE_URL, token, transport=httpx.ASGITransport(server or app), sleep=sleep, **options)

    return make


@pytest.fixture
async def key(make_key: MakeKey) -> str:
    """A key that may do everything."""
    return (await make_key())["Authorization"].removeprefix("Bearer ")


@pytest.fixture
async def denizen(reach: Reach, key: str) -> AsyncIterator[AsyncClient]:
    """A client that may do everything."""
    async with reach(key) as client:
        yield client


@pytest.fixture
async def waiting(app: FastAPI, key: str) -> AsyncIterator[Client]:
    """The same, for code in another thread that waits."""
    with Client(BASE_URL, key, transport=Bridge(app, asyncio.get_running_loop())) as client:
        yield client
