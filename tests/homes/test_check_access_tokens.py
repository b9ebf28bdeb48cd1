"""An application whose Denizen is elsewhere believes the access tokens of that one, for it alone, while they last."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from denizen import Settings
from denizen.core.ids import new_id
from denizen.core.tokens import new_token
from denizen.signing import service as signing
from denizen.testing import Clock
from tests.conftest import BASE_URL
from tests.homes.servers import Elsewhere, bearer, elsewhere

JWKS = "/.well-known/jwks.json"


@pytest.fixture
async def there(settings: Settings, clock: Clock) -> AsyncIterator[Elsewhere]:
    async with elsewhere(settings, clock) as made:
        yield made


async def test_it_is_checked_without_asking_about_it(there: Elsewhere) -> None:
    who, token = await there.make_person("notes:write")

    async with there.reach() as client:
        callers = [(await client.get("/caller", headers=bearer(token))).json() for _ in range(3)]
        profile = await client.get("/profile", headers=bearer(token))
        sensitive = await client.delete("/notes", headers=bearer(token))

    assert callers == [{"kind": "session", "user": str(who.id), "scopes": ["notes:write"]}] * 3
    assert profile.json()["id"] == str(who.id)
    assert sensitive.status_code == 200
    assert there.line.asked == [JWKS, f"/users/{who.id}"]


async def test_without_a_key_callers_are_known_and_accounts_are_not(there: Elsewhere) -> None:
    who, token = await there.make_person()

    async with there.reach(key=None) as client:
        caller = await client.get("/caller", headers=bearer(token))
        opaque = await client.get("/caller", headers=who.headers)

    assert caller.json()["user"] == str(who.id)
    assert (opaque.status_code, opaque.json()["code"]) == (401, "credentials_invalid")
    assert there.line.asked == [JWKS]


Forge = Callable[[dict[str, Any], Any, str], str]
"""Makes a token of good claims, the private key that signs, and its id."""


def _signed(*, key: Any = None, alg: str = "ES256", header: dict[str, Any] | None = None, **claims: Any) -> Forge:
    def forge(good: dict[str, Any], private: Any, kid: str) -> str:
        said = {name: value for name, value in {**good, **claims}.items() if value is not None}
        told = {"typ": "at+jwt", "kid": kid, **(header or {})}
        told = {name: value for name, value in told.items() if value is not None}
        return jwt.encode(said, key or private, algorithm=alg, headers=told)

    return forge


def _by_hand(alg: str, sign: Callable[[Any, bytes], bytes]) -> Forge:
    def forge(good: dict[str, Any], private: Any, kid: str) -> str:
        parts = [{"alg": alg, "typ": "at+jwt", "kid": kid}, good]
        said = b".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts)
        return (said + b"." + base64.urlsafe_b64encode(sign(private, said)).rstrip(b"=")).decode()

    return forge


def _hmac_with_the_public_key(private: Any, said: bytes) -> bytes:
    import hmac

    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return hmac.digest(public, said, "sha256")


def _cut(good: dict[str, Any], private: Any, kid: str) -> str:
    return _signed()(good, private, kid)[:-4]


FORGERIES: dict[str, Forge] = {
    "no signature": _by_hand("none", lambda *_: b""),
    "the public key taken for a secret": _by_hand("HS256", _hmac_with_the_public_key),
    "another key under a known id": _signed(key=ec.generate_private_key(ec.SECP256R1())),
    "of another type": _signed(header={"typ": "JWT"}),
    "with an extension that must be understood": _signed(header={"crit": ["b64"], "b64": True}),
    "without a key id": _signed(header={"kid": None}),
    "cut off": _cut,
    "for another service": _signed(aud="https://wiki.example.org"),
    "of another issuer": _signed(iss="https://evil.example.org"),
    "over": _signed(iat=1_600_000_000, exp=1_600_000_060),
    "from the future": _signed(iat=4_000_000_000, exp=4_000_000_060),
    "for a day": _signed(exp=1_769_851_800 + 86_400),
    "until yes": _signed(exp=True),
    "until text": _signed(exp="4000000000"),
    "of nobody": _signed(sub=None),
    "of somebody who is no id": _signed(sub="ada"),
    "of no sign-in": _signed(sid=None),
    "in the place of nobody": _signed(act={}),
}


async def test_whatever_else_says_it_is_one_opens_nothing(there: Elsewhere) -> None:
    who, token = await there.make_person("*")
    good = jwt.decode(token, options={"verify_signature": False})
    signer = await signing.current_key(there.accounts, at=there.clock())

    async with there.reach() as client:
        assert (await client.get("/caller", headers=bearer(token))).status_code == 200
        for name, forge in FORGERIES.items():
            forged = forge(good, signer._private, str(signer.key_id))
            answer = await client.get("/caller", headers=bearer(forged))
            assert (answer.status_code, answer.json()["code"]) == (401, "credentials_invalid"), name
            assert forged not in answer.text
        again = _signed()(good, signer._private, str(signer.key_id))
        assert (await client.get("/caller", headers=bearer(again))).json()["user"] == str(who.id)

    assert there.line.asked == [JWKS]


@pytest.mark.parametrize("prefix", ["dzr_", "dzv_", "dzp_", "dzi_"])
async def test_tokens_for_another_purpose_are_not_even_asked_about(there: Elsewhere, prefix: Any) -> None:
    async with there.reach() as client:
        for token in (
            new_token(prefix),
            "dzs_short",
            "ä" * 47,
            "x" * 5000,
            "eyJ" + "A" * 5000 + ".e30.x",
            "eyJh.e30.",
            "",
        ):
            answer = await client.get("/caller", headers=[(b"authorization", f"Bearer {token}".encode("latin-1"))])
            assert answer.status_code == 401

    assert there.line.asked == []


async def test_made_up_key_ids_make_nobody_look_again_within_a_minute(there: Elsewhere) -> None:
    _, token = await there.make_person()
    private = ec.generate_private_key(ec.SECP256R1())
    good = jwt.decode(token, options={"verify_signature": False})

    async with there.reach() as client:
        for _ in range(20):
            forged = _signed(key=private)(good, private, str(new_id()))
            assert (await client.get("/caller", headers=bearer(forged))).status_code == 401
        assert there.line.asked == [JWKS]
        there.clock.turn(minutes=1)
        for _ in range(20):
            forged = _signed(key=private)(good, private, str(new_id()))
            assert (await client.get("/caller", headers=bearer(forged))).status_code == 401

    assert there.line.asked == [JWKS] * 2


async def test_a_new_key_is_found_a_minute_later_at_the_latest(there: Elsewhere) -> None:
    who, token = await there.make_person()
    async with there.reach() as client:
        await client.get("/caller", headers=bearer(token))
        await signing.rotate_keys(there.accounts, at=there.clock(), at_once=True)
        there.clock.turn(seconds=60)
        caller = await there.accounts.recognise(who.headers["Authorization"], there.clock())
        assert caller is not None
        signer = await signing.current_key(there.accounts, at=there.clock())
        fresh = signing.sign_access_token(
            there.accounts, signer, user_id=who.id, session_id=caller.id, permissions=[], at=there.clock()
        )
        new = await client.get("/caller", headers=bearer(fresh.token))

    assert new.status_code == 200


async def test_without_a_network_it_is_believed_while_the_keys_are_fresh(there: Elsewhere) -> None:
    who, token = await there.make_person()
    signer = await signing.current_key(there.accounts, at=there.clock())
    good = jwt.decode(token, options={"verify_signature": False})

    async with there.reach(key=None) as client:
        assert (await client.get("/caller", headers=bearer(token))).status_code == 200
        there.line.is_cut = True
        there.clock.turn(minutes=4)
        now = int(there.clock().timestamp())
        later = _signed(iat=now, exp=now + 600)(good, signer._private, str(signer.key_id))
        assert (await client.get("/caller", headers=bearer(later))).json()["user"] == str(who.id)
        assert (await client.get("/caller", headers=bearer(token))).status_code == 401  # it is over
        there.clock.turn(minutes=2)
        refused = [await client.get("/caller", headers=bearer(later)) for _ in range(3)]
        there.line.is_cut = False
        there.clock.turn(seconds=2)
        assert (await client.get("/caller", headers=bearer(later))).status_code == 200

    assert {(answer.status_code, answer.headers["retry-after"]) for answer in refused} == {(503, "1")}
    assert there.line.asked == [JWKS] * 4  # two tries of the first that was refused, and then no more for a second


async def test_keys_of_other_kinds_are_left_alone(there: Elsewhere) -> None:
    _, token = await there.make_person()
    real = there.line
    kid = jwt.get_unverified_header(token)["kid"]
    secret = {"kty": "oct", "k": "c2VjcmV0", "kid": kid, "use": "sig", "alg": "HS256"}

    async def server(scope: Any, receive: Any, send: Any) -> None:
        real.asked.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps({"keys": [secret, 7, {}]}).encode()})

    async with there.reach(transport=httpx.ASGITransport(server)) as client:
        forged = jwt.encode({"sub": "x"}, b"secret" * 8, algorithm="HS256", headers={"typ": "at+jwt", "kid": kid})
        for each in (token, forged):
            assert (await client.get("/caller", headers=bearer(each))).status_code == 401


async def test_the_audience_is_the_one_that_was_named(there: Elsewhere) -> None:
    _, token = await there.make_person()

    async with there.reach(audience="https://shop.example.org") as client:
        refused = await client.get("/caller", headers=bearer(token))
    async with there.reach(issuer=BASE_URL, audience=BASE_URL) as client:
        taken = await client.get("/caller", headers=bearer(token))

    assert refused.json()["detail"] == "This access token is for another service, or of another issuer."
    assert taken.status_code == 200
