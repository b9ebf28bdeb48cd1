"""How many statements each request about sign-ins runs, fixed: one more is a decision, and shows in a diff."""

from __future__ import annotations

from typing import Any

from httpx import AsyncClient

from denizen.core.accounts import Accounts
from tests.sessions.conftest import PASSWORD, MakeAdmin, SignIn

RECOGNISE = 1
"""Session, account and permissions are one statement."""

LOOK = 2
"""For the account, and for the limits."""

HOLD = 1
"""The account, once its password has been looked at."""

STAND_IN = 2
"""What both may do is held, and whoever stands in has still signed in."""

WRONG = 4
"""The limits as they are by now, then one statement each for account, address and all together."""

RIGHT = 1
"""The limits as they are by now; a day or a wrong guess after the last sign-in from there, they are written."""

OPEN = 2
"""Surplus sign-ins end, and the new one is stored."""

ADA = {"username": "ada", "password": PASSWORD}
COUNTS: list[tuple[str, str, dict[str, Any] | None, int, int]] = [
    ("GET", "/auth/sessions", None, 200, RECOGNISE + 1),
    ("GET", "/auth/sessions/current", None, 200, RECOGNISE + 1),
    ("GET", "/keys/", None, 200, RECOGNISE + 1),
    ("GET", "/users/{ada}/sessions", None, 200, RECOGNISE + 1 + 1),  # whether there is such a person
    ("POST", "/auth/login", ADA, 200, LOOK + HOLD + RIGHT + 1 + OPEN),
    ("POST", "/auth/login", ADA, 200, LOOK + HOLD + RIGHT + OPEN),
    ("POST", "/auth/login", ADA | {"password": "wrong"}, 401, LOOK + WRONG),
    ("POST", "/auth/login", ADA | {"username": "nobody"}, 401, LOOK + WRONG),
    ("POST", "/auth/login", ADA | {"username": "x" * 999}, 422, 0),
    ("POST", "/auth/reauthenticate", {"password": "wrong"}, 401, RECOGNISE + LOOK + WRONG),
    ("POST", "/users/{ada}/impersonate", None, 200, RECOGNISE + HOLD + STAND_IN + 1),
    ("DELETE", "/auth/sessions", None, 204, RECOGNISE + HOLD + 1),
    ("DELETE", "/auth/sessions/{ada}", None, 404, RECOGNISE + HOLD + 1),
    ("DELETE", "/users/{ada}/sessions", None, 204, RECOGNISE + HOLD + 1),
    ("POST", "/auth/logout", None, 204, RECOGNISE + HOLD + 1),
    ("POST", "/auth/logout", None, 401, RECOGNISE),
]


async def test_each_request_runs_so_many_statements(
    client: AsyncClient, accounts: Accounts, ada: dict[str, Any], sign_in: SignIn, make_admin: MakeAdmin
) -> None:
    boss = await make_admin()
    accounts.guards = accounts.listeners = accounts.refusals = ()  # what they cost is told where they are
    ran: list[str] = []
    accounts.database.observers.append(ran.append)

    for method, path, body, status, count in COUNTS:
        ran.clear()
        answer = await client.request(method, path.format(ada=ada["id"]), json=body, headers=boss)
        assert answer.status_code == status, (method, path, answer.text)
        assert len(ran) == count, (method, path, body, ran)


async def test_token_that_is_none_costs_no_statement(client: AsyncClient, accounts: Accounts) -> None:
    accounts.refusals = ()
    await client.get("/auth/sessions")
    ran: list[str] = []
    accounts.database.observers.append(ran.append)

    for token in ("dzs_", "dzs_" + "x" * 42 + "B", "dzs_" + "A" * 400):
        answer = await client.get("/auth/sessions", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 401
    assert ran == []
