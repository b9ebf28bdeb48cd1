from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient

from denizen.core.accounts import Accounts
from denizen.core.auth import Scope
from denizen.core.ids import new_id
from denizen.core.paging import CursorSigner
from tests.conftest import BASE_URL, MakeKey
from tests.directory.conftest import Store, Walk, ids

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def numbered(count: int) -> list[dict[str, Any]]:
    return [{"username": f"u{n:03}", "email": f"u{n:03}@example.org"} for n in range(count)]


async def listed(client: AsyncClient, **asked: Any) -> list[str]:
    answer = await client.get("/users/", params=asked)
    assert answer.status_code == 200, answer.text
    return ids(answer.json())


async def refusals(client: AsyncClient, *queries: str) -> dict[str, tuple[int, str, str | None]]:
    """Status, code and field of the answer to each query."""
    found = {}
    for query in queries:
        answer = await client.get(f"/users/?{query}")
        problem: dict[str, Any] = answer.json() if answer.status_code >= 400 else {"code": "none"}
        found[query] = (answer.status_code, problem["code"], problem.get("field"))
    return found


# --- Pages ---------------------------------------------------------------------------------------------


async def test_page_is_ten_from_the_oldest_on(admin: AsyncClient, store: Store) -> None:
    rows = ids(await store(numbered(25)))

    assert await listed(admin) == rows[:10]
    assert await listed(admin, skip=10) == rows[10:20]
    assert await listed(admin, skip=20, limit=100) == rows[20:]
    assert await listed(admin, skip=1000) == []
    assert await listed(admin, skip=0, limit=1) == rows[:1]
    assert await listed(admin, limit=1000) == rows
    assert ids((await admin.get("/users", params={"limit": 3})).json()) == rows[:3]


async def test_account_is_shown_without_secrets(admin: AsyncClient, store: Store) -> None:
    [row] = await store([{"email": "Ada@example.org", "hashed_password": "$argon2id$secret", "external_id": "crm-1"}])

    answer = await admin.get("/users/")

    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json() == [
        {
            "id": str(row["id"]),
            "username": None,
            "email": "Ada@example.org",
            "full_name": None,
            "external_id": "crm-1",
            "is_active": True,
            "email_verified_at": None,
            "profile": {},
            "suspended_at": None,
            "suspended_until": None,
            "created_at": "2026-01-31T09:30:00.123456Z",
            "updated_at": "2026-01-31T09:30:00.123456Z",
            "version": 1,
        }
    ]


async def test_next_page_is_linked_until_the_end(admin: AsyncClient, store: Store, walk: Walk) -> None:
    rows = ids(await store(numbered(20)))

    first = await admin.get("/users/", params={"limit": 10, "skip": 0, "count": "exact"})
    second = await admin.get(
        "/users/", params={"limit": 10, "cursor": first.headers["x-next-cursor"], "count": "exact"}
    )

    assert first.headers["link"] == (
        f'<{BASE_URL}/users/?limit=10&cursor={first.headers["x-next-cursor"]}>; rel="next"'
    )
    assert (first.headers["x-total-count"], second.headers["x-total-count"]) == ("20", "20")
    assert ids(first.json() + second.json()) == rows
    assert "link" not in second.headers
    assert "x-next-cursor" not in second.headers
    assert ids(await walk(limit=7)) == rows
    assert ids(await walk(limit=3, is_active="true", order_by="-id")) == rows[::-1]


class TestBehindPrefix:
    @pytest.fixture
    def overrides(self) -> dict[str, Any]:
        return {"prefix": "/accounts", "base_url": "https://people.example.org", "allowed_hosts": "*"}

    async def test_links_follow_the_base_url_and_never_the_host(
        self, app: FastAPI, store: Store, make_key: MakeKey
    ) -> None:
        await store(numbered(3))
        headers = await make_key()

        async with AsyncClient(transport=ASGITransport(app), base_url="http://evil.example") as client:
            answer = await client.get("/accounts/users", params={"limit": 2, "email": "", "x": 1}, headers=headers)
            assert answer.status_code == 422
            answer = await client.get(
                "/accounts/users", params={"limit": 2, "created_at__gte": "2020-01-01T00:00:00+01:00"}, headers=headers
            )

        assert answer.headers["link"].startswith(
            "<https://people.example.org/accounts/users/?limit=2&created_at__gte=2020-01-01T00%3A00%3A00%2B01%3A00&cursor="
        )


