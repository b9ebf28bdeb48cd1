"""Roles are given and taken by those who may do all that the roles, and the people, may."""

from __future__ import annotations

from httpx import AsyncClient

from denizen.core.accounts import Accounts
from denizen.roles.service import permissions_of
from denizen.sessions.models import Session
from tests.conftest import MakePerson, MakeUser


async def _names(client: AsyncClient, person: object, headers: dict[str, str]) -> list[str]:
    answer = await client.get(f"/users/{person}/roles", headers=headers)
    assert answer.status_code == 200, answer.text
    return [each["name"] for each in answer.json()]


async def test_roles_are_given_and_taken(client: AsyncClient, make_person: MakePerson, make_user: MakeUser) -> None:
    root = (await make_person(roles=["admin"])).headers
    for name in ("a", "b", "c"):
        await client.post("/roles/", json={"name": name, "permissions": ["users:read"]}, headers=root)
    user = (await make_user())["id"]

    given = await client.put(f"/users/{user}/roles/b", headers=root)
    assert [each["name"] for each in given.json()] == ["b"]
    again = await client.put(f"/users/{user}/roles/b", headers=root)
    assert (again.status_code, again.json()) == (200, given.json())
    assert [each["name"] for each in (await client.put(f"/users/{user}/roles/a", headers=root)).json()] == ["a", "b"]

    whole = await client.put(f"/users/{user}/roles", json={"roles": ["c", "b"]}, headers=root)
    assert [each["name"] for each in whole.json()] == ["b", "c"]
    assert await _names(client, user, root) == ["b", "c"]

    assert (await client.delete(f"/users/{user}/roles/b", headers=root)).status_code == 204
    gone = await client.delete(f"/users/{user}/roles/b", headers=root)
    assert (gone.status_code, gone.json()["code"]) == (404, "role_not_found")
    assert await _names(client, user, root) == ["c"]


