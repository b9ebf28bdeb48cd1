"""How many statements each request runs, fixed: one more is a decision, and shows in a diff."""

from __future__ import annotations

from typing import Any

from httpx import AsyncClient

from denizen.core.accounts import Accounts
from tests.conftest import MakeUser

ADA = {"username": "ada", "email": "ada@example.org", "password": "correct horse battery"}
EVE = {"username": "eve", "email": "eve@example.org", "password": "correct horse battery"}

RECOGNISE = 1
"""Who calls, with his scopes, is one statement of each."""

SAVEPOINT = 2
"""What a unique index may refuse stands between two of them, so that a host's transaction can go on."""

GUARD = 1
"""Whether the account may do what the caller may not: of one, or of a thousand."""

LAST = 1
"""Whether it is the last administrator who goes."""

SUSPENDED = LAST + 2
"""His sign-ins end, and what was sent to him opens nothing."""

LETTER = 1
"""Where to write to him."""

REFERENCES = 1
"""Whether a foreign key of a host waits for the commit, and would refuse what was done by then."""

DELETED = SUSPENDED + 2
"""And his keys end, while nobody makes another."""

BEFORE = 1
"""What was there before the change, for the audit: neither database gives that with the change (PostgreSQL from 18)."""

COUNTS: list[tuple[str, str, dict[str, Any] | None, int, int]] = [
    ("POST", "/users/", ADA, 201, RECOGNISE + SAVEPOINT + 1),
    ("POST", "/users/", EVE, 201, RECOGNISE + SAVEPOINT + 1),
    ("POST", "/users/", ADA, 409, RECOGNISE + SAVEPOINT + 1 + 1),  # who is in the way
    ("POST", "/users/", ADA | {"email": "nobody"}, 422, RECOGNISE),
    ("GET", "/users/", None, 200, RECOGNISE + 1),
    ("GET", "/users/?limit=1&created_at__gte=2020-01-01T00:00:00Z&order_by=-created_at", None, 200, RECOGNISE + 1),
    ("GET", "/users/?is_active=true&count=exact", None, 200, RECOGNISE + 1 + 1),
    ("GET", "/users/?email=ada@example.org", None, 200, RECOGNISE + 1),
    ("GET", "/users/?order_by=username", None, 200, RECOGNISE + 1 + 1),  # those without one come last
    ("GET", "/users/?skip=1", None, 200, RECOGNISE + 1),
    ("GET", "/users/?emial=ada@example.org", None, 422, 0),
    ("GET", "/users/{ada}", None, 200, RECOGNISE + 1),
    ("GET", "/users/7", None, 404, RECOGNISE),
    ("PATCH", "/users/{ada}", {"full_name": "Ada"}, 200, RECOGNISE + GUARD + BEFORE + 1),
    ("PATCH", "/users/{ada}", {"is_active": False, "full_name": None}, 200, RECOGNISE + GUARD + BEFORE + 1 + LAST + 1),
    ("PATCH", "/users/{ada}", {"external_id": "crm-1"}, 200, RECOGNISE + GUARD + BEFORE + SAVEPOINT + 1),
    ("PATCH", "/users/{ada}", {"username": "lovelace"}, 200, RECOGNISE + GUARD + BEFORE + SAVEPOINT + 1),
    ("PATCH", "/users/{ada}", {"username": "eve"}, 409, RECOGNISE + GUARD + BEFORE + SAVEPOINT + 1 + 1),
    ("PATCH", "/users/{ada}", {}, 200, RECOGNISE + GUARD + BEFORE),
    ("POST", "/users/{ada}/suspend", {"reason": "?"}, 200, RECOGNISE + GUARD + BEFORE + 1 + SUSPENDED + LETTER),
    ("POST", "/users/{ada}/unsuspend", None, 200, RECOGNISE + GUARD + 1 + 1),
    ("POST", "/users/{ada}/unsuspend", None, 200, RECOGNISE + GUARD + 1),
    (
        "DELETE",
        "/users/{ada}",
        None,
        204,
        RECOGNISE + GUARD + 1 + SAVEPOINT + 1 + REFERENCES + 1 + DELETED,
    ),  # hold, try to erase, hide
    ("DELETE", "/users/{ada}", None, 404, RECOGNISE + GUARD + 1),
    ("GET", "/users/{ada}", None, 404, RECOGNISE + 1),
    ("POST", "/users/{ada}/restore", None, 200, RECOGNISE + GUARD + 1),
    ("POST", "/users/{ada}/restore", None, 200, RECOGNISE + GUARD + 1 + 1),
    ("DELETE", "/users/{ada}?erase=true", None, 204, RECOGNISE + GUARD + 1 + SAVEPOINT + 1 + REFERENCES + DELETED),
    ("DELETE", "/users/{ada}?erase=true", None, 404, RECOGNISE + GUARD + 1),
    ("POST", "/keys/", {"name": "x", "scopes": ["users:read"]}, 201, RECOGNISE + 1 + 1),
    ("GET", "/keys/", None, 200, RECOGNISE + 1),
    ("GET", "/keys/current", None, 200, RECOGNISE + 1),
]

