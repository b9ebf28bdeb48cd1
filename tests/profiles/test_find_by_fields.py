"""Accounts are found by the values of their own fields: exactly those that have them, whatever became of them since."""

from __future__ import annotations

from typing import Any

import pytest
from httpx import AsyncClient

from denizen.core.accounts import Accounts
from denizen.directory.service import ChangeOfMany
from denizen.profiles.crud import store_values
from denizen.users.models import User
from denizen.users.schemas import UserUpdate
from tests.conftest import MakeUser
from tests.profiles.conftest import SALES


async def names(client: AsyncClient, **asked: Any) -> list[str]:
    answer = await client.get("/users/", params={f"profile.{name}": value for name, value in asked.items()})
    assert answer.status_code == 200, answer.text
    return [each["username"] for each in answer.json()]


async def test_every_kind_of_value_finds_exactly_those_who_have_it(admin: AsyncClient, make_user: MakeUser) -> None:
    long = "x" * 2000
    await make_user(username="ada", profile={**SALES, "badge": 5, "height": 5, "newsletter": True, "level": "senior"})
    await make_user(username="bob", profile={"department": "5", "badge": 50, "height": 1.5})
    await make_user(username="cid", profile={"department": long, "height": -0.0, "badge": 10**15})
    await make_user(username="dot", profile={"department": long[1:] + "y", "clearance": None})

    assert await names(admin, department="sales") == ["ada"]
    assert await names(admin, department="Sales") == []
    assert await names(admin, department="5") == ["bob"]
    assert await names(admin, department=long) == ["cid"]
    assert await names(admin, badge="5") == ["ada"]
    assert await names(admin, badge="1000000000000000") == ["cid"]
    assert await names(admin, height="5") == ["ada"]
    assert await names(admin, height="5.0") == ["ada"]
    assert await names(admin, height="0") == ["cid"]
    assert await names(admin, newsletter="true") == ["ada"]
    assert await names(admin, newsletter="false") == ["bob", "cid", "dot"]
    assert await names(admin, level="senior", newsletter="true", department="sales") == ["ada"]
    assert await names(admin, level="senior", newsletter="false") == []


async def test_what_is_found_follows_what_is_changed_deleted_and_restored(
    admin: AsyncClient, make_user: MakeUser
) -> None:
    made = await make_user(username="ada", profile={**SALES, "badge": 5})
    path = f"/users/{made['id']}"

    await admin.patch(path, json={"profile": {"department": "support", "badge": None}})
    assert (await names(admin, department="sales"), await names(admin, badge="5")) == ([], [])
    assert await names(admin, department="support") == ["ada"]
    await admin.delete(path)
    assert await names(admin, department="support") == []
    await admin.post(f"{path}/restore")
    assert await names(admin, department="support") == ["ada"]
    await admin.delete(path, params={"erase": "true"})
    assert await names(admin, department="support") == []
    # What an erased account was found by is gone with it.
    again = await make_user(username="ada", profile={"department": "support"})
    assert again["id"] != made["id"]
    assert await names(admin, department="support") == ["ada"]


async def test_pages_and_counts_are_of_those_who_match(admin: AsyncClient, make_user: MakeUser) -> None:
    for number in range(7):
        await make_user(username=f"u{number}", profile={"department": "sales" if number % 2 else "support"})
    await make_user(username="gone", profile=SALES, email="gone@example.org")
    [gone] = (await admin.get("/users/", params={"username": "gone"})).json()
    await admin.delete(f"/users/{gone['id']}")
    await admin.patch(
        f"/users/{(await admin.get('/users/', params={'username': 'u5'})).json()[0]['id']}", json={"is_active": False}
    )

    asked = {"profile.department": "sales", "limit": "2", "order_by": "-id", "count": "exact"}
    first = await admin.get("/users/", params=asked)
    second = await admin.get(first.headers["link"].partition(">")[0][1:])
    active = await admin.get("/users/", params={"profile.department": "sales", "is_active": "true", "count": "exact"})
    skipped = await admin.get("/users/", params={"profile.department": "support", "skip": "3"})

    assert [[each["username"] for each in page.json()] for page in (first, second)] == [["u5", "u3"], ["u1"]]
    assert first.headers["x-total-count"] == "3"
    assert ([each["username"] for each in active.json()], active.headers["x-total-count"]) == (["u1", "u3"], "2")
    assert [each["username"] for each in skipped.json()] == ["u6"]


