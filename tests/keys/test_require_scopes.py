"""Who may call what: every route against every way of not being allowed to."""

from __future__ import annotations

from datetime import timedelta

from fastapi import FastAPI
from httpx import AsyncClient, Response

from denizen.core.auth import Scope
from denizen.core.ids import new_id
from denizen.core.tokens import new_token
from tests.conftest import Clock, MakeKey
from tests.keys.conftest import bearer

NEEDED: dict[tuple[str, str], Scope | None] = {
    ("GET", "/users/"): Scope.USERS_READ,
    ("GET", "/users/export"): Scope.USERS_EXPORT,
    ("GET", "/users/{user_id}"): Scope.USERS_READ,
    ("POST", "/users/batch"): Scope.USERS_WRITE,
    ("POST", "/users/import"): Scope.USERS_IMPORT,
    ("GET", "/jobs/"): Scope.USERS_IMPORT,
    ("GET", "/jobs/{job_id}"): None,
    ("GET", "/jobs/{job_id}/results"): None,
    ("PATCH", "/users/{user_id}"): Scope.USERS_WRITE,
    ("DELETE", "/users/{user_id}"): Scope.USERS_WRITE,
    ("POST", "/users/{user_id}/suspend"): Scope.USERS_WRITE,
    ("POST", "/users/{user_id}/unsuspend"): Scope.USERS_WRITE,
    ("POST", "/users/{user_id}/restore"): Scope.USERS_WRITE,
    ("POST", "/keys/"): Scope.KEYS_WRITE,
    ("GET", "/keys/"): Scope.KEYS_WRITE,
    ("GET", "/keys/current"): None,
    ("GET", "/keys/{key_id}"): None,
    ("DELETE", "/keys/{key_id}"): None,
    ("GET", "/permissions"): None,
    ("GET", "/roles/"): None,
    ("POST", "/roles/"): Scope.ROLES_WRITE,
    ("GET", "/roles/{role}"): None,
    ("PATCH", "/roles/{role}"): Scope.ROLES_WRITE,
    ("DELETE", "/roles/{role}"): Scope.ROLES_WRITE,
    ("GET", "/users/{user_id}/roles"): None,
    ("PUT", "/users/{user_id}/roles"): Scope.ROLES_WRITE,
    ("PUT", "/users/{user_id}/roles/{role}"): Scope.ROLES_WRITE,
    ("DELETE", "/users/{user_id}/roles/{role}"): Scope.ROLES_WRITE,
    ("POST", "/auth/introspect"): Scope.TOKENS_INTROSPECT,
    ("GET", "/metrics"): Scope.METRICS_READ,
    ("GET", "/audit"): Scope.AUDIT_READ,
    ("GET", "/users/{user_id}/sessions"): None,
    ("DELETE", "/users/{user_id}/sessions"): Scope.USERS_WRITE,
    ("POST", "/users/{user_id}/password-link"): Scope.USERS_WRITE,
    ("GET", "/invitations/"): Scope.INVITATIONS_WRITE,
    ("POST", "/invitations/"): Scope.INVITATIONS_WRITE,
    ("GET", "/invitations/{invitation_id}"): None,
    ("DELETE", "/invitations/{invitation_id}"): None,
    ("POST", "/invitations/{invitation_id}/resend"): None,
}
"""Every address that needs a key, with the one scope that it needs; `None` for none, for one of two, and where what is
not one's to see is a 404.
"""

