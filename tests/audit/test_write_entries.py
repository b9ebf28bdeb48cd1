"""What happens is written down with it; what is refused, in a transaction of its own."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from httpx import AsyncClient
from sqlalchemy import select

from denizen.audit import crud
from denizen.audit.models import AuditDetail, AuditEntry
from denizen.audit.service import WRITTEN_A_MINUTE, delete_old, write_counts
from denizen.core.accounts import Accounts
from denizen.core.auth import Scope, ScopeMissing
from denizen.core.ids import new_id
from denizen.core.origin import Origin, coming_from
from denizen.users.schemas import UserUpdate
from denizen.users.service import change_user
from tests.conftest import Clock, MakeKey, MakeUser

PASSWORD = "correct horse battery"


async def entries(accounts: Accounts) -> list[AuditEntry]:
    async with accounts.database.read.session() as db:
        return list(await db.scalars(select(AuditEntry).order_by(AuditEntry.at, AuditEntry.id)))


async def personal(accounts: Accounts) -> list[tuple[UUID | None, dict[str, Any]]]:
    async with accounts.database.read.session() as db:
        found = await db.scalars(select(AuditDetail).order_by(AuditDetail.id))
        return [(each.user_id, json.loads(each.facts)) for each in found]


async def test_a_change_is_written_with_who_what_and_from_where(
    client: AsyncClient, accounts: Accounts, make_key: MakeKey, make_user: MakeUser
) -> None:
    made = await make_user()
    key = await make_key(Scope.USERS_WRITE)

    headers = {**key, "X-Request-Id": "audited-request", "User-Agent": "curl/8"}
    await client.patch(f"/users/{made['id']}", json={"full_name": "Ada"}, headers=headers)

    entry = (await entries(accounts))[-1]
    assert (entry.action, entry.outcome, entry.actor_kind) == ("user.updated", "done", "key")
    assert (entry.subject_kind, str(entry.subject_id)) == ("user", made["id"])
    assert entry.request_id == "audited-request"
    assert json.loads(entry.facts) == {"fields": ["full_name"]}
    assert (await personal(accounts))[0] == (
        UUID(made["id"]),
        {"address": "127.0.0.1", "device": "python-httpx/0.28.1"},
    )
    assert (await personal(accounts))[-2:] == [
        (None, {"address": "127.0.0.1", "device": "curl/8"}),
        (UUID(made["id"]), {"before": {"full_name": None}, "after": {"full_name": "Ada"}}),
    ]


async def test_what_is_undone_is_not_written(admin: AsyncClient, accounts: Accounts, make_user: MakeUser) -> None:
    await make_user(username="ada")
    before = len(await entries(accounts))

    answer = await admin.post("/users/", json={"username": "ADA", "email": "x@example.org", "password": PASSWORD})

    assert answer.status_code == 409
    assert len(await entries(accounts)) == before


async def test_no_secret_is_written(
    client: AsyncClient, accounts: Accounts, make_key: MakeKey, make_user: MakeUser
) -> None:
    key = await make_key()
    made = await make_user(password="a password of its own kind")
    created = await client.post("/keys/", json={"name": "x", "scopes": ["users:read"]}, headers=key)
    await client.get("/users/", headers={"Authorization": "Bearer dzk_nonsense"})

    written = " ".join(str(vars(each)) for each in await entries(accounts)) + str(await personal(accounts))
    assert made["id"] in written
    for secret in ("a password of its own kind", created.json()["token"], "dzk_", "null$"):
        assert secret not in written


async def test_a_refusal_outlives_its_transaction(
    client: AsyncClient, accounts: Accounts, make_key: MakeKey, make_user: MakeUser
) -> None:
    made = await make_user()
    reader = await make_key(Scope.USERS_READ)

    answer = await client.delete(f"/users/{made['id']}", headers=reader)

    assert answer.status_code == 403
    entry = (await entries(accounts))[-1]
    assert (entry.action, entry.outcome, str(entry.subject_id)) == ("request.refused", "refused", made["id"])
    assert json.loads(entry.facts) == {"code": "scope_missing", "act": "DELETE /users/{user_id}"}


async def test_no_credentials_is_no_attempt(client: AsyncClient, accounts: Accounts) -> None:
    assert (await client.get("/users/")).status_code == 401

    assert await entries(accounts) == []


@pytest.mark.parametrize("more", [1, 30])
async def test_refusals_past_the_limit_of_an_address_are_counted_in_one_row(
    client: AsyncClient, accounts: Accounts, more: int
) -> None:
    for number in range(WRITTEN_A_MINUTE + more):
        answer = await client.get("/users/", headers={"Authorization": f"Bearer dzk_{number}"})
        assert answer.status_code == 401
    assert len(await entries(accounts)) == WRITTEN_A_MINUTE
    await write_counts(accounts)
    await client.get("/users/", headers={"Authorization": "Bearer dzk_x"})
    await write_counts(accounts)

    *_, last = sorted(await entries(accounts), key=lambda each: each.count)
    assert len(await entries(accounts)) == WRITTEN_A_MINUTE + 1
    assert last.count == more + 1
    assert last.actor_kind == "anonymous"
    assert (None, {"address": "127.0.0.1"}) in await personal(accounts)


async def test_erasing_an_account_empties_what_is_personal(
    admin: AsyncClient, accounts: Accounts, make_user: MakeUser
) -> None:
    made = await make_user(full_name="Ada Lovelace")
    await admin.patch(f"/users/{made['id']}", json={"full_name": "Augusta Ada King"})
    assert "Augusta" in str(await personal(accounts))

    await admin.delete(f"/users/{made['id']}?erase=true")

    assert "Augusta" not in str(await personal(accounts))
    assert UUID(made["id"]) not in [user_id for user_id, _ in await personal(accounts)]
    about = [each.action for each in await entries(accounts) if str(each.subject_id) == made["id"]]
    assert about[0] == "user.created"
    assert "user.updated" in about
    assert about[-1] == "user.erased"


async def test_entries_are_kept_for_a_set_time(accounts: Accounts, make_user: MakeUser, clock: Clock) -> None:
    await make_user()
    written = len(await entries(accounts))
    kept = timedelta(seconds=accounts.settings.audit_retention)
    clock.turn(seconds=kept.total_seconds() - 1)
    await make_user()
    clock.turn(seconds=2)

    async with accounts.writing() as db:
        assert await delete_old(accounts, db, clock(), 100) == written

    assert len(await entries(accounts)) == written
    assert {each.at for each in await entries(accounts)} == {clock() - timedelta(seconds=2)}
    assert len(await personal(accounts)) == written


async def test_what_somebody_did_who_was_erased_meanwhile_is_written_without_him(
    accounts: Accounts, make_user: MakeUser
) -> None:
    """Neither the change nor the refusal becomes another error, and nothing personal of him is written any more."""
    made = await make_user()
    before = await personal(accounts)
    gone = Origin("request", user_id=new_id(), address="192.0.2.7")

    with coming_from(gone):
        async with accounts.writing() as db:
            await change_user(
                db, UUID(made["id"]), UserUpdate(full_name="Ada"), versions=None, at=accounts.clock(), caller=None
            )
        await accounts.refused(ScopeMissing("This needs a scope."))

    *_, changed, refused = await entries(accounts)
    assert (changed.action, changed.actor_id) == ("user.updated", gone.user_id)
    assert (refused.action, refused.actor_id) == ("request.refused", gone.user_id)
    assert "192.0.2.7" not in str(await personal(accounts))
    assert len(await personal(accounts)) == len(before) + 1


async def test_a_refusal_stays_what_it_is_where_it_cannot_be_written(
    client: AsyncClient, accounts: Accounts, make_key: MakeKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = await make_key(Scope.USERS_READ)
    monkeypatch.setattr(crud, "create_entry", broken)

    answer = await client.post("/keys/", json={"name": "x", "scopes": ["users:read"]}, headers=key)

    assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing")


async def broken(*_: object) -> None:
    raise RuntimeError("no entry today")


async def test_counts_that_cannot_be_written_wait(
    client: AsyncClient, accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(times: int) -> None:
        for _ in range(times):
            await client.get("/users/", headers={"Authorization": "Bearer dzk_x"})

    await refuse(WRITTEN_A_MINUTE + 3)
    with monkeypatch.context() as patch:
        patch.setattr(crud, "count_entry", broken)
        for _ in range(2):
            with pytest.raises(RuntimeError):
                await write_counts(accounts)
            await refuse(1)
    await write_counts(accounts)

    assert sum(each.count for each in await entries(accounts)) == WRITTEN_A_MINUTE + 5
