"""Roles are defined, changed and deleted by those who may do all that the roles allow."""

from __future__ import annotations

from typing import Any

import pytest
from httpx import AsyncClient

from denizen.core.auth import SCOPES, Scope
from tests.conftest import MakeKey, MakePerson

SUPPORT = {"name": "support", "description": "Helps people out.", "permissions": ["users:read", "notes:write"]}


async def test_role_lives_from_create_to_delete(admin: AsyncClient) -> None:
    made = await admin.post("/roles/", json={**SUPPORT, "permissions": ["users:read", "audit:read"]})

    assert made.status_code == 201
    role = made.json()
    assert made.headers["location"].endswith("/roles/support")
    assert role["permissions"] == ["audit:read", "users:read"]
    assert role["is_built_in"] is False
    for which in ("support", role["id"], role["id"].upper()):
        assert (await admin.get(f"/roles/{which}")).json() == role
    assert [each["name"] for each in (await admin.get("/roles/")).json()] == ["admin", "support"]

    changed = await admin.patch("/roles/support", json={"name": "helpers", "permissions": []})
    assert changed.status_code == 200
    assert changed.json()["description"] == "Helps people out."
    assert (changed.json()["name"], changed.json()["permissions"]) == ("helpers", [])

    assert (await admin.delete(f"/roles/{role['id']}")).status_code == 204
    for method in ("GET", "PATCH", "DELETE"):
        gone = await admin.request(method, "/roles/helpers", json={} if method == "PATCH" else None)
        assert (gone.status_code, gone.json()["code"]) == (404, "role_not_found")


async def test_every_name_in_a_path_that_is_no_role_is_a_404(admin: AsyncClient) -> None:
    for name in ("nobody", "Admin", "a%00b", "%F0%9F%98%80", "x" * 500, "019a5c1e-7f00-7a11-8b22-3c33d44e55f6"):
        assert (await admin.get(f"/roles/{name}")).json()["code"] == "role_not_found"
        assert (await admin.delete(f"/roles/{name}")).json()["code"] == "role_not_found"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "Support"}, "name"),
        ({"name": "1st"}, "name"),
        ({"name": "a" * 65}, "name"),
        ({"name": ""}, "name"),
        ({"name": "a1234567-0000-7000-8000-000000000001"}, "name"),
        ({"permissions": ["users:fly"]}, "permissions.0"),
        ({"permissions": ["notes"]}, "permissions.0"),
        ({"permissions": ["Notes:Write"]}, "permissions.0"),
        ({"permissions": ["**"]}, "permissions.0"),
        ({"permissions": ["a:" + "b" * 63]}, "permissions.0"),
        ({"is_built_in": True}, "is_built_in"),
        ({"id": "019a5c1e-7f00-7a11-8b22-3c33d44e55f6"}, "id"),
    ],
)
async def test_malformed_role_is_refused(admin: AsyncClient, body: dict[str, Any], field: str) -> None:
    refused = await admin.post("/roles/", json={"name": "fine", "permissions": [], **body})

    assert refused.status_code == 422
    assert refused.json()["field"] == field
    assert len((await admin.get("/roles/")).json()) == 1


async def test_two_roles_of_one_name_are_refused(client: AsyncClient, make_person: MakePerson) -> None:
    root = (await make_person(roles=["admin"])).headers
    await client.post("/roles/", json=SUPPORT, headers=root)
    await client.post("/roles/", json={**SUPPORT, "name": "other"}, headers=root)

    again = await client.post("/roles/", json=SUPPORT, headers=root)
    renamed = await client.patch("/roles/other", json={"name": "support"}, headers=root)

    assert [each.status_code for each in (again, renamed)] == [409, 409]
    assert again.json()["code"] == renamed.json()["code"] == "role_name_taken"


async def test_admin_is_neither_changed_nor_deleted(client: AsyncClient, make_person: MakePerson) -> None:
    root = (await make_person(roles=["admin"])).headers

    for answer in (
        await client.patch("/roles/admin", json={"permissions": []}, headers=root),
        await client.patch("/roles/admin", json={"description": "Me."}, headers=root),
        await client.delete("/roles/admin", headers=root),
    ):
        assert (answer.status_code, answer.json()["code"]) == (409, "role_built_in")
    assert (await client.get("/roles/admin", headers=root)).json()["permissions"] == ["*"]