async def test_goes_with_what_leaves_few_in_any_order_and_else_by_id(admin: AsyncClient, make_user: MakeUser) -> None:
    made = await make_user(username="ada", profile={**SALES, "badge": 1})
    await make_user(username="eve", profile={**SALES, "badge": 2})

    few = await admin.get(
        "/users/",
        params={"username": "ADA", "profile.department": "sales", "order_by": "-created_at", "count": "exact"},
    )
    none = await admin.get("/users/", params={"id__in": made["id"], "profile.badge": "2", "order_by": "email"})
    refused = [
        await admin.get("/users/", params={"profile.department": "sales", **more})
        for more in ({"order_by": "username"}, {"created_at__gte": "2020-01-01T00:00:00Z"}, {"q": "ada"})
    ]

    assert ([each["username"] for each in few.json()], few.headers["x-total-count"]) == (["ada"], "1")
    assert none.json() == []
    assert [each.json()["code"] for each in refused] == ["listing_unsupported"] * 3


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_what_cannot_be_asked_is_refused_and_never_left_out(admin: AsyncClient, make_user: MakeUser) -> None:
    await make_user(profile=SALES)

    async def refusal(name: str, value: str = "x") -> tuple[int, str]:
        answer = await admin.get("/users/", params=[(f"profile.{name}", value)])
        return answer.status_code, answer.json()["code"]

    assert await refusal("nickname") == (422, "unknown_parameter")
    assert await refusal("tags") == (422, "unknown_parameter")
    assert await refusal("address") == (422, "unknown_parameter")
    assert await refusal("level", "wizard") == (422, "profile_invalid")
    assert await refusal("badge", "five") == (422, "profile_invalid")
    assert await refusal("badge", "") == (422, "profile_invalid")
    assert await refusal("newsletter", "1") == (422, "profile_invalid")
    assert await refusal("department", "a\x00b") == (422, "profile_invalid")
    near = await admin.get("/users/", params={"profile.departmen": "x"})
    assert near.json()["detail"].endswith("Did you mean profile.department?")
    twice = await admin.get("/users/?profile.badge=1&profile.badge=2")
    assert twice.json()["code"] == "repeated_parameter"
    elsewhere = await admin.get("/keys/", params={"profile.badge": "1"})
    assert elsewhere.json()["code"] == "unknown_parameter"


async def test_export_is_of_those_who_match(admin: AsyncClient, make_user: MakeUser) -> None:
    await make_user(username="ada", profile=SALES)
    await make_user(username="eve", profile={"department": "support"})

    answer = await admin.get("/users/export", params={"profile.department": "support", "format": "csv"})

    assert answer.status_code == 200, answer.text
    assert "eve@" in answer.text or "eve" in answer.text
    assert "ada" not in answer.text


async def test_all_who_match_are_changed(accounts: Accounts, admin: AsyncClient, make_user: MakeUser) -> None:
    for number in range(3):
        await make_user(username=f"u{number}", profile={**SALES, "badge": number % 2})

    values = {"profile": {"badge": 0}}
    for expected in ((2, 2, 0), (2, 0, 2)):
        change = ChangeOfMany(accounts, values, UserUpdate(profile={"newsletter": True}))
        await change.count()
        assert [refused async for _, refused in change.steps()] == [[]]
        assert (change.tally.matched, change.tally.changed, change.tally.unchanged) == expected

    assert await names(admin, newsletter="true") == ["u0", "u2"]


async def test_rows_stored_in_bulk_are_found_once_their_values_are(accounts: Accounts, admin: AsyncClient) -> None:
    at = accounts.clock()
    people = [
        User(
            email=f"{n}@example.org",
            email_key=f"{n}@example.org",
            profile={**SALES, "badge": n},
            created_at=at,
            updated_at=at,
        )
        for n in range(40)
    ]
    async with accounts.writing() as db:
        db.add_all(people)
        await db.flush()
        await store_values(db, [(each.id, each.profile) for each in people], replace=False)
        await store_values(db, [(str(people[3].id), people[3].profile)], replace=True)

    assert len((await admin.get("/users/", params={"profile.department": "sales", "limit": "100"})).json()) == 40
    assert len((await admin.get("/users/", params={"profile.badge": "3"})).json()) == 1
