"""Accounts by the dozen and by the thousand, written straight into the tables, and lists walked to their end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import pytest
from httpx import AsyncClient
from sqlalchemy import insert

from denizen.core.accounts import Accounts
from denizen.core.identifiers import identify
from denizen.core.ids import new_id
from denizen.users.models import User
from tests.conftest import BASE_URL

Store = Callable[[Iterable[Mapping[str, Any]]], Awaitable[list[dict[str, Any]]]]
Walk = Callable[..., Awaitable[list[dict[str, Any]]]]


@pytest.fixture
def store(accounts: Accounts) -> Store:
    """Store accounts from what is said of each; gives all their columns, in the order of their ids."""

    async def put(people: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        at = accounts.clock()
        rows = [
            {
                "id": new_id(),
                "created_at": at,
                "updated_at": at,
                "full_name": None,
                "external_id": None,
                "is_active": True,
                "version": 1,
                **person,
                **identify(person.get("username"), person.get("email"))._asdict(),
            }
            for person in people
        ]
        async with accounts.writing(timeout=60) as db:
            for start in range(0, len(rows), 1000):
                await db.execute(insert(User), rows[start : start + 1000])
        return rows

    return put


@pytest.fixture
def walk(admin: AsyncClient) -> Walk:
    """Follow a list's `Link` from page to page, doing something `between` two of them; gives all that was shown."""

    async def follow(between: Callable[[], Awaitable[object]] | None = None, **asked: Any) -> list[dict[str, Any]]:
        seen: list[dict[str, Any]] = []
        answer = await admin.get("/users/", params=asked)
        while True:
            assert answer.status_code == 200, answer.text
            page = answer.json()
            assert len(page) <= int(asked.get("limit", 10))
            seen += page
            if "x-next-cursor" not in answer.headers:
                assert "link" not in answer.headers
                return seen
            assert len(page) == int(asked.get("limit", 10))
            if between is not None:
                await between()
            link, _, relation = answer.headers["link"].partition(">")
            assert link.startswith(f"<{BASE_URL}/users/?")
            assert relation == '; rel="next"'
            answer = await admin.get(link[1:])

    return follow


def ids(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """The ids of rows, as the API writes them."""
    return [str(row["id"]) for row in rows]
