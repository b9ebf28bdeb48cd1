from __future__ import annotations

import hashlib
from datetime import timedelta
from io import StringIO
from typing import Any

from httpx import AsyncClient
from sqlalchemy import select

from denizen.core import logs
from denizen.core.accounts import Accounts
from denizen.core.auth import Scope
from denizen.keys.models import Key
from tests.conftest import Clock, MakeKey
from tests.keys.conftest import MakeChild


async def test_answer_shows_the_key_once(client: AsyncClient, make_key: MakeKey, clock: Clock) -> None:
    maker = await make_key()

    answer = await client.post(
        "/keys/", json={"name": "nightly import", "scopes": ["users:import", "users:read"]}, headers=maker
    )

    made = answer.json()
    token = made["token"]
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    assert token.startswith("dzk_")
    assert len(token) == 47
    assert made == {
        "id": made["id"],
        "name": "nightly import",
        "hint": token[:8],
        "scopes": ["users:import", "users:read"],
        "user_id": None,
        "maker_id": (await client.get("/keys/current", headers=maker)).json()["id"],
        "created_at": "2026-01-31T09:30:00.123456Z",
        "expires_at": None,
        "last_used_at": None,
        "revoked_at": None,
        "token": token,
    }
    current = await client.get("/keys/current", headers={"Authorization": f"Bearer {token}"})
    assert current.json() == {name: value for name, value in made.items() if name != "token"}


async def test_key_is_nowhere_but_in_the_answer(
    client: AsyncClient, make_key: MakeKey, make_child: MakeChild, accounts: Accounts
) -> None:
    maker = await make_key()
    logged = StringIO()
    logs.configure(level="DEBUG", format="json", stream=logged)
    made = await make_child(maker)
    secret = made["token"].removeprefix(made["hint"])

    for path in ("/keys/", "/keys/current", f"/users/?email={made['token']}", f"/users/{made['token']}"):
        answer = await client.get(path, headers=made["headers"])
        assert secret not in answer.text + str(answer.headers)
    async with accounts.database.read.session() as db:
        rows = (await db.execute(select(Key.__table__))).all()
        [key] = (await db.scalars(select(Key).where(Key.name == "child"))).all()

    assert secret not in str(rows)
    assert key.token_digest == hashlib.sha256(made["token"].encode()).digest()
    assert "token_digest" not in repr(key)
    assert "/keys/current" in logged.getvalue()
    assert secret not in logged.getvalue()


async def test_key_has_no_scope_that_its_maker_lacks(client: AsyncClient, make_key: MakeKey) -> None:
    maker = await make_key(Scope.KEYS_WRITE, Scope.USERS_READ)

    async def attempt(*scopes: str) -> tuple[int, str | None]:
        answer = await client.post("/keys/", json={"name": "x", "scopes": scopes}, headers=maker)
        return answer.status_code, answer.json().get("detail")

    assert (await attempt("users:read"))[0] == 201
    assert (await attempt("users:read", "keys:write", "users:read"))[0] == 201
    assert await attempt("users:write") == (403, "The key you make it with does not have users:write.")
    assert await attempt(*Scope) == (
        403,
        f"The key you make it with does not have {', '.join(sorted({*Scope} - {'users:read', 'keys:write'}))}.",
    )
    assert len((await client.get("/keys/", headers=maker)).json()) == 3


async def test_key_ends_no_later_than_its_maker(
    client: AsyncClient, make_key: MakeKey, make_child: MakeChild, clock: Clock
) -> None:
    maker = await make_key(expires_in=timedelta(hours=2))
    end = (await client.get("/keys/current", headers=maker)).json()["expires_at"]

    async def attempt(expires_at: str) -> tuple[int, str, str]:
        body = {"name": "x", "scopes": ["users:read"], "expires_at": expires_at}
        problem = (await client.post("/keys/", json=body, headers=maker)).json()
        return problem["status"], problem["code"], problem["field"]

    assert end == "2026-01-31T11:30:00.123456Z"
    assert (await make_child(maker))["expires_at"] == end
    assert (await make_child(maker, expires_at=None))["expires_at"] == end
    assert (await make_child(maker, expires_at=end))["expires_at"] == end
    assert (await make_child(maker, expires_at="2026-01-31T11:30:00+01:00"))["expires_at"] == ("2026-01-31T10:30:00Z")
    assert await attempt("2026-01-31T11:30:00.123457Z") == (403, "key_beyond_maker", "expires_at")
    assert await attempt("9999-12-31T23:59:59Z") == (403, "key_beyond_maker", "expires_at")
    assert await attempt("2026-01-31T09:30:00.123456Z") == (422, "key_expiry_invalid", "expires_at")
    assert await attempt("9999-12-31T23:59:59-23:59") == (422, "invalid", "expires_at")
    assert await attempt("2026-01-31T10:00:00") == (422, "invalid", "expires_at")
    grandchild = await make_child((await make_child(maker, expires_at="2026-01-31T10:00:00Z"))["headers"])
    assert grandchild["expires_at"] == "2026-01-31T10:00:00Z"
    clock.turn(minutes=30)
    assert (await client.get("/users/", headers=grandchild["headers"])).status_code == 401
    assert (await client.get("/users/", headers=maker)).status_code == 200


async def test_maker_without_end_may_give_any(make_key: MakeKey, make_child: MakeChild) -> None:
    maker = await make_key()

    assert (await make_child(maker))["expires_at"] is None
    assert (await make_child(maker, expires_at="2100-01-01T00:00:00Z"))["expires_at"] == "2100-01-01T00:00:00Z"


async def test_what_is_not_acceptable_is_refused(admin: AsyncClient) -> None:
    refused: list[tuple[dict[str, Any], str]] = [
        ({"name": ""}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "nul\x00"}, "name"),
        ({"name": None}, "name"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["root"]}, "scopes.0"),
        ({"scopes": "users:read"}, "scopes"),
        ({"scopes": None}, "scopes"),
        ({"token": "dzk_chosen"}, "token"),
        ({"user_id": "019a5c1e-7f00-7a11-8b22-3c33d44e55f6"}, "user_id"),
        ({"maker_id": None}, "maker_id"),
    ]

    for changes, field in refused:
        answer = await admin.post("/keys", json={"name": "x", "scopes": ["users:read"], **changes})

        assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (422, "invalid", field)
    assert len((await admin.get("/keys/")).json()) == 1
