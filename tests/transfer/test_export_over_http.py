"""GET /users/export: who may, which accounts, in which form."""

from __future__ import annotations

import csv
import json
from typing import Any
from urllib.parse import urlencode

import pytest
from httpx import AsyncClient, Response

from denizen.core.accounts import Accounts
from denizen.core.auth import Scope
from denizen.transfer.schemas import EXPORTED
from denizen.transfer.service import EXPORT_BATCH
from tests.conftest import Clock, MakeKey, MakeUser
from tests.transfer.conftest import HASH, BringIn, crowd

PATH = "/users/export"
PEOPLE = f"""username,email,external_id,is_active,created_at,updated_at,hashed_password
ada,ada@example.org,crm-1,true,2026-01-01T00:00:00Z,2026-03-01T00:00:00Z,"{HASH}"
bob,,crm-2,false,2026-01-02T00:00:00Z,2026-02-01T00:00:00Z,
,eve@example.org,,true,2026-01-03T00:00:00Z,2026-01-04T00:00:00Z,
"""


@pytest.fixture
async def ids(bring_in: BringIn) -> list[str]:
    return [str(result.id) for result in await bring_in(PEOPLE)]


def people(answer: Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


async def test_all_accounts_come_as_ndjson(admin: AsyncClient, make_user: MakeUser) -> None:
    made = [await make_user(full_name=name) for name in ("Ada 👑", "=1+1", "\u2028")]

    answer = await admin.get(PATH)

    assert [json.loads(line) for line in answer.content.decode().split("\n")[:-1]] == made
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.headers["content-disposition"] == 'attachment; filename="users-2026-01-31.ndjson"'
    assert answer.headers["cache-control"] == "no-store"
    assert "content-length" not in answer.headers


async def test_csv_has_a_header_and_no_formulas(admin: AsyncClient, make_user: MakeUser) -> None:
    await make_user(full_name="=cmd|'/c calc'!A1")

    answer = await admin.get(PATH, params={"format": "csv"})

    header, row = csv.reader(answer.text.splitlines())
    assert header == list(EXPORTED)
    assert row[header.index("full_name")] == "'=cmd|'/c calc'!A1"
    assert answer.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    assert answer.headers["content-disposition"] == 'attachment; filename="users-2026-01-31.csv"'


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("*/*", "ndjson"),
        ("application/json", "ndjson"),
        ("text/csv", "csv"),
        ("Text/CSV; header=present; q=0.5, */*;q=0.1", "csv"),
        ("text/csv;q=0.5, application/x-ndjson", "ndjson"),
        ("text/csv;q=0.9, application/x-ndjson;q=0.3", "csv"),
        ("text/csv;q=0", "ndjson"),
        ("text/csv;q=nan, ;;,=,", "ndjson"),
    ],
)
@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_accept_chooses_where_nothing_else_does(admin: AsyncClient, accept: str, form: str) -> None:
    answer = await admin.get(PATH, headers={"Accept": accept})
    asked = await admin.get(PATH, headers={"Accept": accept}, params={"format": "csv"})

    assert answer.headers["content-disposition"].endswith(f'.{form}"')
    assert asked.headers["content-type"].startswith("text/csv")
    assert answer.headers["vary"] == "Accept"


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, [0, 1, 2]),
        ({"is_active": "true"}, [0, 2]),
        ({"is_active": "false"}, [1]),
        ({"email": "ADA@Example.org"}, [0]),
        ({"username": "BOB"}, [1]),
        ({"external_id": "crm-2"}, [1]),
        ({"external_id": "crm-2", "is_active": "true"}, []),
        ({"created_at__gte": "2026-01-02T00:00:00Z"}, [1, 2]),
        ({"created_at__gt": "2026-01-01T00:00:00Z", "created_at__lt": "2026-01-03T00:00:00Z"}, [1]),
        ({"updated_at__lte": "2026-02-01T01:00:00+01:00"}, [2, 1]),
        ({"updated_at__gte": "2026-01-01T00:00:00Z"}, [2, 1, 0]),
        (
            {
                "email": "ada@example.org",
                "created_at__lt": "2026-02-01T00:00:00Z",
                "updated_at__gt": "2026-02-01T00:00:00Z",
            },
            [0],
        ),
    ],
)
async def test_filters_are_those_of_the_list(
    admin: AsyncClient, ids: list[str], filters: dict[str, str], found: list[int]
) -> None:
    exported = people(await admin.get(PATH, params=filters))

    assert [person["id"] for person in exported] == [ids[place] for place in found]
    listed = (await admin.get("/users/", params=filters)).json()
    assert [person["id"] for person in listed] == [ids[place] for place in found]


