"""Several processes on one database, and those who check what they sign."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from httpx import AsyncClient

from denizen.core.accounts import Accounts
from denizen.core.assembly import assemble
from denizen.core.hashers import NullHasher
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


STRANGER = ec.generate_private_key(ec.SECP256R1())
STRANGER_ID = "019a5c1e-7e00-7a11-8b22-3c33d44e55f6"


def strangers_headers() -> dict[str, dict[str, Any]]:
    """Headers of RFC 7515 by which a token says itself which key to check it by."""
    public = jwt.algorithms.ECAlgorithm.to_jwk(STRANGER.public_key(), as_dict=True)
    return {
        "jwk": {"jwk": public | {"kid": STRANGER_ID, "use": "sig", "alg": "ES256"}},
        "jku": {"jku": "https://evil.example/.well-known/jwks.json"},
        "x5u": {"x5u": "https://evil.example/key.pem"},
    }


def signed_by_a_stranger(claims: dict[str, Any], kid: str | None, header: dict[str, Any]) -> str:
    """An access token like ours, but for the signature."""
    named = {} if kid is None else {"kid": kid}
    return jwt.encode(claims, STRANGER, algorithm="ES256", headers={"typ": "at+jwt", **named, **header})


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
