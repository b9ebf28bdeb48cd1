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
from tests.conftest import BASE_URL
from tests.signing.conftest import sign

PAGE = Path(__file__).parents[2] / "docs" / "access-tokens.md"


@pytest.fixture
def clock() -> Callable[[], datetime]:
    """The machine's own, which the service goes by too."""
    return utc_now


async def test_the_service_takes_what_is_valid_and_nothing_else(
    accounts: Accounts, client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    token = await sign(accounts)
    keys = (await client.get("/.well-known/jwks.json")).json()
    monkeypatch.setattr(jwt.PyJWKClient, "fetch_data", lambda self: keys)  # there is no network here
    program: dict[str, Any] = {}
    exec(compile(code.replace("https://accounts.example.com", BASE_URL), PAGE, "exec"), program)

    assert program["check"](token)["scope"] == "users:read"

    header, body, signature = token.split(".")
    for forged in (f"{header}.{body}.{signature[::-1]}", f"eyJhbGciOiJub25lIn0.{body}.", "nonsense"):
        with pytest.raises(jwt.PyJWTError):
            program["check"](forged)


def test_what_the_page_says_of_times_is_so() -> None:
    from denizen.signing.service import ANNOUNCED, KEPT, MAX_AGE, REFRESHED

    text = PAGE.read_text(encoding="utf-8")
    assert f"max-age={MAX_AGE.seconds}" in text
    assert (ANNOUNCED.seconds, "published for ten minutes before" in text) == (600, True)
    assert (KEPT.seconds, "for 65 minutes after" in text) == (65 * 60, True)
    assert (REFRESHED.seconds, "within ten seconds" in text) == (10, True)
