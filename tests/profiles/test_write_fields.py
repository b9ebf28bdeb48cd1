"""Own fields are judged at every write, whoever writes; who may set what; and what is told of a change."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from httpx import AsyncClient

from denizen.core.accounts import Accounts
from denizen.core.profiles import ProfileInvalid
from denizen.users.crud import get_user
from denizen.users.schemas import UserUpdate
from denizen.users.service import change_user, create_account
from tests.conftest import MakeKey, MakePerson, MakeUser
from tests.profiles.conftest import SALES, Profile

WHOLE: dict[str, Any] = {
    "department": "sales",
    "level": "junior",
    "badge": None,
    "height": None,
    "newsletter": False,
    "clearance": None,
    "address": None,
    "tags": [],
}


def codes(answer: Any) -> list[tuple[str, str]]:
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, "profile_invalid"), problem
    return [(each["field"], each["code"]) for each in problem["errors"]]


async def test_profile_is_stored_with_its_defaults_and_shown_wherever_the_account_is(
    admin: AsyncClient, make_user: MakeUser
) -> None:
    made = await make_user(profile={**SALES, "badge": 7, "address": {"street": "Elm Street 1"}, "tags": ["a", "b"]})

    expected = {**WHOLE, "badge": 7, "address": {"street": "Elm Street 1", "city": None}, "tags": ["a", "b"]}
    assert made["profile"] == expected
    assert (await admin.get(f"/users/{made['id']}")).json()["profile"] == expected
    [listed] = (await admin.get("/users/")).json()
    assert listed["profile"] == expected
    # The type reads what was stored.
    assert Profile.model_validate(made["profile"]).address is not None


async def test_what_the_profile_does_not_allow_is_refused_field_by_field(
    client: AsyncClient, make_user: MakeUser, admin: AsyncClient
) -> None:
    body = {"username": "ada", "email": "ada@example.org", "password": "correct horse battery"}

    missing = await client.post("/users/", json=body)
    wrong = await client.post(
        "/users/",
        json={**body, "profile": {"department": 5, "level": "wizard", "address": {"city": "X"}}},
    )
    unknown = await client.post("/users/", json={**body, "profile": {**SALES, "nickname": "Ada"}})
    unstorable = await client.post("/users/", json={**body, "profile": {"department": "a\x00b"}})
    large = await client.post("/users/", json={**body, "profile": {**SALES, "tags": ["x" * 1000] * 17}})

    assert codes(missing) == [("profile.department", "missing")]
    assert codes(wrong) == [
        ("profile.department", "string_type"),
        ("profile.level", "enum"),
        ("profile.address.street", "missing"),
    ]
    assert codes(unknown) == [("profile.nickname", "extra_forbidden")]
    assert codes(unstorable) == [("profile.department", "string_unacceptable")]
    assert large.json()["detail"] == "profile: takes more than 16 KiB."
    assert "wizard" not in wrong.text
    assert (await admin.get("/users/")).json() == []


async def test_change_sets_what_it_names_and_null_empties(admin: AsyncClient, make_user: MakeUser) -> None:
    made = await make_user(profile={**SALES, "badge": 7, "level": "senior", "tags": ["a"]})
    path = f"/users/{made['id']}"

    changed = await admin.patch(path, json={"profile": {"badge": None, "level": None, "tags": ["b"], "clearance": 3}})
    same = await admin.patch(path, json={"full_name": "Ada"})
    refused = await admin.patch(path, json={"profile": {"department": None}})

    assert changed.json()["profile"] == {**WHOLE, "tags": ["b"], "clearance": 3}
    assert same.json()["profile"] == changed.json()["profile"]
    assert codes(refused) == [("profile.department", "missing")]


async def test_owner_sets_all_but_what_is_read_only(
    client: AsyncClient, make_person: MakePerson, make_user: MakeUser
) -> None:
    person = await make_person(profile={**SALES, "clearance": 1})

    changed = await client.patch("/users/me", headers=person.headers, json={"profile": {"badge": 5}})
    refused = await client.patch("/users/me", headers=person.headers, json={"profile": {"clearance": 9}})
    signing_up = await client.post(
        "/users/",
        json={
            "username": "eve",
            "email": "eve@example.org",
            "password": "correct horse battery",
            "profile": {**SALES, "clearance": 9},
        },
    )

    assert (changed.json()["profile"]["badge"], changed.json()["profile"]["clearance"]) == (5, 1)
    assert codes(refused) == [("profile.clearance", "read_only")]
    assert codes(signing_up) == [("profile.clearance", "read_only")]


async def test_administrator_cannot_set_his_own_read_only_fields(client: AsyncClient, make_person: MakePerson) -> None:
    person = await make_person("users:write", profile=SALES)

    refused = await client.patch(f"/users/{person.id}", headers=person.headers, json={"profile": {"clearance": 9}})

    assert codes(refused) == [("profile.clearance", "read_only")]


async def test_batch_judges_each_profile_alone(admin: AsyncClient) -> None:
    def create(name: str, profile: dict[str, Any]) -> dict[str, Any]:
        return {"op": "create", "user": {"username": name, "email": f"{name}@example.org", "profile": profile}}

    answer = await admin.post(
        "/users/batch",
        json={"operations": [create("ada", SALES), create("eve", {}), create("bob", {**SALES, "badge": 2})]},
    )
    results = answer.json()["results"]
    patched = await admin.post(
        "/users/batch",
        json={"operations": [{"op": "patch", "id": results[0]["id"], "changes": {"profile": {"badge": 2}}}]},
    )

    assert [each["status"] for each in results] == [201, 422, 201]
    assert patched.json()["results"][0]["status"] == 200
    found = (await admin.get("/users/", params={"profile.badge": "2"})).json()
    assert [each["username"] for each in found] == ["ada", "bob"]


async def test_code_may_leave_a_profile_for_later_and_then_gives_a_whole_one(accounts: Accounts) -> None:
    async with accounts.writing() as db:
        user = await create_account(accounts, db, username="ada", email=None)
        given = await create_account(accounts, db, username="eve", email=None, profile={**SALES, "clearance": 2})
    assert (user.profile, given.profile) == ({}, {**WHOLE, "clearance": 2})

    async with accounts.writing() as db:
        with pytest.raises(ProfileInvalid):
            await change_user(db, user.id, UserUpdate(profile={"badge": 1}), versions=None, at=accounts.clock())
        change = UserUpdate(profile={**SALES, "badge": 1})
        await change_user(db, user.id, change, versions=None, at=accounts.clock())

    async with accounts.database.read.session() as db:
        assert (await get_user(db, user.id)).profile == {**WHOLE, "badge": 1}


async def test_audit_tells_what_changed_of_it_and_no_more(admin: AsyncClient, make_user: MakeUser) -> None:
    made = await make_user(profile={**SALES, "badge": 7, "newsletter": True})

    await admin.patch(f"/users/{made['id']}", json={"profile": {"badge": 8, "newsletter": True}})

    [entry] = (await admin.get("/audit", params={"action": "user.updated"})).json()
    assert entry["facts"]["fields"] == ["profile"]
    assert entry["personal"]["before"] == {"profile": {"badge": 7}}
    assert entry["personal"]["after"] == {"profile": {"badge": 8}}
    await admin.delete(f"/users/{made['id']}", params={"erase": "true"})
    assert "badge" not in (await admin.get("/audit")).text


async def test_person_takes_his_own_fields_out_with_all_else(accounts: Accounts, make_user: MakeUser) -> None:
    made = await make_user(profile=SALES)

    [account] = [each for each in accounts.holdings if each.name == "account"]
    async with accounts.database.read.session() as db:
        told = await account.read(db, UUID(made["id"]))

    assert told["profile"] == WHOLE


async def test_whoever_registers_or_was_asked_in_gives_his_own_but_what_is_read_only(
    client: AsyncClient, make_key: MakeKey
) -> None:
    ada = {"username": "ada", "email": "ada@example.org", "password": "correct horse battery"}
    asked = await client.post("/invitations/", json={}, headers=await make_key())
    eve = {
        "token": (asked.json()["link"] or "").partition("?token=")[2],
        "username": "eve",
        "password": ada["password"],
    }

    refused = [
        await client.post("/auth/register", json=ada),
        await client.post("/auth/register", json={**ada, "profile": {**SALES, "clearance": 1}}),
        await client.post("/auth/accept-invitation", json={**eve, "profile": {**SALES, "clearance": 1}}),
    ]
    made = await client.post("/auth/register", json={**ada, "profile": SALES})
    accepted = await client.post("/auth/accept-invitation", json={**eve, "profile": SALES})
    found = await client.get("/users/", params={"profile.department": "sales"}, headers=await make_key())

    assert [codes(answer)[0][1] for answer in refused] == ["missing", "read_only", "read_only"]
    assert (made.status_code, accepted.status_code) == (201, 201)
    assert sorted(each["username"] for each in found.json()) == ["ada", "eve"]