INDEXING = {
    ("sqlite", "POST", "/users/"): 2,  # the entry, and FTS5's trigrams
    ("postgresql", "POST", "/users/"): 1,
    ("sqlite", "PATCH", "/users/{ada}"): 3,  # look, learn, write
    ("postgresql", "PATCH", "/users/{ada}"): 2,
    ("sqlite", "DELETE", "/users/{ada}"): 2,
    ("postgresql", "DELETE", "/users/{ada}"): 1,
    ("sqlite", "POST", "/users/{ada}/restore"): 2,
    ("postgresql", "POST", "/users/{ada}/restore"): 1,
    ("sqlite", "DELETE", "/users/{ada}?erase=true"): 2,  # PostgreSQL's goes with the account
}
"""What keeping the search index costs on top, at most: where the words of the names stay, it is one look."""

AUDITING = 6
"""What writing down a change costs on top, at most: two for each event, the entry and what is personal about it."""


async def test_head_runs_no_more_than_get(admin: AsyncClient, accounts: Accounts, make_user: MakeUser) -> None:
    """And says the same but for the body, of every address that takes GET."""
    made = [await make_user(), await make_user()]
    ran: list[str] = []
    accounts.database.observers.append(ran.append)

    for path in (
        "/users/",
        "/users?limit=1&count=exact",
        "/users/?limt=1",
        f"/users/{made[0]['id']}",
        "/users/7",
        "/keys/",
        "/keys/current",
        "/healthz",
        "/readyz",
    ):
        ran.clear()
        got = await admin.get(path)
        count = len(ran)
        head = await admin.head(path)

        assert (head.status_code, head.content) == (got.status_code, b""), path
        ours = {name: value for name, value in head.headers.items() if name != "x-request-id"}
        assert ours == {name: value for name, value in got.headers.items() if name != "x-request-id"}, path
        assert len(ran) == 2 * count, path


async def test_each_request_runs_so_many_statements(admin: AsyncClient, accounts: Accounts) -> None:
    ran: list[str] = []
    accounts.database.observers.append(ran.append)
    ada = ""

    for method, path, body, status, count in COUNTS:
        ran.clear()
        answer = await admin.request(method, path.format(ada=ada), json=body)
        assert answer.status_code == status, (method, path, answer.text)
        # Slow reads on PostgreSQL set a time-out of their own first.
        statements = [each for each in ran if not each.startswith("SET LOCAL")]
        indexing = [each for each in statements if "denizen_search" in each]
        auditing = [each for each in statements if "denizen_audit" in each]
        assert len(statements) - len(indexing) - len(auditing) == count, (method, path, statements)
        assert len(auditing) <= (AUDITING if method != "GET" and status in {200, 201, 204} else 0), (path, auditing)
        if status in {200, 201, 204} and body != {}:
            assert len(indexing) <= INDEXING.get((accounts.database.kind, method, path), 0), (method, path, indexing)
        ada = ada or answer.json()["id"]
