"""A Denizen elsewhere that can be counted, cut off and held up; and the application that asks it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from fastapi import FastAPI

from denizen import Accounts, Settings, remote
from denizen.app import create_app
from denizen.core.deps import installs_of
from denizen.core.hashers import NullHasher
from denizen.elsewhere.home import RemoteHome
from denizen.refresh.service import issue_tokens
from denizen.testing import Clock, SignedIn, make_person
from tests.conftest import BASE_URL
from tests.homes.conftest import SERVICE, issue
from tests.homes.sample import make_app


class Line:
    """What stands between the two.

    Attributes:
        asked: the paths that were asked for.
        is_cut: nobody is reached.
        held: answers wait for it.
        answered: an answer was made, and is on its way.
    """

    def __init__(self, app: FastAPI) -> None:
        self.asked: list[str] = []
        self.is_cut = False
        self.held: asyncio.Event | None = None
        self.answered = asyncio.Event()
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked.append(scope["path"])
        if self.is_cut:
            raise httpx.ConnectError("cut")

        async def answer(message: Any) -> None:
            self.answered.set()
            if self.held is not None:
                await self.held.wait()
            await send(message)

        await self._app(scope, receive, answer)


@dataclass
class Elsewhere:
    """Both, and what is between."""

    accounts: Accounts
    line: Line
    clock: Clock
    key: str
    homes: list[RemoteHome] = field(default_factory=list)

    def reach(self, *, key: str | None = "", url: str = BASE_URL, **options: Any) -> httpx.AsyncClient:
        """A client of the sample application, which asks over the line, with the service's key or another."""
        app = make_app()
        transport = httpx.ASGITransport(self.line)
        given = self.key if key == "" else key
        options = {"transport": transport, "insecure": True, "clock": self.clock, **options}
        self.homes.append(remote(url, given, **options).attach(app))
        return httpx.AsyncClient(transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://host")

    async def make_person(self, *permissions: str) -> tuple[SignedIn, str]:
        """Somebody who has signed in, with an access token."""
        who = await make_person(self.accounts, *permissions)
        caller = await self.accounts.recognise(who.headers["Authorization"], self.clock())
        assert caller is not None
        return who, (await issue_tokens(self.accounts, caller, at=self.clock())).access_token


@asynccontextmanager
async def elsewhere(settings: Settings, clock: Clock) -> AsyncIterator[Elsewhere]:
    """Run a Denizen that nobody has asked yet."""
    server = create_app(settings, hasher=NullHasher(), clock=clock)
    (accounts,) = installs_of(server)
    made = Elsewhere(accounts, Line(server), clock, await issue(accounts, *SERVICE))
    yield made
    for home in made.homes:
        await home.close()
    await accounts.close()


def bearer(token: str) -> dict[str, str]:
    """The header that carries a token."""
    return {"Authorization": f"Bearer {token}"}
