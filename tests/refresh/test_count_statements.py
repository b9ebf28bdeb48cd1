"""How many statements tokens cost, fixed: one more is a decision, and shows in a diff."""

from __future__ import annotations

from httpx import AsyncClient

from denizen.core.accounts import Accounts
from denizen.core.auth import Scope
from denizen.core.tokens import new_token
from tests.conftest import MakeKey
from tests.refresh.conftest import GiveTokens, SignIn

RECOGNISE = 1
AUDIT = 2
"""That somebody was given tokens, or refused, is an entry of the audit with its details; an exchange is none."""

HOLD = 2
"""The account is held, and then the session, so that nobody ends it meanwhile."""


async def test_each_request_runs_so_many_statements(
    client: AsyncClient, accounts: Accounts, sign_in: SignIn, give_tokens: GiveTokens, make_key: MakeKey
) -> None:
    person = await sign_in()
    key = await make_key(Scope.TOKENS_INTROSPECT)
    first = await give_tokens(person)
    following = (await client.post("/auth/refresh", json={"refresh_token": first["refresh_token"]})).json()
    renewed, refreshed = following["refresh_token"], first["refresh_token"]
    asked = "/auth/introspect"
    table = [
        ("/auth/tokens", None, person.headers, 200, RECOGNISE + HOLD + 1 + 1),  # store; too many are deleted
        ("/auth/refresh", {"refresh_token": renewed}, {}, 200, 1 + HOLD + 1 + 1 + 1),  # look, spend, store, forget
        ("/auth/refresh", {"refresh_token": refreshed}, {}, 200, 1 + HOLD + 1 + 1),  # look, try to spend, repeat
        ("/auth/refresh", {"refresh_token": new_token("dzr_")}, {}, 401, 1),
        ("/auth/refresh", {"refresh_token": "x"}, {}, 401, 0),
        (asked, {"token": person.session}, key, 200, RECOGNISE + 1),
        (asked, {"token": key["Authorization"].removeprefix("Bearer ")}, key, 200, RECOGNISE + 1),
        (asked, {"token": first["access_token"]}, key, 200, RECOGNISE + 1),
        (asked, {"token": renewed}, key, 200, RECOGNISE),
        (asked, {"token": "x"}, key, 200, RECOGNISE),
    ]
    ran: list[str] = []
    accounts.database.observers.append(ran.append)

    for path, body, headers, status, count in table:
        ran.clear()
        answer = await client.post(path, json=body, headers=headers)
        assert answer.status_code == status, (path, answer.text)
        statements = [each for each in ran if "denizen_audit" not in each]
        assert len(statements) == count, (path, statements)
        assert len(ran) - len(statements) == (AUDIT if path == "/auth/tokens" or status == 401 else 0), (path, ran)
