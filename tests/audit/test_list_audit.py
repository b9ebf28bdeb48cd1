"""The audit as it is read: newest first, filtered, page by page, by an index."""

from __future__ import annotations

from typing import Any

import pytest
from httpx import AsyncClient
from sqlalchemy import text

from denizen.audit import crud
from denizen.audit.schemas import AuditQuery
from denizen.core.accounts import Accounts
from denizen.core.auth import Scope
from denizen.core.ids import new_id
from tests.conftest import Clock, MakeKey, MakeUser


async def listed(client: AsyncClient, query: str = "") -> list[dict[str, Any]]:
    answer = await client.get(f"/audit{query}")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()
    return found


async def test_newest_first_with_what_is_personal(admin: AsyncClient, make_user: MakeUser, clock: Clock) -> None:
    ada = await make_user()
    clock.turn(seconds=1)
    await admin.patch(f"/users/{ada['id']}", json={"full_name": "Ada"})

    newest, *_ = await listed(admin, f"?subject_id={ada['id']}")

    assert newest["action"] == "user.updated"
    assert newest["at"] == "2026-01-31T09:30:01.123456Z"
    assert newest["facts"] == {"fields": ["full_name"]}
    assert newest["personal"]["before"] == {"full_name": None}
    assert newest["personal"]["after"] == {"full_name": "Ada"}
    assert newest["actor_id"] is None
    assert newest["count"] == 1


async def test_filters(admin: AsyncClient, client: AsyncClient, make_user: MakeUser, clock: Clock) -> None:
    ada, eve = await make_user(), await make_user()
    clock.turn(hours=1)
    await admin.patch(f"/users/{eve['id']}", json={"full_name": "Eve"})
    await client.get("/users/", headers={"Authorization": "Bearer dzk_nothing"})

    def actions(rows: list[dict[str, Any]]) -> list[str]:
        return [row["action"] for row in rows]

    assert actions(await listed(admin, f"?subject_id={eve['id']}")) == ["user.updated", "user.created"]
    assert actions(await listed(admin, "?outcome=refused")) == ["request.refused"]
    assert [row["subject_id"] for row in await listed(admin, "?action=user.created&limit=2")] == [eve["id"], ada["id"]]
    assert "user.created" not in actions(await listed(admin, "?since=2026-01-31T10:00:00Z"))
    assert "user.updated" not in actions(await listed(admin, "?until=2026-01-31T10:00:00Z"))
    assert (await admin.get("/audit?outcom=refused")).json()["code"] == "unknown_parameter"
    assert (await admin.get("/audit?subject_id=7")).status_code == 422


async def test_pages_lose_and_repeat_nothing(admin: AsyncClient, make_user: MakeUser) -> None:
    for _ in range(7):
        await make_user()
    everything = await listed(admin, "?action=user.created")
    pages, query = [], "?action=user.created&limit=3"
    while True:
        answer = await admin.get(f"/audit{query}")
        pages += answer.json()
        cursor = answer.headers.get("x-next-cursor")
        if cursor is None:
            break
        assert f'cursor={cursor}>; rel="next"' in answer.headers["link"]
        query = f"?action=user.created&limit=3&cursor={cursor}"

    assert pages == everything
    assert len(pages) == 7
    assert (await admin.get("/audit?cursor=nonsense")).status_code == 422


async def test_reading_needs_the_permission(client: AsyncClient, make_key: MakeKey) -> None:
    assert (await client.get("/audit", headers=await make_key(Scope.USERS_READ))).status_code == 403
    assert (await client.get("/audit", headers=await make_key(Scope.AUDIT_READ))).status_code == 200
    assert (await client.get("/audit")).status_code == 401


@pytest.mark.parametrize("filtered", ["", "actor_id", "subject_id", "action", "outcome"])
@pytest.mark.parametrize("later", [False, True])
async def test_each_filter_has_an_index(accounts: Accounts, clock: Clock, filtered: str, later: bool) -> None:
    value = {"action": "user.created", "outcome": "refused"}.get(filtered, "019a5c1e-7f00-7a11-8b22-3c33d44e55f6")
    query = AuditQuery.model_validate({filtered: value} if filtered else {})
    page = crud.page_of(query, limit=10, before=(clock(), new_id()) if later else None)

    async with accounts.writing() as db:
        connection = await db.connection()
        explain = "EXPLAIN QUERY PLAN " if connection.dialect.name == "sqlite" else "EXPLAIN "
        if connection.dialect.name == "postgresql":
            for way in ("seqscan", "bitmapscan"):  # which it would take, since the table is empty
                await db.execute(text(f"SET LOCAL enable_{way} = off"))
        sql = str(page.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True}))
        plan = " ".join(str(row) for row in await connection.exec_driver_sql(explain + sql.replace("%", "%%")))

    assert (f"ix_denizen_audit_{filtered}_at_id" if filtered else "ix_denizen_audit_at_id") in plan
    assert "TEMP B-TREE" not in plan
    assert "Sort" not in plan
