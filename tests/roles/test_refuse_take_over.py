"""No take-over through ordinary rights: nobody changes a person who may do what the caller may not."""

from __future__ import annotations

from typing import Any

import pytest
from httpx import AsyncClient, Response

from denizen.core.accounts import Accounts
from denizen.core.auth import BeyondCaller, Caller, Scope
from denizen.core.events import guard
from denizen.core.ids import new_id
from tests.conftest import MakeKey, MakePerson, Person

EVERY_OTHER = tuple(scope.value for scope in Scope if scope != Scope.AUDIT_READ)
"""All rights of ours but one."""


async def _batch(client: AsyncClient, headers: dict[str, str], *operations: dict[str, Any]) -> list[str | None]:
    answer = await client.post("/users/batch", json={"operations": list(operations)}, headers=headers)
    assert answer.status_code == 200, answer.text
    return [result.get("error", {}).get("code") for result in answer.json()["results"]]


def _changes(person: Person) -> list[tuple[str, str, dict[str, Any] | None]]:
    return [
        ("PATCH", f"/users/{person.id}", {"email": "mine@example.org"}),
        ("PATCH", f"/users/{person.id}", {"username": "mine"}),
        ("PATCH", f"/users/{person.id}", {"is_active": False}),
        ("PATCH", f"/users/{person.id}", {"full_name": "Mine"}),
        ("POST", f"/users/{person.id}/suspend", {"reason": "?"}),
        ("POST", f"/users/{person.id}/unsuspend", None),
        ("DELETE", f"/users/{person.id}", None),
        ("POST", f"/users/{person.id}/restore", None),
        ("DELETE", f"/users/{person.id}?erase=true", None),
        ("PUT", f"/users/{person.id}/roles", {"roles": []}),
        ("DELETE", f"/users/{person.id}/roles/of-{person.username}", None),
    ]


async def _ask(
    client: AsyncClient, change: tuple[str, str, dict[str, Any] | None], headers: dict[str, str]
) -> Response:
    method, path, body = change
    return await client.request(method, path, json=body, headers=headers)


@pytest.mark.parametrize("held", ["audit:read", "*", "notes:write"])
@pytest.mark.parametrize("caller", ["person", "key"])
async def test_who_lacks_one_permission_of_a_person_changes_nothing_of_him(
    client: AsyncClient, make_person: MakePerson, make_key: MakeKey, held: str, caller: str
) -> None:
    """The person holds one permission that the caller lacks, a host's own included."""
    target = await make_person("users:read", held)
    if caller == "person":
        headers = (await make_person(*EVERY_OTHER)).headers
    else:
        headers = await make_key(*(scope for scope in Scope if scope != Scope.AUDIT_READ))
    before = (await client.get(f"/users/{target.id}", headers=headers)).json()

    for change in _changes(target):
        refused = await _ask(client, change, headers)
        assert (refused.status_code, refused.json()["code"]) == (403, "beyond_caller"), change

    assert (await client.get(f"/users/{target.id}", headers=headers)).json() == before
    assert (await client.get("/users/", headers=target.headers)).status_code == 200  # still signed in


async def test_who_holds_as_much_may(client: AsyncClient, make_person: MakePerson) -> None:
    target = await make_person("audit:read", "notes:write")
    equal = await make_person("users:read", "users:write", "roles:write", "audit:read", "notes:write")

    for change in _changes(target)[:-2]:
        assert (await _ask(client, change, equal.headers)).is_success, change


async def test_everything_covers_everybody(client: AsyncClient, make_person: MakePerson) -> None:
    root, other = await make_person(roles=["admin"]), await make_person("anything:at-all", roles=["admin"])

    for change in _changes(other)[:-2]:
        assert (await _ask(client, change, root.headers)).is_success, change


async def test_batch_refuses_whom_it_may_not_change_and_goes_on(client: AsyncClient, make_person: MakePerson) -> None:
    clerk = await make_person("users:read", "users:write")
    above, below = await make_person("audit:read"), await make_person("users:read")
    operations: list[dict[str, Any]] = [
        {"op": "patch", "id": str(above.id), "changes": {"email": "mine@example.org"}},
        {"op": "patch", "id": str(below.id), "changes": {"full_name": "Below"}},
        {"op": "delete", "id": str(above.id)},
        {"op": "create", "user": {"username": "new", "email": "new@example.org"}},
        {"op": "delete", "id": str(below.id)},
    ]

    assert await _batch(client, clerk.headers, *operations) == ["beyond_caller", None, "beyond_caller", None, None]
    assert (await client.get(f"/users/{above.id}", headers=clerk.headers)).status_code == 200


async def test_batch_of_a_key_refuses_whom_it_may_not_change(
    client: AsyncClient, make_person: MakePerson, make_key: MakeKey
) -> None:
    headers = await make_key(Scope.USERS_READ, Scope.USERS_WRITE)
    above, below = await make_person(roles=["admin"]), await make_person("users:read")
    changes = {"changes": {"full_name": "Somebody"}}

    codes = await _batch(
        client,
        headers,
        {"op": "patch", "id": str(above.id), **changes},
        {"op": "patch", "id": str(below.id), **changes},
    )

    assert codes == ["beyond_caller", None]
    assert await _batch(client, headers, {"op": "patch", "id": str(below.id), **changes}) == [None]


async def test_a_thousand_people_are_asked_about_by_one_statement(accounts: Accounts, make_person: MakePerson) -> None:
    above = await make_person("audit:read")
    caller = Caller("key", new_id(), frozenset({"users:write"}))
    statements: list[str] = []

    async with accounts.writing() as db:
        await db.connection()
        accounts.database.observers.append(statements.append)
        await guard(db, caller, [new_id() for _ in range(1000)])
        with pytest.raises(BeyondCaller):
            await guard(db, caller, [*(new_id() for _ in range(999)), above.id])

    assert len(statements) == 2


async def test_changing_a_role_is_no_way_around_the_people_who_have_it(
    client: AsyncClient, make_person: MakePerson
) -> None:
    """Taking a role from somebody who may do more is refused; so is doing it to all who have it. Giving more is not."""
    clerk, below = await make_person("roles:write", "users:read", "users:write"), await make_person()
    root = await make_person(roles=["admin"])
    for name in ("viewer", "other"):
        body = {"name": name, "permissions": ["users:read"]}
        assert (await client.post("/roles/", json=body, headers=root.headers)).status_code == 201
    for person, name in ((root, "viewer"), (clerk, "viewer"), (below, "other"), (clerk, "other")):
        assert (await client.put(f"/users/{person.id}/roles/{name}", headers=root.headers)).status_code == 200

    for answer in (
        await client.delete("/roles/viewer", headers=clerk.headers),
        await client.patch("/roles/viewer", json={"permissions": []}, headers=clerk.headers),
        await client.patch("/roles/viewer", json={"permissions": ["users:write"]}, headers=clerk.headers),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "beyond_caller")
    assert (await client.get("/users/me", headers=root.headers)).status_code == 200
    more = {"permissions": ["users:read", "users:write"], "description": "For all."}
    assert (await client.patch("/roles/viewer", json=more, headers=clerk.headers)).status_code == 200
    assert (await client.delete("/roles/other", headers=clerk.headers)).status_code == 204