async def test_nobody_defines_a_role_that_allows_what_he_may_not_do(
    client: AsyncClient, make_person: MakePerson
) -> None:
    root = (await make_person(roles=["admin"])).headers
    await client.post("/roles/", json=SUPPORT, headers=root)
    await client.post("/roles/", json={"name": "small", "permissions": ["users:read"]}, headers=root)
    clerk = (await make_person("roles:write", "users:read")).headers

    for answer in (
        await client.post("/roles/", json={"name": "mine", "permissions": ["audit:read"]}, headers=clerk),
        await client.post("/roles/", json={"name": "mine", "permissions": ["*"]}, headers=clerk),
        await client.post("/roles/", json={"name": "mine", "permissions": ["notes:write"]}, headers=clerk),
        await client.patch("/roles/small", json={"permissions": ["users:read", "audit:read"]}, headers=clerk),
        await client.patch("/roles/support", json={"permissions": []}, headers=clerk),
        await client.patch("/roles/support", json={"name": "other"}, headers=clerk),
        await client.delete("/roles/support", headers=clerk),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "beyond_caller")
    allowed = await client.patch("/roles/small", json={"permissions": ["roles:write"]}, headers=clerk)
    assert allowed.status_code == 200


async def test_permissions_change_at_once_and_sign_ins_end_where_there_are_fewer(
    client: AsyncClient, make_person: MakePerson
) -> None:
    """Sessions are dead at once after a role of theirs allows less; more is theirs at once."""
    root = (await make_person(roles=["admin"])).headers
    await client.post("/roles/", json={"name": "support", "permissions": []}, headers=root)
    helper = (await make_person(roles=["support"])).headers
    assert (await client.get("/users/", headers=helper)).status_code == 403

    await client.patch("/roles/support", json={"permissions": ["users:read", "audit:read"]}, headers=root)
    assert (await client.get("/users/", headers=helper)).status_code == 200

    await client.patch("/roles/support", json={"permissions": ["users:read"]}, headers=root)
    assert (await client.get("/users/", headers=helper)).status_code == 401


async def test_sign_ins_end_with_the_role(client: AsyncClient, make_person: MakePerson) -> None:
    root = (await make_person(roles=["admin"])).headers
    await client.post("/roles/", json=SUPPORT, headers=root)
    helper = await make_person(roles=["support"])
    bystander = await make_person("users:read")

    assert (await client.delete("/roles/support", headers=root)).status_code == 204

    assert (await client.get("/users/", headers=helper.headers)).status_code == 401
    assert (await client.get("/users/", headers=bystander.headers)).status_code == 200
    assert (await client.get(f"/users/{helper.id}/roles", headers=root)).json() == []


async def test_who_sees_roles(client: AsyncClient, make_person: MakePerson, make_key: MakeKey) -> None:
    reader, nobody = await make_person("users:read"), await make_person()

    for headers, status in (
        (reader.headers, 200),
        (await make_key(Scope.ROLES_WRITE), 200),
        (await make_key(Scope.KEYS_WRITE), 403),
        (nobody.headers, 403),
        ({}, 401),
    ):
        assert (await client.get("/roles/", headers=headers)).status_code == status
    own = await make_person("notes:write")
    assert (await client.get(f"/roles/of-{own.username}", headers=own.headers)).status_code == 200
    assert (await client.get("/roles/admin", headers=own.headers)).status_code == 404
    assert (await client.get("/roles/admin", headers=reader.headers)).status_code == 200
    assert (await client.get("/roles/admin", headers=await make_key(Scope.KEYS_WRITE))).status_code == 404


async def test_permissions_are_listed_with_their_meanings(client: AsyncClient, make_person: MakePerson) -> None:
    listed = await client.get("/permissions", headers=(await make_person()).headers)

    assert {each["name"]: each["meaning"] for each in listed.json()} == SCOPES