async def test_limits_are_refused_rather_than_cut(admin: AsyncClient) -> None:
    asked = ["limit=0", "limit=1001", "limit=-1", "limit=ten", "limit=", "limit=1.5", "skip=-1", f"skip={2**63}"]

    assert await refusals(admin, *asked) == {query: (422, "invalid", query.split("=")[0]) for query in asked}


async def test_counts_come_when_asked_for(admin: AsyncClient, store: Store, accounts: Accounts) -> None:
    await store([*numbered(7), {"username": "gone", "is_active": False}])

    async def count(**asked: Any) -> str | None:
        answer = await admin.get("/users/", params={"limit": 2, **asked})
        assert len(answer.json()) <= 2
        found: str | None = answer.headers.get("x-total-count")
        return found

    assert await count() is None
    assert await count(count="exact") == "8"
    assert await count(count="exact", is_active="false") == "1"
    assert await count(count="estimated", is_active="true") == "7"
    assert await count(count="exact", email="nobody@example.org") == "0"
    assert await count(count="exact", order_by="email") == "8"
    assert await count(count="estimated") == "8"
    if accounts.database.kind == "postgresql":
        async with accounts.writing() as db:
            await (await db.connection()).exec_driver_sql("ANALYZE denizen_users")
        assert await count(count="estimated") == "8"


# --- Filters -------------------------------------------------------------------------------------------


async def test_filters_find_exactly_whom_they_name(admin: AsyncClient, store: Store) -> None:
    people: list[dict[str, Any]] = [
        {"username": "ada", "email": "Ada.Lovelace@example.org", "external_id": "crm-1"},
        {"username": "Straße", "email": "grüße@münchen.example.net", "is_active": False},
        {"username": "홍길동", "external_id": "CRM-1"},
        {"email": "李雷@example.com", "external_id": "crm,1 ü"},
    ]
    ada, street, hong, li = ids(await store(people))

    assert await listed(admin, email="ADA.LOVELACE@EXAMPLE.ORG") == [ada]
    assert await listed(admin, email="GRÜSSE@MÜNCHEN.example.net") == [street]
    assert await listed(admin, email="grüße@xn--mnchen-3ya.example.net") == [street]
    assert await listed(admin, email="李雷@EXAMPLE.COM") == [li]
    assert await listed(admin, username="ADA") == [ada]
    assert await listed(admin, username="straße") == [street]
    assert await listed(admin, username="홍길동") == [hong]
    assert await listed(admin, external_id="crm-1") == [ada]
    assert await listed(admin, external_id="CRM-1") == [hong]
    assert await listed(admin, external_id="crm,1 ü") == [li]
    assert await listed(admin, is_active="false") == [street]
    assert await listed(admin, is_active="true", order_by="-id") == [li, hong, ada]
    assert await listed(admin, email="ada.lovelace@example.org", is_active="false") == []
    assert await listed(admin, username="ada", order_by="-email", created_at__lt="2100-01-01T00:00:00Z") == [ada]
    for nobody in ({"email": "nobody@example.org"}, {"username": "nobody"}, {"external_id": ""}):
        assert await listed(admin, **nobody) == []


async def test_ids_that_are_none_are_left_out(admin: AsyncClient, store: Store, walk: Walk) -> None:
    rows = ids(await store(numbered(6)))
    some = f"{rows[4]},no-id, {rows[1].upper()} ,7,{new_id()},{rows[4]},,"

    assert await listed(admin, id__in=some) == [rows[1], rows[4]]
    assert await listed(admin, id__in=some, order_by="-username") == [rows[4], rows[1]]
    assert await listed(admin, id__in=[rows[0], some]) == [rows[0], rows[1], rows[4]]
    assert await listed(admin, id__in=some, skip=1) == [rows[4]]
    assert await listed(admin, id__in="no-id") == []
    assert await listed(admin, id__in="") == []
    assert ids(await walk(id__in=",".join(rows), limit=4, order_by="-created_at")) == rows[::-1]
    assert await listed(admin, id__in=",".join([*rows, *["x"] * 494])) == rows
    assert await refusals(admin, f"id__in={','.join('x' * 501)}") == {
        f"id__in={','.join('x' * 501)}": (422, "invalid", "id__in")
    }


