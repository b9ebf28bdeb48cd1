"""The direct way to an endpoint and FastAPI's own give the same bytes, headers and errors."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote, urlencode
from uuid import UUID

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient, Response
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from denizen.core.accounts import Accounts
from denizen.core.auth import Scope
from denizen.core.routing import PLAIN
from denizen.directory.schemas import UserQuery
from denizen.users.crud import get_user
from denizen.users.schemas import UserRead
from tests.conftest import BASE_URL, Clock, MakeKey, MakeUser

SAME = {"x-request-id": "the-same-for-both"}

PATHS = [
    "/users/{user}",
    "/users/{user}/",
    "/users/not-an-id",
    "/users/019a5c1e-7f00-7a11-8b22-3c33d44e55f6",
    "/users/{user}?unknown=1",
    "/users/",
    "/users?limit=2&count=exact",
    "/users/?limit=0",
    "/users/?limit=many&order_by=age",
    "/users/?limit=1&limit=2",
    "/users/?limt=1",
    "/users/?id__in={user}&id__in=nobody",
    "/users/?is_active=true&order_by=-id&limit=1",
    "/users/?is_active=perhaps",
    "/users/?email=ADA%40example.org",
    "/users/?email=%ED%A0%80",
    "/users/?username=%00",
    "/users/?created_at__gte=2026-01-01T00:00:00Z&count=estimated",
    "/users/?created_at__gte=yesterday",
    "/users/?skip=1&cursor=x",
    "/users/?cursor=x",
    "/users/?q=",
    "/users/export",
    "/users/export?format=csv&is_active=true&with_hashes=true",
    "/users/export?format=xml&limit=1",
    "/users/export?id__in={user}&id__in=nobody",
    "/keys/current",
    "/keys/current?x=1",
    "/keys/?limit=1",
    "/keys/?limit=0",
]

CREDENTIALS = ["good", "without the scope", "unknown", "none"]


@pytest.fixture
async def plain(app: FastAPI) -> AsyncIterator[AsyncClient]:
    """A client whose requests go FastAPI's way."""

    async def marked(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, PLAIN: True}, receive, send)

    async with AsyncClient(transport=ASGITransport(marked, raise_app_exceptions=False), base_url=BASE_URL) as client:
        yield client


def seen(answer: Response) -> tuple[int, list[tuple[str, str]], bytes]:
    return answer.status_code, answer.headers.multi_items(), answer.content


async def test_every_answer_is_the_same(
    client: AsyncClient, plain: AsyncClient, make_key: MakeKey, make_user: MakeUser, clock: Clock
) -> None:
    ids = [(await make_user(username=name, email=f"{name}@example.org"))["id"] for name in ("ada", "grace", "edsger")]
    keys = {
        "good": await make_key(*Scope),
        "without the scope": await make_key(Scope.USERS_IMPORT),
        "unknown": {"Authorization": "Bearer dzk_" + "a" * 43},
        "none": {},
    }
    for who in CREDENTIALS:
        headers = SAME | keys[who]
        for path in PATHS:
            url = path.replace("{user}", ids[0])
            one, other = await client.get(url, headers=headers), await plain.get(url, headers=headers)
            assert seen(one) == seen(other), (who, url)
            assert one.status_code < 500


names = st.sampled_from([*UserQuery.model_fields, "q", "Limit", "x"])
values = st.one_of(
    st.text(max_size=8),
    st.integers().map(str),
    st.sampled_from(["true", "id", "-created_at", "exact", "2026-11-22T09:30:00Z", "ada", "ada@example.org", ""]),
)


@pytest.mark.slow
@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_every_question_is_read_the_same(client: AsyncClient, plain: AsyncClient, make_key: MakeKey) -> None:
    headers = SAME | await make_key(Scope.USERS_READ)
    questions: list[str] = []

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(st.lists(st.tuples(names, values), max_size=4))
    def collect(pairs: list[tuple[str, str]]) -> None:
        questions.append(urlencode(pairs, quote_via=quote, errors="surrogatepass"))

    collect()
    statuses = set()
    for question in questions:
        one = await client.get(f"/users/?{question}", headers=headers)
        other = await plain.get(f"/users/?{question}", headers=headers)
        assert seen(one) == seen(other), question
        statuses.add(one.status_code)
    assert {200, 422} <= statuses <= {200, 400, 422}


@pytest.mark.parametrize("microsecond", [0, 1, 120_000, 999_999])
async def test_what_is_stored_is_shown_as_the_model_shows_it(
    accounts: Accounts, admin: AsyncClient, make_user: MakeUser, clock: Clock, microsecond: int
) -> None:
    clock.at = clock.at.replace(microsecond=microsecond)
    made = await make_user(full_name='Ada "\u2028" <Lovelace>')
    async with accounts.database.read.session() as db:
        user = await get_user(db, UUID(made["id"]))
    shown = UserRead.model_validate(user, from_attributes=True).model_dump_json()

    assert (await admin.get(f"/users/{made['id']}")).text == shown
    assert (await admin.get("/users/")).text == f"[{shown}]"
    assert (await admin.get("/users/?skip=0")).text == f"[{shown}]"
