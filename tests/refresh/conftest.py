"""People who have signed in, and their tokens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from httpx import AsyncClient

from denizen.core.accounts import Accounts
from denizen.sessions.service import open_session
from tests.conftest import MakeUser


@dataclass(frozen=True)
class Person:
    """Somebody who has signed in.

    Attributes:
        session: the token of the session.
    """

    id: str
    session_id: UUID
    session: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.session}"}


SignIn = Callable[..., Awaitable[Person]]
GiveTokens = Callable[[Person], Awaitable[dict[str, Any]]]


@pytest.fixture
def sign_in(accounts: Accounts, make_user: MakeUser) -> SignIn:
    """Sign somebody in: a new person, or the one of `user_id`."""

    async def sign(user_id: str | None = None) -> Person:
        user_id = user_id or (await make_user())["id"]
        async with accounts.writing() as db:
            session, token = await open_session(accounts, db, UUID(user_id), method="password", at=accounts.clock())
        return Person(user_id, session.id, token)

    return sign


@pytest.fixture
def give_tokens(client: AsyncClient) -> GiveTokens:
    """Get somebody his first tokens."""

    async def give(person: Person) -> dict[str, Any]:
        answer = await client.post("/auth/tokens", headers=person.headers)
        assert answer.status_code == 200, answer.text
        given: dict[str, Any] = answer.json()
        return given

    return give
