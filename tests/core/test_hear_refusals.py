"""Whoever wants to know what was refused hears of it once the request's transaction has been undone."""

from __future__ import annotations

from typing import Any

from httpx import AsyncClient
from sqlalchemy import select, update

from denizen.core.accounts import Accounts
from denizen.core.errors import DenizenError
from denizen.core.ids import new_id
from denizen.users.models import User
from tests.conftest import MakeUser


async def test_refusal_is_heard_after_the_rollback_and_before_the_answer(
    admin: AsyncClient, accounts: Accounts, make_user: MakeUser
) -> None:
    """What must outlive a refusal is written in a transaction of its own; no other writer is in its way."""
    _, eve = await make_user(username="ada"), await make_user(username="eve")
    heard: list[Any] = []

    async def hear(accounts: Accounts, error: DenizenError) -> None:
        async with accounts.writing(timeout=1) as db:
            await db.execute(update(User).values(full_name="Written"))
            heard.append((error.code, (await db.scalars(select(User.username).order_by(User.id))).all()))

    accounts.refusals = (hear,)

    taken = await admin.patch(f"/users/{eve['id']}", json={"username": "ada", "full_name": "Undone"})
    missing = await admin.delete(f"/users/{new_id()}/sessions")

    assert [taken.status_code, missing.status_code] == [409, 404]
    assert heard == [("username_taken", ["ada", "eve"]), ("user_not_found", ["ada", "eve"])]
    assert (await admin.get(f"/users/{eve['id']}")).json()["full_name"] == "Written"