async def test_ranges_are_exact_to_the_microsecond(admin: AsyncClient, store: Store) -> None:
    tick = timedelta(microseconds=1)
    times = [NOON - tick, NOON, NOON + tick, NOON.replace(year=1), NOON.replace(year=9999)]
    early, noon, late, first, last = ids(
        await store({"username": f"t{n}", "created_at": at, "updated_at": at} for n, at in enumerate(times))
    )

    for field in ("created_at", "updated_at"):
        for asked, expected in {
            "gte=2026-01-31T12:00:00Z": [noon, late, last],
            "gt=2026-01-31T12:00:00Z": [late, last],
            "lte=2026-01-31T12:00:00.000000Z": [first, early, noon],
            "lt=2026-01-31T12:00:00Z": [first, early],
            "gte=2026-01-31T13:00:00%2B01:00": [noon, late, last],
            "gte=2026-01-31T13:00:00+01:00": [noon, late, last],
            "gt=2026-01-31T06:15:00.000000-05:45": [late, last],
            "gte=2026-01-31T12:00:00.000001Z": [late, last],
            "gte=0001-01-01T00:00:00Z": [first, early, noon, late, last],
            "lte=9999-12-31T23:59:59.999999Z": [first, early, noon, late, last],
            f"gte=2026-01-31T12:00:00Z&{field}__lt=2026-01-31T12:00:00.000001Z": [noon],
            f"gt=2026-01-31T12:00:00Z&{field}__lte=2026-01-31T12:00:00.000001Z&order_by=-{field}": [late],
            f"lte=2026-01-31T12:00:00.000001Z&order_by=-{field}": [late, noon, early, first],
            f"gt=2026-01-31T12:00:00Z&{field}__lt=2026-01-31T12:00:00Z": [],
        }.items():
            answer = await admin.get(f"/users/?{field}__{asked}")
            assert ids(answer.json()) == expected, asked


async def test_one_instant_is_one_list_in_whatever_zone(admin: AsyncClient, store: Store) -> None:
    rows = ids(await store(numbered(3)))

    first = await admin.get("/users/?limit=2&created_at__gte=2026-01-01T01:00:00%2B01:00")
    second = await admin.get(
        f"/users/?limit=2&created_at__gte=2026-01-01T00:00:00Z&cursor={first.headers['x-next-cursor']}"
    )

    assert ids(second.json()) == rows[2:]


# --- What is refused -----------------------------------------------------------------------------------


async def test_lists_that_no_index_serves_are_refused_with_a_way_out(admin: AsyncClient) -> None:
    expected: Mapping[str, tuple[str, str]] = {
        "is_active=true&order_by=created_at": ("is_active", "order_by=id"),
        "is_active=true&created_at__gte=2026-01-01T00:00:00Z": ("is_active", "no range"),
        "created_at__gte=2026-01-01T00:00:00Z&order_by=id": ("order_by", "order_by=created_at or -created_at"),
        "updated_at__lt=2026-01-01T00:00:00Z&order_by=username": ("order_by", "order_by=updated_at or -updated_at"),
        "created_at__gte=2026-01-01T00:00:00Z&updated_at__lt=2026-01-01T00:00:00Z": (
            "updated_at",
            "cannot be combined",
        ),
        "skip=10&order_by=username": ("skip", "page by `cursor`"),
        "skip=10&order_by=-email": ("skip", "page by `cursor`"),
        "skip=0&cursor=x": ("skip", "cannot be combined"),
    }

    for query, (field, advice) in expected.items():
        problem = (await admin.get(f"/users/?{query}")).json()
        assert (problem["status"], problem["code"], problem["field"]) == (422, "listing_unsupported", field), query
        assert advice in problem["detail"]