async def test_given_ids_come_in_their_order(admin: AsyncClient, ids: list[str]) -> None:
    range_ = ("created_at__gte", "2026-01-01T00:00:00Z")
    asked = [("id__in", f"{ids[2]},nobody"), ("id__in", ids[0]), ("format", "csv"), range_]

    answer = await admin.get(f"{PATH}?{urlencode(asked)}")

    assert [row[0] for row in csv.reader(answer.text.splitlines())] == ["id", ids[0], ids[2]]
    assert people(await admin.get(PATH, params={"id__in": "nobody"})) == []


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("isactive=true", "unknown_parameter"),
        ("limit=10", "unknown_parameter"),
        ("cursor=x", "unknown_parameter"),
        ("order_by=id", "unknown_parameter"),
        ("skip=1", "unknown_parameter"),
        ("count=exact", "unknown_parameter"),
        ("q=ada", "unknown_parameter"),
        ("id=1", "unknown_parameter"),
        ("is_active=true&is_active=false", "repeated_parameter"),
        ("is_active=perhaps", "invalid"),
        ("format=xlsx", "invalid"),
        ("format=", "invalid"),
        ("with_hashes=2", "invalid"),
        ("created_at__gte=2026-01-01", "invalid"),
        ("created_at__gte=2026-01-01T00:00:00", "invalid"),
        ("email=nobody", "email_invalid"),
        ("username=%00", "invalid"),
        ("is_active=true&created_at__gte=2026-01-01T00:00:00Z", "listing_unsupported"),
        ("created_at__gte=2026-01-01T00:00:00Z&updated_at__gte=2026-01-01T00:00:00Z", "listing_unsupported"),
        ("id__in=" + ",".join("x" * 501), "invalid"),
    ],
)
@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_filter_that_cannot_be_met_exports_nobody(admin: AsyncClient, query: str, code: str) -> None:
    answer = await admin.get(f"{PATH}?{query}")

    assert (answer.status_code, answer.json()["code"]) == (422, code)


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_export_needs_its_scope(client: AsyncClient, make_key: MakeKey) -> None:
    others = await make_key(*(scope for scope in Scope if scope is not Scope.USERS_EXPORT))

    assert (await client.get(PATH)).status_code == 401
    refused = await client.get(PATH, headers=others)
    assert refused.status_code == 403
    assert "users:export" in refused.json()["detail"]
    assert (await client.get(PATH, headers=await make_key(Scope.USERS_EXPORT))).status_code == 200


async def test_hashes_need_their_scope_too(client: AsyncClient, make_key: MakeKey, ids: list[str]) -> None:
    plain, full = await make_key(Scope.USERS_EXPORT), await make_key(Scope.USERS_EXPORT, Scope.USERS_HASHES)

    refused = await client.get(PATH, headers=plain, params={"with_hashes": "true"})

    assert refused.status_code == 403
    assert "users:hashes" in refused.json()["detail"]
    assert HASH not in (await client.get(PATH, headers=full)).text
    with_them = people(await client.get(PATH, headers=full, params={"with_hashes": "true"}))
    assert [person["hashed_password"] for person in with_them] == [HASH, None, None]
    in_csv = await client.get(PATH, headers=full, params={"with_hashes": "true", "format": "csv"})
    assert f'"{HASH}"\r\n' in in_csv.text


@pytest.mark.slow
async def test_head_reads_the_first_parts_alone(admin: AsyncClient, accounts: Accounts) -> None:
    await crowd(accounts, 4 * EXPORT_BATCH)
    await admin.get("/users/")
    asked: list[str] = []
    accounts.database.observers.append(asked.append)

    head = await admin.head(PATH)
    of_head = len(asked)
    got = await admin.get(PATH)

    assert len(got.content.splitlines()) == 4 * EXPORT_BATCH
    assert (head.status_code, head.content) == (200, b"")
    assert {**head.headers, "x-request-id": ""} == {**got.headers, "x-request-id": ""}
    assert of_head < len(asked) - of_head


async def test_export_stands_in_front_of_accounts(admin: AsyncClient) -> None:
    assert (await admin.get(f"{PATH}/")).status_code == 404
    assert (await admin.patch(PATH, json={})).status_code == 404
    assert (await admin.delete(PATH)).status_code == 404


async def test_name_of_the_file_has_the_day(admin: AsyncClient, clock: Clock) -> None:
    clock.turn(days=1)

    assert 'filename="users-2026-02-01.csv"' in (await admin.get(f"{PATH}?format=csv")).headers["content-disposition"]
