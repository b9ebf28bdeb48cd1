"""A deleted account is hidden everywhere, can be restored, and is erased once its time has come."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import anyio
import pytest
from httpx import AsyncClient
from sqlalchemy import func, select, text

from denizen.core.accounts import Accounts
from denizen.core.events import Event
from denizen.directory.crud import Shape, count_users
from denizen.search.models import SearchEntry
from denizen.search.service import check_index, rebuild_index
from denizen.users.errors import UserNotFound
from denizen.users.events import UserDeleted, UserErased, UserRestored
from denizen.users.models import User
from denizen.users.states import delete_user, erase_due
from tests.conftest import PATIENT, Clock, MakeUser

CREDENTIALS = {"username": "eve", "email": "eve@example.org", "password": "correct horse battery"}


@pytest.fixture
def overrides() -> dict[str, Any]:
    return dict(PATIENT)


@pytest.fixture
async def ada(make_user: MakeUser) -> dict[str, Any]:
    return await make_user(username="ada", email="ada@example.org", full_name="Ada Lovelace")


@pytest.fixture
async def eve(make_user: MakeUser) -> dict[str, Any]:
    return await make_user(username="evelyn", email="evelyn@example.org", full_name="Evelyn Lovelace")


def listen(accounts: Accounts) -> list[Event]:
    heard: list[Event] = []

    async def hear(_: Any, event: Event) -> None:
        heard.append(event)

    accounts.listeners = (*accounts.listeners, hear)
    return heard


async def clean(accounts: Accounts, *, limit: int = 1000) -> int:
    async with accounts.writing() as db:
        return await erase_due(accounts, db, accounts.clock(), limit)


FINDING = [
    "/users/",
    "/users/?order_by=-id",
    "/users/?order_by=created_at",
    "/users/?order_by=-updated_at",
    "/users/?order_by=username",
    "/users/?order_by=-email",
    "/users/?is_active=true",
    "/users/?email=ada@example.org",
    "/users/?username=ADA",
    "/users/?created_at__gte=2020-01-01T00:00:00Z",
    "/users/?updated_at__lte=2030-01-01T00:00:00Z",
    "/users/?skip=0",
    "/users/?skip=0&limit=1",
    "/users/?id__in={ada},{eve}",
    "/users/?q=lovelace",
    "/users/?q=ada",
    "/users/?q=a",
    "/users/?q=ada@example.org",
    "/users/export",
    "/users/export?format=csv",
    "/users/export?id__in={ada}",
    "/users/export?created_at__gte=2020-01-01T00:00:00Z",
]
"""All that finds accounts; each of them finds Ada while she is there."""


async def test_deleted_account_is_hidden_everywhere(
    admin: AsyncClient, ada: dict[str, Any], eve: dict[str, Any], accounts: Accounts
) -> None:
    """And once it is restored it is found again, wherever it was."""
    path, ids = f"/users/{ada['id']}", {"ada": ada["id"], "eve": eve["id"]}

    async def where_found() -> list[str]:
        found = []
        for each in FINDING:
            answer = await admin.get(each.format(**ids))
            assert answer.status_code == 200, answer.text
            found += [each] if ada["id"] in answer.text else []
        return found

    assert await where_found() == FINDING
    assert (await admin.delete(path)).status_code == 204
    assert await where_found() == []

    for method, behind, body in (
        ("GET", "", None),
        ("PATCH", "", {"full_name": "A"}),
        ("PATCH", "", {"email": "else@example.org"}),
        ("PATCH", "", {}),
        ("DELETE", "", None),
        ("POST", "/suspend", {}),
        ("POST", "/unsuspend", None),
    ):
        for headers in ({}, {"If-Match": '"2"'} if method in {"PATCH", "DELETE"} else {}):
            answer = await admin.request(method, path + behind, json=body, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (404, "user_not_found"), (method, behind)
    operations = [
        {"op": "patch", "id": ada["id"], "changes": {"full_name": "A"}},
        {"op": "patch", "id": ada["id"], "changes": {"username": "b"}, "if_version": 2},
        {"op": "delete", "id": ada["id"]},
    ]
    batch = (await admin.post("/users/batch", json={"operations": operations})).json()
    assert [each["status"] for each in batch["results"]] == [404] * 3
    assert (await check_index(accounts.database)).is_whole

    restored = await admin.post(f"{path}/restore")
    assert restored.json() == ada | {"version": 3, "updated_at": restored.json()["updated_at"]}
    assert await where_found() == FINDING
    assert (await check_index(accounts.database)).is_whole


async def test_counts_leave_out_who_is_deleted(
    admin: AsyncClient, ada: dict[str, Any], eve: dict[str, Any], accounts: Accounts
) -> None:
    async def counts(how: str) -> list[str]:
        asked = ("", "&is_active=true", "&email=ada@example.org", "&created_at__gte=2020-01-01T00:00:00Z")
        ids = f"&id__in={ada['id']},{eve['id']}"
        return [(await admin.get(f"/users/?count={how}{each}")).headers["x-total-count"] for each in (*asked, ids)]

    if accounts.database.kind == "postgresql":
        async with accounts.writing() as db:
            await db.execute(text("ANALYZE denizen_users"))
    assert await counts("exact") == await counts("estimated") == ["2", "2", "1", "2", "2"]
    await admin.delete(f"/users/{ada['id']}")

    assert await counts("exact") == await counts("estimated") == ["1", "1", "0", "1", "1"]
    assert await count_users(accounts.database.read, Shape(), {}, exact=True) == 1


async def test_a_page_has_as_many_as_were_asked_for_whoever_is_deleted(admin: AsyncClient, make_user: MakeUser) -> None:
    made = [(await make_user())["id"] for _ in range(9)]
    for user_id in made[::2]:
        await admin.delete(f"/users/{user_id}")

    walked, path = list[str](), "/users/?limit=2"
    while path:
        answer = await admin.get(path)
        walked += [each["id"] for each in answer.json()]
        path = answer.links.get("next", {}).get("url", "")
        assert len(answer.json()) == 2
    assert walked == made[1::2]
    searched = await admin.get("/users/?q=person&limit=3")
    assert len(searched.json()) == 3


async def test_index_that_is_rebuilt_knows_nobody_who_is_deleted(
    admin: AsyncClient, ada: dict[str, Any], accounts: Accounts
) -> None:
    await admin.delete(f"/users/{ada['id']}")

    await rebuild_index(accounts)

    async with accounts.database.read.session() as db:
        assert (await db.execute(select(func.count()).select_from(SearchEntry))).scalar_one() == 0
        if accounts.database.kind == "sqlite":
            assert (await db.execute(text("SELECT count(*) FROM denizen_search_index"))).scalar_one() == 0


@pytest.mark.parametrize("mode", ["create", "skip", "upsert"])
@pytest.mark.parametrize("match", ["email", "username", "external_id"])
async def test_import_matches_nobody_who_is_deleted(
    admin: AsyncClient, make_user: MakeUser, accounts: Accounts, mode: str, match: str
) -> None:
    """Its names stay taken: the row is refused as any that wants what somebody has, and the account stays as it was."""
    gone = await make_user(username="ada", email="ada@example.org", external_id="crm-1")
    await admin.delete(f"/users/{gone['id']}")
    row = {"username": "ada", "email": "ada@example.org", "external_id": "crm-1", "full_name": "Eve"}

    for dry_run in ("true", "false"):
        answer = await admin.post(
            f"/users/import?mode={mode}&match={match}&dry_run={dry_run}",
            content=json.dumps(row),
            headers={"Content-Type": "application/x-ndjson"},
        )
        told = json.loads(answer.text.splitlines()[0])
        assert (told["outcome"], told["code"]) == ("refused", "email_taken"), answer.text
    async with accounts.database.read.session() as db:
        user = (await db.scalars(select(User).where(User.id == UUID(gone["id"])))).one()
    assert (user.full_name, user.version) == (None, 2)


async def test_names_are_free_once_the_account_is_erased(
    admin: AsyncClient, ada: dict[str, Any], accounts: Accounts, clock: Clock
) -> None:
    """Not before the grace is over, and then it is erased whole: nothing of it is found in any table."""
    again = {"username": "ada", "email": "ada@example.org", "password": "correct horse battery"}
    heard = listen(accounts)
    await admin.delete(f"/users/{ada['id']}")

    clock.turn(days=30, seconds=-1)
    assert await clean(accounts) == 0
    assert (await admin.post("/users/", json=again)).json()["code"] == "email_taken"
    clock.turn(seconds=1)
    assert await clean(accounts) == 1
    assert await clean(accounts) == 0

    ada_id = UUID(ada["id"])
    assert [event for event in heard if not isinstance(event, UserDeleted)] == [UserErased(ada_id)]
    assert (await admin.post(f"/users/{ada['id']}/restore")).status_code == 404
    assert (await admin.post("/users/", json=again)).status_code == 201


async def test_cleaner_takes_the_oldest_first_and_no_more_than_it_may(
    admin: AsyncClient, make_user: MakeUser, accounts: Accounts, clock: Clock
) -> None:
    made = []
    for _ in range(3):
        made.append((await make_user())["id"])
        await admin.delete(f"/users/{made[-1]}")
        clock.turn(hours=1)
    clock.turn(days=30)

    assert await clean(accounts, limit=2) == 2

    async with accounts.database.read.session() as db:
        assert [str(each) for each in await db.scalars(select(User.id))] == made[2:]
    assert [cleaner.name for cleaner in accounts.cleaners].count("deleted accounts") == 1
    assert await clean(accounts, limit=2) == 1


async def test_what_a_host_keeps_refuses_the_deletion_and_not_only_the_erasure(
    admin: AsyncClient, ada: dict[str, Any], eve: dict[str, Any], accounts: Accounts, clock: Clock
) -> None:
    """RESTRICT is heard at once; CASCADE waits for the erasure. What comes after the deletion is tried again later."""
    kind = "TEXT" if accounts.database.kind == "sqlite" else "uuid"
    refers = f"{kind} REFERENCES denizen_users (id) ON DELETE"
    async with accounts.database.write.begin() as db:
        await db.execute(text(f"CREATE TABLE pets (owner {refers} RESTRICT)"))
        await db.execute(text(f"CREATE TABLE notes (owner {refers} CASCADE)"))
        await db.execute(text("INSERT INTO pets SELECT id FROM denizen_users WHERE username = 'ada'"))
        await db.execute(text("INSERT INTO notes SELECT id FROM denizen_users"))

    async def notes() -> int:
        async with accounts.database.read.session() as db:
            return int((await db.execute(text("SELECT count(*) FROM notes"))).scalar_one())

    for path in (f"/users/{ada['id']}", f"/users/{ada['id']}?erase=true"):
        refused = await admin.delete(path)
        assert (refused.status_code, refused.json()["code"]) == (409, "user_in_use")
    assert (await admin.get(f"/users/{ada['id']}")).json() == ada
    assert (await admin.delete(f"/users/{eve['id']}")).status_code == 204
    assert await notes() == 2
    async with accounts.database.write.begin() as db:
        await db.execute(text("INSERT INTO pets SELECT id FROM denizen_users WHERE username = 'evelyn'"))
    clock.turn(days=30)
    assert await clean(accounts) == 0
    async with accounts.database.write.begin() as db:
        await db.execute(text("DELETE FROM pets"))
    assert await clean(accounts) == 0  # not before tomorrow
    clock.turn(days=1)
    assert await clean(accounts) == 1
    assert await notes() == 1


async def test_erasing_at_once_takes_who_is_there_and_who_is_deleted(
    admin: AsyncClient, ada: dict[str, Any], eve: dict[str, Any], accounts: Accounts
) -> None:
    heard = listen(accounts)
    ada_id, eve_id = UUID(ada["id"]), UUID(eve["id"])
    await admin.delete(f"/users/{eve['id']}")

    stale = await admin.delete(f"/users/{eve['id']}?erase=true", headers={"If-Match": '"1"'})
    statuses = [
        (await admin.delete(f"/users/{user['id']}?erase=true", headers={"If-Match": version})).status_code
        for user, version in ((ada, '"1"'), (eve, '"2"'), (eve, '"2"'))
    ]

    assert (stale.status_code, statuses) == (412, [204, 204, 404])
    told = [event for event in heard if isinstance(event, UserDeleted | UserErased)]
    assert told[1:] == [UserDeleted(ada_id), UserErased(ada_id), UserErased(eve_id)]
    async with accounts.database.read.session() as db:
        assert (await db.scalars(select(User.id))).all() == []


async def test_if_match_holds_for_deletion(admin: AsyncClient, ada: dict[str, Any]) -> None:
    path = f"/users/{ada['id']}"

    assert (await admin.delete(path, headers={"If-Match": '"2"'})).status_code == 412
    assert (await admin.delete(path, headers={"If-Match": '"1"'})).status_code == 204
    assert (await admin.post(f"{path}/restore")).headers["etag"] == '"3"'
    assert (await admin.delete(path, headers={"If-Match": '"1"'})).status_code == 412


async def test_who_can_be_restored_is_found_over_http(admin: AsyncClient, ada: dict[str, Any]) -> None:
    await admin.delete(f"/users/{ada['id']}")

    [deletion] = (await admin.get("/audit", params={"action": "user.deleted"})).json()
    assert deletion["facts"] == {"erase_at": "2026-03-02T09:30:00.123456Z"}
    assert (await admin.post(f"/users/{deletion['subject_id']}/restore")).status_code == 200


async def test_restoring_who_is_there_changes_nothing(
    admin: AsyncClient, ada: dict[str, Any], accounts: Accounts
) -> None:
    heard = listen(accounts)

    assert (await admin.post(f"/users/{ada['id']}/restore")).json() == ada
    assert heard == []
    assert (await admin.post("/users/019a5c1e-7f00-7a11-8b22-3c33d44e55f6/restore")).status_code == 404


async def test_deletions_and_restorations_at_once_come_out_even(
    admin: AsyncClient, ada: dict[str, Any], accounts: Accounts
) -> None:
    """Each that was done was told once, they take turns, and the index says what the table says."""
    heard, statuses = listen(accounts), list[int]()

    async def act(number: int) -> None:
        path = f"/users/{ada['id']}"
        answer = await (admin.post(f"{path}/restore") if number % 2 else admin.delete(path))
        statuses.append(answer.status_code)

    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(act, number)

    assert set(statuses) <= {200, 204, 404}
    kinds = [type(event) for event in heard if isinstance(event, UserDeleted | UserRestored)]
    async with accounts.database.read.session() as db:
        user = (await db.scalars(select(User).where(User.id == UUID(ada["id"])))).one()
    assert user.version == 1 + len(kinds)
    assert abs(kinds.count(UserDeleted) - kinds.count(UserRestored)) == (user.deleted_at is not None)
    assert (await check_index(accounts.database)).is_whole
    found = (await admin.get("/users/?q=lovelace")).json()
    assert bool(found) == (user.deleted_at is None)


class TestWithoutGrace:
    """`DENIZEN_DELETE_GRACE=0`."""

    @pytest.fixture
    def overrides(self) -> dict[str, Any]:
        return {**PATIENT, "delete_grace": 0}

    async def test_deletion_erases_at_once(self, admin: AsyncClient, ada: dict[str, Any], accounts: Accounts) -> None:
        path = f"/users/{ada['id']}"

        assert (await admin.delete(path)).status_code == 204
        assert (await admin.delete(path)).status_code == 404
        assert (await admin.post(f"{path}/restore")).status_code == 404
        again = {"username": "ada", "email": "ada@example.org", "password": "correct horse battery"}
        assert (await admin.post("/users/", json=again)).status_code == 201


async def test_grace_that_is_none_now_erases_nobody_who_was_deleted_before(
    admin: AsyncClient, ada: dict[str, Any], accounts: Accounts
) -> None:
    await admin.delete(f"/users/{ada['id']}")
    accounts.settings = accounts.settings.model_copy(update={"delete_grace": 0})

    with pytest.raises(UserNotFound):
        async with accounts.writing() as db:
            await delete_user(accounts, db, UUID(ada["id"]), versions=None, at=accounts.clock())

    assert (await admin.post(f"/users/{ada['id']}/restore")).status_code == 200