async def test_whatever_is_not_understood_is_refused_and_never_ignored(admin: AsyncClient) -> None:
    assert await refusals(
        admin,
        "order_by=full_name",
        "order_by=",
        "order_by=--id",
        "order_by=id&order_by=-id",
        "is_active=maybe",
        "is_active=",
        "count=yes",
        "email=",
        "email=nobody",
        "username=",
        "username=a b",
        "username=%00",
        "external_id=%00",
        "external_id=" + "x" * 256,
        "created_at__gte=yesterday",
        "created_at__gte=2026-01-31",
        "created_at__gte=2026-01-31T09:30:00",
        "created_at__gte=2026-02-30T09:30:00Z",
        "created_at__gte=0001-01-01T00:00:00%2B23:59",
        "updated_at__lte=9999-12-31T23:59:59-23:59",
        "created_at=2026-01-31T09:30:00Z",
        "created_at__ne=2026-01-31T09:30:00Z",
        "emial=ada@example.org",
        "full_name=Ada",
        "hashed_password__gt=a",
        "email=a@example.org&email=b@example.org",
        "limit=1&limit=2",
        "user_id=1",
    ) == {
        "order_by=full_name": (422, "invalid", "order_by"),
        "order_by=": (422, "invalid", "order_by"),
        "order_by=--id": (422, "invalid", "order_by"),
        "order_by=id&order_by=-id": (422, "repeated_parameter", "order_by"),
        "is_active=maybe": (422, "invalid", "is_active"),
        "is_active=": (422, "invalid", "is_active"),
        "count=yes": (422, "invalid", "count"),
        "email=": (422, "email_invalid", "email"),
        "email=nobody": (422, "email_invalid", "email"),
        "username=": (422, "username_invalid", "username"),
        "username=a b": (422, "username_invalid", "username"),
        "username=%00": (422, "invalid", "username"),
        "external_id=%00": (422, "invalid", "external_id"),
        "external_id=" + "x" * 256: (422, "invalid", "external_id"),
        "created_at__gte=yesterday": (422, "invalid", "created_at__gte"),
        "created_at__gte=2026-01-31": (422, "invalid", "created_at__gte"),
        "created_at__gte=2026-01-31T09:30:00": (422, "invalid", "created_at__gte"),
        "created_at__gte=2026-02-30T09:30:00Z": (422, "invalid", "created_at__gte"),
        "created_at__gte=0001-01-01T00:00:00%2B23:59": (422, "invalid", "created_at__gte"),
        "updated_at__lte=9999-12-31T23:59:59-23:59": (422, "invalid", "updated_at__lte"),
        "created_at=2026-01-31T09:30:00Z": (422, "unknown_parameter", "created_at"),
        "created_at__ne=2026-01-31T09:30:00Z": (422, "unknown_parameter", "created_at__ne"),
        "emial=ada@example.org": (422, "unknown_parameter", "emial"),
        "full_name=Ada": (422, "unknown_parameter", "full_name"),
        "hashed_password__gt=a": (422, "unknown_parameter", "hashed_password__gt"),
        "email=a@example.org&email=b@example.org": (422, "repeated_parameter", "email"),
        "limit=1&limit=2": (422, "repeated_parameter", "limit"),
        "user_id=1": (422, "unknown_parameter", "user_id"),
    }


async def test_cursor_is_good_for_its_own_list_alone(admin: AsyncClient, store: Store) -> None:
    await store(numbered(5))
    cursor = (await admin.get("/users/?limit=2")).headers["x-next-cursor"]
    of_another_secret = CursorSigner(lambda: b"x" * 32).make("order=id", ["whole", str(new_id())])
    altered = cursor[:-2] + ("A" if cursor[-2] != "A" else "B") + cursor[-1]

    refused = await refusals(
        admin,
        f"cursor={cursor}&order_by=-id",
        f"cursor={cursor}&order_by=username",
        f"cursor={cursor}&is_active=true",
        f"cursor={altered}",
        f"cursor={cursor[:-4]}",
        f"cursor={cursor}AAAA",
        f"cursor={of_another_secret}",
        "cursor=",
        "cursor=%F0%9F%92%A9",
        "cursor=" + "A" * 2048,
    )

    assert set(refused.values()) == {(422, "cursor_invalid", "cursor")}
    assert (await admin.get(f"/users/?cursor={'A' * 2049}")).json()["code"] == "invalid"
    assert (await admin.get(f"/users/?limit=1000&order_by=id&cursor={cursor}")).status_code == 200


async def test_listing_needs_the_right_to(client: AsyncClient, make_key: MakeKey) -> None:
    anybody = await client.get("/users/")
    writer = await client.get("/users/", headers=await make_key(Scope.USERS_WRITE))

    assert (anybody.status_code, anybody.json()["code"]) == (401, "credentials_missing")
    assert anybody.headers["www-authenticate"] == "Bearer"
    assert (writer.status_code, writer.json()["code"]) == (403, "scope_missing")
    assert "users:read" in writer.json()["detail"]


async def test_other_methods_are_refused_with_those_that_are_taken(admin: AsyncClient) -> None:
    for method in ("PUT", "PATCH", "DELETE", "OPTIONS"):
        answer = await admin.request(method, "/users/")

        assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
        assert answer.headers["content-type"] == "application/problem+json"
        assert {"GET", "POST"} <= set(answer.headers["allow"].split(", "))
