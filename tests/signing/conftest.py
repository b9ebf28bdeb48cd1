"""Several processes on one database, and those who check what they sign."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import jwt
import pytest
from httpx import AsyncClient

from denizen.core.accounts import Accounts
from denizen.core.assembly import assemble
from denizen.core.hashing import NullHasher
from denizen.core.ids import new_id
from denizen.features import FEATURES
from denizen.settings import Settings
from denizen.signing.service import current_key, sign_access_token
from tests.conftest import BASE_URL, Clock

Another = Callable[..., Accounts]
Sign = Callable[..., Awaitable[str]]


@pytest.fixture
async def another(settings: Settings, clock: Clock) -> AsyncIterator[Another]:
    """Make an install of its own on the database of the test, as another process would."""
    made: list[Accounts] = []

    def make(**changed: Any) -> Accounts:
        other = assemble(settings.model_copy(update=changed), FEATURES, hasher=NullHasher(), clock=clock)
        made.append(other)
        return other

    yield make
    for each in made:
        await each.close()


async def sign(accounts: Accounts) -> str:
    """An access token of nobody in particular."""
    at = accounts.clock()
    signer = await current_key(accounts, at=at)
    return sign_access_token(
        accounts, signer, user_id=new_id(), session_id=new_id(), permissions=["users:read"], at=at
    ).token


def kid_of(token: str) -> str:
    """The key that a token names."""
    kid: str = jwt.get_unverified_header(token)["kid"]
    return kid


@dataclass
class Service:
    """Another service: it keeps the set of public keys for as long as it may, and never looks for a key it lacks."""

    client: AsyncClient
    clock: Clock
    keys: dict[str, Any] = field(default_factory=dict)
    until: datetime | None = None
    fetched: int = 0

    async def check(self, token: str) -> dict[str, Any]:
        """Give the claims of a token that is valid; raise for any other."""
        if self.until is None or self.clock() >= self.until:
            await self._fetch()
        claims: dict[str, Any] = jwt.decode(
            token,
            self.keys[kid_of(token)],
            algorithms=["ES256"],
            issuer=BASE_URL,
            audience=BASE_URL,
            options={"verify_exp": False, "verify_iat": False},
        )
        if not claims["iat"] <= self.clock().timestamp() < claims["exp"]:
            raise jwt.ExpiredSignatureError
        return claims

    async def _fetch(self) -> None:
        answer = await self.client.get("/.well-known/jwks.json")
        public, _, age = answer.headers["cache-control"].partition(", max-age=")
        assert public == "public"
        self.keys = {each["kid"]: jwt.PyJWK(each).key for each in json.loads(answer.content)["keys"]}
        self.until = self.clock() + timedelta(seconds=int(age))
        self.fetched += 1
