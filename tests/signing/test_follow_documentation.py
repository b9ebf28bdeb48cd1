"""The service in `docs/access-tokens.md` checks tokens as it stands there."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import jwt
import pytest
from httpx import AsyncClient

from denizen.core.accounts import Accounts, utc_now
from denizen.signing.service import current_key
from tests.conftest import BASE_URL
from tests.signing.conftest import STRANGER_ID, kid_of, sign, signed_by_a_stranger, strangers_headers

Check = Callable[[str], dict[str, Any]]

PAGE = Path(__file__).parents[2] / "docs" / "access-tokens.md"


@pytest.fixture
def clock() -> Callable[[], datetime]:
    """The machine's own, which the service goes by too."""
    return utc_now


@pytest.fixture
async def token(accounts: Accounts) -> str:
    """One that is valid."""
    return await sign(accounts)


@pytest.fixture
async def check(token: str, client: AsyncClient, monkeypatch: pytest.MonkeyPatch) -> Check:
    """The function of the page."""
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    keys = (await client.get("/.well-known/jwks.json")).json()
    monkeypatch.setattr(jwt.PyJWKClient, "fetch_data", lambda self: keys)  # there is no network here
    program: dict[str, Any] = {}
    exec(compile(code.replace("https://accounts.example.com", BASE_URL), PAGE, "exec"), program)
    function: Check = program["check"]
    return function


async def test_the_service_takes_what_is_valid_and_nothing_else(check: Check, token: str) -> None:
    assert check(token)["scope"] == "users:read"

    header, body, signature = token.split(".")
    for forged in (f"{header}.{body}.{signature[::-1]}", f"eyJhbGciOiJub25lIn0.{body}.", "nonsense"):
        with pytest.raises(jwt.PyJWTError):
            check(forged)


async def test_the_service_refuses_what_is_over_of_another_type_or_for_others(
    accounts: Accounts, check: Check, token: str
) -> None:
    """Signed by our own key, and wrong in one thing each."""
    signer = await current_key(accounts, at=utc_now())
    claims, now = check(token), int(utc_now().timestamp())
    own: Any = signer._private
    headers = {"kid": str(signer.key_id), "typ": "JWT"}
    wrong = {
        "over": (signer.sign(claims | {"iat": now - 61, "exp": now - 1}), jwt.ExpiredSignatureError),
        "another type": (jwt.encode(claims, own, algorithm="ES256", headers=headers), jwt.InvalidTokenError),
        "another audience": (signer.sign(claims | {"aud": "https://other.example"}), jwt.InvalidAudienceError),
        "no audience": (
            signer.sign({name: value for name, value in claims.items() if name != "aud"}),
            jwt.MissingRequiredClaimError,
        ),
        "another issuer": (signer.sign(claims | {"iss": "https://evil.example"}), jwt.InvalidIssuerError),
    }

    for name, (each, error) in wrong.items():
        with pytest.raises(error):
            pytest.fail(f"{name}: {check(each)}")
    assert check(signer.sign(claims))["sub"] == claims["sub"]


async def test_the_service_takes_no_key_from_the_token(check: Check, token: str) -> None:
    claims = check(token)

    for header in strangers_headers().values():
        for kid in (kid_of(token), STRANGER_ID):
            with pytest.raises(jwt.PyJWTError):
                check(signed_by_a_stranger(claims, kid, header))


def test_what_the_page_says_of_times_is_so() -> None:
    from denizen.signing.service import ANNOUNCED, KEPT, MAX_AGE, REFRESHED

    text = PAGE.read_text(encoding="utf-8")
    assert f"max-age={MAX_AGE.seconds}" in text
    assert (ANNOUNCED.seconds, "published for ten minutes before" in text) == (600, True)
    assert (KEPT.seconds, "for 65 minutes after" in text) == (65 * 60, True)
    assert (REFRESHED.seconds, "within ten seconds" in text) == (10, True)