OPEN = {
    ("POST", "/users/"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/.well-known/jwks.json"),
    ("POST", "/auth/refresh"),
    ("POST", "/auth/login"),
    ("POST", "/auth/register"),
    ("GET", "/auth/register/confirm"),
    ("POST", "/auth/register/confirm"),
    ("GET", "/auth/first-administrator"),
    ("POST", "/auth/first-administrator"),
    ("GET", "/auth/accept-invitation"),
    ("POST", "/auth/accept-invitation"),
    ("POST", "/auth/magic-link"),
    ("GET", "/auth/magic-link/sign-in"),
    ("POST", "/auth/magic-link/sign-in"),
    ("POST", "/auth/code"),
    ("POST", "/auth/code/sign-in"),
    ("POST", "/auth/request-verify-token"),
    ("GET", "/auth/verify"),
    ("POST", "/auth/verify"),
    ("POST", "/auth/forgot-password"),
    ("GET", "/auth/reset-password"),
    ("POST", "/auth/reset-password"),
    ("GET", "/auth/confirm-email"),
    ("POST", "/auth/confirm-email"),
    ("GET", "/auth/undo-email"),
    ("POST", "/auth/undo-email"),
}
"""Every address that asks for no credentials, or finds them in the body."""

SIGNED_IN = {
    ("POST", "/auth/tokens"),
    ("POST", "/auth/logout"),
    ("POST", "/auth/reauthenticate"),
    ("POST", "/auth/change-password"),
    ("POST", "/auth/change-email"),
    ("GET", "/auth/sessions"),
    ("DELETE", "/auth/sessions"),
    ("GET", "/auth/sessions/current"),
    ("DELETE", "/auth/sessions/{session_id}"),
    ("GET", "/users/me"),
    ("PATCH", "/users/me"),
    ("DELETE", "/users/me"),
    ("GET", "/users/me/data"),
    ("POST", "/users/{user_id}/impersonate"),
}
"""Every address that is about the account of whoever calls, so that no key does."""


async def call(client: AsyncClient, route: tuple[str, str], headers: dict[str, str]) -> Response:
    method, path = route
    path = path.format(
        user_id=new_id(), key_id=new_id(), job_id=new_id(), session_id=new_id(), invitation_id=new_id(), role="nobody"
    )
    body = {"name": "x", "scopes": ["keys:write"]} if "keys" in path else {}
    return await client.request(
        method, path, json=body if method in {"POST", "PATCH", "PUT"} else None, headers=headers
    )


async def test_table_holds_every_route(app: FastAPI) -> None:
    routes = {(verb.upper(), path) for path, verbs in app.openapi()["paths"].items() for verb in verbs}

    assert routes == NEEDED.keys() | OPEN | SIGNED_IN


async def test_nobody_gets_in_without_the_scope(client: AsyncClient, make_key: MakeKey) -> None:
    for route, scope in NEEDED.items():
        anybody = await call(client, route, {})
        assert (anybody.status_code, anybody.json()["code"]) == (401, "credentials_missing"), route
        assert anybody.headers["www-authenticate"] == "Bearer"

        if scope is not None:
            lacking = await call(client, route, await make_key(*(set(Scope) - {scope})))
            assert (lacking.status_code, lacking.json()["code"]) == (403, "scope_missing"), route
            assert lacking.json()["detail"] == f"This needs the scope {scope}."

        having = await call(client, route, await make_key(scope or Scope.USERS_READ))
        assert having.status_code not in {401, 403}, route


async def test_keys_are_sent_to_sign_in(client: AsyncClient, make_key: MakeKey) -> None:
    for route in SIGNED_IN:
        refused = await call(client, route, await make_key())
        assert (refused.status_code, refused.json()["code"]) == (403, "session_needed"), route


async def test_what_opens_nothing_is_refused_everywhere(client: AsyncClient, make_key: MakeKey, clock: Clock) -> None:
    expired = await make_key(expires_in=timedelta(hours=1))
    revoked = await make_key()
    good = (await make_key())["Authorization"].removeprefix("Bearer ")
    own = (await client.get("/keys/current", headers=revoked)).json()["id"]
    assert (await client.delete(f"/keys/{own}", headers=revoked)).status_code == 204
    assert (await client.get("/keys/current", headers=expired)).status_code == 200
    clock.turn(hours=1)
    bad = [
        expired,
        revoked,
        bearer(new_token("dzk_")),
        bearer(new_token("dzs_")),
        bearer(good.replace("dzk_", "dzs_")),
        bearer(good.replace("dzk_", "DZK_")),
        bearer(good[:-1]),
        bearer(f"{good}A"),
        bearer(f"{good} {good}"),
        bearer("dzk_"),
        bearer("garbage"),
        bearer("\u00e9" * 47),
        bearer("x" * 5000),
        {"Authorization": "Bearer"},
        {"Authorization": ""},
        {"Authorization": good},
        {"Authorization": f"Basic {good}"},
        {"Authorization": f"Token {good}"},
    ]

    for route in (*NEEDED, ("POST", "/users/")):
        for headers in bad if route == ("GET", "/users/") else bad[:4]:
            raw = {name.encode(): value.encode() for name, value in headers.items()}
            answer = await call(client, route, raw)  # type: ignore[arg-type]  # not every byte is ASCII
            assert (answer.status_code, answer.json()["code"]) == (401, "credentials_invalid"), (route, headers)
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.headers["content-type"] == "application/problem+json"
            assert good not in answer.text
    for scheme in ("Bearer", "bearer", "BEARER", "Bearer  "):
        assert (await client.get("/users/", headers={"Authorization": f"{scheme} {good}"})).status_code == 200


async def test_refusals_do_not_tell_why(client: AsyncClient, make_key: MakeKey, clock: Clock) -> None:
    expired = await make_key(expires_in=timedelta(hours=1))
    clock.turn(hours=2)

    refusals = [
        (await client.get("/users/", headers=headers)).json() | {"request_id": None}
        for headers in (expired, bearer(new_token("dzk_")))
    ]

    assert refusals[0] == refusals[1]
