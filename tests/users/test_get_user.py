from __future__ import annotations

from typing import Any

from httpx import AsyncClient

from denizen.core.accounts import Accounts
from denizen.core.auth import Scope
from denizen.core.ids import new_id
from tests.conftest import MakeKey, MakeUser

ELSEWHERE = [
    "7",
    "0",
    "-1",
    "9" * 40,
    "019a5c1e7f007a118b223c33d44e55f6",
    "{019a5c1e-7f00-7a11-8b22-3c33d44e55f6}",
    "urn:uuid:019a5c1e-7f00-7a11-8b22-3c33d44e55f6",
    "019a5c1e-7f00-4a11-8b22-3c33d44e55f6",
    "00000000-0000-0000-0000-000000000000",
    "019a5c1e-7f00-7a11-8b22-3c33d44e55f",
    "019a5c1e-7f00-7a11-8b22-3c33d44e55f6%00",
    "%F0%9F%99%82",
    "019a5c1e-7f00-7a11-8b22-3c33d44e55f6%0A",
]
"""Ids that are none of ours."""


async def test_answer_is_the_account_with_its_version(admin: AsyncClient, make_user: MakeUser) -> None:
    made = await make_user(full_name="🙂 Ada")

    answer = await admin.get(f"/users/{made['id']}")
    shouted = await admin.get(f"/users/{made['id'].upper()}")

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["etag"] == '"1"'
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json() == shouted.json() == made
    assert not {"password", "hashed_password", "email_key", "username_key"} & answer.json().keys()


async def test_id_of_nobody_is_not_found_whatever_its_shape(admin: AsyncClient, make_user: MakeUser) -> None:
    await make_user()

    for user_id in (str(new_id()), *ELSEWHERE):
        for method in ("GET", "PATCH", "DELETE"):
            answer = await admin.request(method, f"/users/{user_id}", json={} if method == "PATCH" else None)

            problem = answer.json()
            assert (answer.status_code, problem["code"]) == (404, "user_not_found"), user_id
            assert problem["detail"] == "User not found"
            assert answer.headers["content-type"] == "application/problem+json"


async def test_reading_needs_the_right_to(client: AsyncClient, make_user: MakeUser, make_key: MakeKey) -> None:
    made = await make_user()
    path = f"/users/{made['id']}"

    anybody = await client.get(path)
    writer = await client.get(path, headers=await make_key(Scope.USERS_WRITE))
    of_nobody = await client.get("/users/7")
    reader = await client.get(path, headers=await make_key(Scope.USERS_READ))

    assert (anybody.status_code, anybody.headers["www-authenticate"]) == (401, "Bearer")
    assert (writer.status_code, writer.json()["code"]) == (403, "scope_missing")
    assert of_nobody.status_code == 401
    assert reader.json() == made


async def test_reading_is_two_statements_and_no_write(
    admin: AsyncClient, make_user: MakeUser, accounts: Accounts
) -> None:
    made = await make_user()
    ran: list[str] = []
    accounts.database.observers.append(ran.append)

    await admin.get(f"/users/{made['id']}")
    await admin.get("/users/")

    assert [statement.split()[0] for statement in ran] == ["SELECT"] * 4
    assert ["denizen_keys" in statement for statement in ran] == [True, False, True, False]


async def test_what_is_not_taken_is_refused(admin: AsyncClient, make_user: MakeUser) -> None:
    path = f"/users/{(await make_user())['id']}"

    unknown: dict[str, Any] = (await admin.get(path, params={"fields": "id"})).json()
    assert (unknown["status"], unknown["code"]) == (422, "unknown_parameter")
    for method in ("PUT", "POST", "OPTIONS"):
        answer = await admin.request(method, path)
        assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
        assert {"GET", "PATCH", "DELETE"} <= set(answer.headers["allow"].split(", "))
    assert (await admin.get(f"{path}/")).status_code == 404