async def test_what_is_not_there_is_a_404(client: AsyncClient, make_person: MakePerson) -> None:
    root = await make_person(roles=["admin"])
    nobody = "019a5c1e-7f00-7a11-8b22-3c33d44e55f6"

    for answer, code in (
        (await client.put(f"/users/{root.id}/roles/none", headers=root.headers), "role_not_found"),
        (await client.put(f"/users/{root.id}/roles/a%00", headers=root.headers), "role_not_found"),
        (await client.put(f"/users/{root.id}/roles", json={"roles": ["none"]}, headers=root.headers), "role_not_found"),
        (await client.delete(f"/users/{root.id}/roles/none", headers=root.headers), "role_not_found"),
        (await client.put(f"/users/{nobody}/roles/admin", headers=root.headers), "user_not_found"),
        (await client.put(f"/users/{nobody}/roles", json={"roles": []}, headers=root.headers), "user_not_found"),
        (await client.delete(f"/users/{nobody}/roles/admin", headers=root.headers), "user_not_found"),
        (await client.get(f"/users/{nobody}/roles", headers=root.headers), "user_not_found"),
        (await client.get("/users/17/roles", headers=root.headers), "user_not_found"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, code)


async def test_people_see_their_own_roles_and_nobody_elses(client: AsyncClient, make_person: MakePerson) -> None:
    one, other = await make_person("notes:write"), await make_person("notes:read")

    assert await _names(client, one.id, one.headers) == [f"of-{one.username}"]
    hidden = await client.get(f"/users/{other.id}/roles", headers=one.headers)
    assert (hidden.status_code, hidden.json()["code"]) == (404, "user_not_found")


async def test_permissions_are_the_union_and_count_at_once(client: AsyncClient, make_person: MakePerson) -> None:
    root, helper = await make_person(roles=["admin"]), await make_person("users:read")
    await client.post("/roles/", json={"name": "keeper", "permissions": ["roles:write"]}, headers=root.headers)
    assert (await client.post("/roles/", json={}, headers=helper.headers)).status_code == 403

    await client.put(f"/users/{helper.id}/roles/keeper", headers=root.headers)

    assert (await client.post("/roles/", json={}, headers=helper.headers)).status_code == 422
    assert (await client.get("/users/", headers=helper.headers)).status_code == 200


async def test_sign_ins_end_when_a_role_is_taken(
    client: AsyncClient, make_person: MakePerson, accounts: Accounts
) -> None:
    """Sessions dead at once after role removal, by either way of removing; a role that is given ends none."""
    root = (await make_person(roles=["admin"])).headers
    await client.post("/roles/", json={"name": "extra", "permissions": []}, headers=root)
    one, other, stays = (
        await make_person("users:read"),
        await make_person("users:read"),
        await make_person("users:read"),
    )

    await client.put(f"/users/{stays.id}/roles/extra", headers=root)
    await client.delete(f"/users/{one.id}/roles/of-{one.username}", headers=root)
    await client.put(f"/users/{other.id}/roles", json={"roles": ["extra"]}, headers=root)

    assert (await client.get("/users/", headers=stays.headers)).status_code == 200
    for person in (one, other):
        assert (await client.get("/users/", headers=person.headers)).status_code == 401
    async with accounts.database.read.session() as db:
        assert await db.get(Session, one.id) is None


async def test_nobody_gives_or_takes_what_he_lacks(client: AsyncClient, make_person: MakePerson) -> None:
    root = (await make_person(roles=["admin"])).headers
    await client.post("/roles/", json={"name": "auditor", "permissions": ["audit:read"]}, headers=root)
    await client.post("/roles/", json={"name": "reader", "permissions": ["users:read"]}, headers=root)
    clerk, person = await make_person("roles:write", "users:read"), await make_person()
    auditor = await make_person(roles=["auditor", "reader"])

    for answer in (
        await client.put(f"/users/{person.id}/roles/auditor", headers=clerk.headers),
        await client.put(f"/users/{person.id}/roles", json={"roles": ["reader", "admin"]}, headers=clerk.headers),
        await client.put(f"/users/{clerk.id}/roles/admin", headers=clerk.headers),
        await client.put(f"/users/{clerk.id}/roles/auditor", headers=clerk.headers),
        # What the person may do counts, not only what the role allows.
        await client.put(f"/users/{auditor.id}/roles/reader", headers=clerk.headers),
        await client.delete(f"/users/{auditor.id}/roles/reader", headers=clerk.headers),
        await client.delete(f"/users/{auditor.id}/roles/auditor", headers=clerk.headers),
        await client.put(f"/users/{auditor.id}/roles", json={"roles": []}, headers=clerk.headers),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "beyond_caller"), answer.request.url
    assert await _names(client, person.id, root) == []
    assert await _names(client, auditor.id, root) == ["auditor", "reader"]

    assert (await client.put(f"/users/{person.id}/roles/reader", headers=clerk.headers)).status_code == 200


async def test_nobody_sets_his_own_roles_without_the_right(client: AsyncClient, make_person: MakePerson) -> None:
    person = await make_person("users:read", "users:write")

    for answer in (
        await client.put(f"/users/{person.id}/roles", json={"roles": []}, headers=person.headers),
        await client.put(f"/users/{person.id}/roles/of-{person.username}", headers=person.headers),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing")


async def test_nobody_has_more_than_fifty_roles(client: AsyncClient, make_person: MakePerson) -> None:
    root = await make_person(roles=["admin"])
    names = [f"r{number}" for number in range(51)]
    for name in names:
        await client.post("/roles/", json={"name": name, "permissions": []}, headers=root.headers)

    assert (await client.put(f"/users/{root.id}/roles", json={"roles": names}, headers=root.headers)).status_code == 422
    person = await make_person(roles=names[:50])
    refused = await client.put(f"/users/{person.id}/roles/r50", headers=root.headers)
    assert (refused.status_code, refused.json()["field"]) == (422, "roles")


async def test_permissions_of_many_people_are_told_apart(accounts: Accounts, make_person: MakePerson) -> None:
    one, other = await make_person("users:read", roles=["admin"]), await make_person()

    async with accounts.database.read.session() as db:
        found = await permissions_of(db, [one.id, other.id])

    assert found == {one.id: {"users:read", "*"}, other.id: frozenset()}
