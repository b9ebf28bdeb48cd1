"""What an access token says, and that nothing else passes for one."""

from __future__ import annotations

import hmac
import json
from base64 import urlsafe_b64encode
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from httpx import AsyncClient

from denizen.core.accounts import Accounts
from denizen.core.ids import new_id
from denizen.signing.service import Signer, current_key, read_access_token, rotate_keys, sign_access_token
from tests.conftest import BASE_URL, Clock
from tests.signing.conftest import STRANGER_ID, Another, sign, signed_by_a_stranger, strangers_headers


async def test_claims_are_those_of_rfc_9068(accounts: Accounts, clock: Clock) -> None:
    user_id, session_id = new_id(), new_id()
    signer = await current_key(accounts, at=clock())

    made = sign_access_token(
        accounts, signer, user_id=user_id, session_id=session_id, permissions={"b:y", "a:x"}, at=clock()
    )

    assert jwt.get_unverified_header(made.token) == {"alg": "ES256", "typ": "at+jwt", "kid": str(signer.key_id)}
    claims = await read_access_token(accounts, made.token, at=clock())
    assert claims is not None
    jti = claims.pop("jti")
    assert claims == {
        "iss": BASE_URL,
        "sub": str(user_id),
        "aud": BASE_URL,
        "iat": int(clock().timestamp()),
        "exp": int(clock().timestamp()) + 60,
        "sid": str(session_id),
        "client_id": BASE_URL,
        "scope": "a:x b:y",
    }
    assert len(jti) == 36
    assert made.expires_in == 60
    assert made.token not in repr(made)


async def test_it_lives_for_a_minute(accounts: Accounts, clock: Clock) -> None:
    token = await sign(accounts)

    clock.turn(seconds=59)
    assert await read_access_token(accounts, token, at=clock())
    clock.turn(seconds=1)
    assert await read_access_token(accounts, token, at=clock()) is None


async def test_several_audiences_are_all_named(another: Another, clock: Clock) -> None:
    accounts = another(access_token_audiences=("https://a.example", "https://b.example"))

    claims = await read_access_token(accounts, await sign(accounts), at=clock())

    assert claims is not None
    assert claims["aud"] == ["https://a.example", "https://b.example"]


def _code(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()


def _part(content: Any) -> str:
    return _code(json.dumps(content).encode())


async def test_nothing_else_passes(accounts: Accounts, clock: Clock, client: AsyncClient) -> None:
    token = await sign(accounts)
    signer = await current_key(accounts, at=clock())
    header, body, signature = token.split(".")
    claims = await read_access_token(accounts, token, at=clock())
    assert claims is not None
    public = (await client.get("/.well-known/jwks.json")).json()["keys"][0]
    stranger = Signer(signer.key_id, ec.generate_private_key(ec.SECP256R1()))
    own: Any = signer._private
    named = {"kid": str(signer.key_id)}
    confused = f"{_part({'alg': 'HS256', 'typ': 'at+jwt', **named})}.{body}"
    secret = json.dumps(public, separators=(",", ":")).encode()
    deep = _code(b'{"a":' + b"[" * 2500)
    forged = {
        "no signature": f"{header}.{body}.",
        "alg none": f"{_part({'alg': 'none', 'typ': 'at+jwt', **named})}.{body}.",
        "the public key as a secret": f"{confused}.{_code(hmac.digest(secret, confused.encode(), 'sha256'))}",
        "another key": stranger.sign(claims),
        "an unknown key": Signer(new_id(), own).sign(claims),
        "no key": jwt.encode(claims, own, algorithm="ES256", headers={"typ": "at+jwt"}),
        "a key that is no id": jwt.encode(claims, own, algorithm="ES256", headers={"typ": "at+jwt", "kid": "../x"}),
        "another type": jwt.encode(claims, own, algorithm="ES256", headers={"typ": "JWT", **named}),
        "another issuer": signer.sign(claims | {"iss": "https://evil.example"}),
        "another audience": signer.sign(claims | {"aud": "https://other.example"}),
        "no sign-in": signer.sign({name: value for name, value in claims.items() if name != "sid"}),
        "from the future": signer.sign(claims | {"iat": claims["iat"] + 120, "exp": claims["exp"] + 120}),
        "other claims": f"{header}.{_part(claims | {'sub': 'x'})}.{signature}",
        "nonsense": "eyJ.eyJ.x",
        "deep": f"{deep}.{body}.{signature}",
        "long": token + "A" * 5000,
        "not ASCII": token + "é\udcff",
    }

    for name, each in forged.items():
        assert await read_access_token(accounts, each, at=clock()) is None, name
    assert await read_access_token(accounts, signer.sign(claims), at=clock())


async def test_keys_of_strangers_are_not_taken_from_the_token(
    accounts: Accounts, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it has the key itself or an address to fetch it from, which nobody asks."""
    signer = await current_key(accounts, at=clock())
    claims = await read_access_token(accounts, await sign(accounts), at=clock())
    assert claims is not None
    asked: list[object] = []
    monkeypatch.setattr("urllib.request.urlopen", lambda *given, **_: asked.append(given))

    for name, header in strangers_headers().items():
        for kid in (str(signer.key_id), STRANGER_ID, None):
            token = signed_by_a_stranger(claims, kid, header)
            assert await read_access_token(accounts, token, at=clock()) is None, (name, kid)
    assert asked == []


async def test_a_key_of_another_process_is_found(accounts: Accounts, another: Another, clock: Clock) -> None:
    other = another()
    await read_access_token(accounts, await sign(other), at=clock())
    clock.turn(seconds=1)
    await rotate_keys(other, at=clock(), at_once=True)

    assert await read_access_token(accounts, await sign(other), at=clock())


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_an_unknown_key_is_not_looked_for_again_and_again(accounts: Accounts, clock: Clock) -> None:
    await sign(accounts)
    signer = Signer(new_id(), ec.generate_private_key(ec.SECP256R1()))
    ran: list[str] = []
    accounts.database.observers.append(ran.append)

    for _ in range(50):
        assert await read_access_token(accounts, signer.sign({"sub": "x"}), at=clock()) is None

    assert len(ran) <= 1
