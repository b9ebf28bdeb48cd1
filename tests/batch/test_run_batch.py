"""`POST /users/batch`: each operation for itself, all in one transaction."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from httpx import AsyncClient
from sqlalchemy import text

from denizen.core.accounts import Accounts
from denizen.core.auth import Scope
from denizen.core.hashing import Lane
from denizen.users import crud
from tests.batch.conftest import Send, codes, create, delete, names, patch
from tests.conftest import Clock, MakeKey, MakePerson, MakeUser

UNKNOWN = "019a5c1e-7f00-7a11-8b22-3c33d44e55f6"


async def test_what_is_refused_in_the_middle_costs_nobody_else(
    admin: AsyncClient, make_user: MakeUser, send: Send, clock: Clock
) -> None:
    one, two, three = [await make_user(username=name) for name in ("one", "two", "three")]
    clock.turn(hours=1)

    answer = await send(
        create("ada", full_name="Ada", external_id="crm-1", is_active=False),
        create("eve", email="nobody"),
        patch(one["id"], full_name="First", if_version=1),
        patch(two["id"], username="ada"),
        patch(two["id"], username="deux"),
        delete(three["id"]),
        patch(three["id"], full_name="gone"),
        delete(UNKNOWN),
        create("bob", external_id="crm-1"),
        create("bob"),
    )

    first, last = codes(answer)[:5], codes(answer)[5:]
    assert first == [201, "email_invalid", 200, "username_taken", 200]
    assert last == [204, "user_not_found", "user_not_found", "external_id_taken", 201]
    assert (answer.json()["succeeded"], answer.json()["failed"]) == (5, 5)
    assert answer.headers["cache-control"] == "no-store"
    people = await names(admin)
    assert people.keys() == {"ada", "one", "deux", "bob"}
    assert answer.json()["results"][0] == {"op": "create", "status": 201, "id": people["ada"]["id"], "version": 1}
    assert answer.json()["results"][2] == {"op": "patch", "status": 200, "id": one["id"], "version": 2}
    assert answer.json()["results"][5] == {"op": "delete", "status": 204, "id": three["id"]}
    assert answer.json()["results"][3] == {
        "op": "patch",
        "status": 409,
        "id": two["id"],
        "error": {
            "code": "username_taken",
            "title": "Username already registered",
            "detail": "Username already registered",
            "field": "username",
        },
    }
    assert (people["ada"]["is_active"], people["ada"]["external_id"]) == (False, "crm-1")
    assert people["one"]["full_name"] == "First"
    assert people["one"]["updated_at"] == people["ada"]["created_at"] == "2026-01-31T10:30:00.123456Z"


async def test_results_tell_of_nobody(send: Send) -> None:
    answer = await send(create("somebody", full_name="Some Body"), create("SomeBody"), create("other", email="a@b@c"))

    assert codes(answer) == [201, "email_taken", "email_invalid"]
    assert "somebody" not in answer.text.lower()
    assert "a@b" not in answer.text


async def test_first_of_a_kind_in_a_batch_wins(admin: AsyncClient, send: Send) -> None:
    answer = await send(
        create("ada"),
        create("other", email="ADA@Example.ORG"),
        create("ADA", email="other@example.org"),
        create("аda", email="other@example.org"),
        create("other"),
    )

    assert codes(answer) == [201, "email_taken", "username_taken", "username_too_similar", 201]
    assert (await names(admin)).keys() == {"ada", "other"}


async def test_what_one_operation_frees_the_next_may_take(make_user: MakeUser, send: Send) -> None:
    user = await make_user(username="ada")

    assert codes(await send(patch(user["id"], username="lovelace"), create("ada"))) == [200, 201]
    again = await send(delete(user["id"]), create("lovelace"), patch(user["id"], username="eve"), delete(user["id"]))
    assert codes(again) == [204, "username_taken", "user_not_found", "user_not_found"]  # deleted, not erased


async def test_other_version_is_stale(make_user: MakeUser, send: Send) -> None:
    user = await make_user()

    answer = await send(
        patch(user["id"], full_name="A", if_version=1),
        patch(user["id"], full_name="B", if_version=1),
        patch(user["id"], username="b", if_version=1),
        delete(user["id"], if_version=1),
        patch(user["id"], if_version=2),
        delete(user["id"], if_version=2),
    )

    assert codes(answer) == [200, "user_changed", "user_changed", "user_changed", 200, 204]
    assert [result["status"] for result in answer.json()["results"]][1] == 412


async def test_passwords_are_judged_and_hashed_as_at_sign_up(accounts: Accounts, send: Send) -> None:
    answer = await send(
        create("ada", password="correct horse battery"),
        create("eve"),
        create("bob", password="tiny"),
        create("bob", password="password123"),
        create("bob", password="bob@example.org"),
        create("bob", password=None),
    )

    assert codes(answer) == [201, 201, "password_too_short", "password_common", "password_contextual", 201]
    assert "correct horse" not in answer.text
    async with accounts.database.read.session() as db:
        ada = await crud.get_user_by_email(db, "ada@example.org")
        eve = await crud.get_user_by_email(db, "eve@example.org")
    assert ada.hashed_password is not None
    assert await accounts.hashing.verify("correct horse battery", ada.hashed_password, lane=Lane.TRUSTED)
    assert eve.hashed_password is None


MALFORMED: list[tuple[dict[str, Any], str]] = [
    (create("x", full_name="nul\x00"), "full_name"),
    (create("x", full_name="half \udcff"), "full_name"),
    (create("x", password="half \udcff"), "password"),
    (create("x", full_name="x" * 201), "full_name"),
    (create("x", hashed_password="$argon2id$planted"), "hashed_password"),
    (create("x", id=UNKNOWN), "id"),
    ({"op": "create"}, "user"),
    ({"op": "create", "user": ["planted"]}, "user"),
    ({"op": "create", "user": {"username": "planted"}}, "email"),
    ({"op": "create", "user": {"username": "x", "email": "x@example.org"}, "planted": 1}, "planted"),
    ({"op": "patch", "id": UNKNOWN}, "changes"),
    (patch(UNKNOWN, is_active=None), "is_active"),
    (patch(UNKNOWN, version=7), "version"),
    (patch(UNKNOWN, password="planted planted"), "password"),
    (patch(17, full_name="x"), "id"),
    (patch(UNKNOWN, if_version=2**63 - 1), "if_version"),
    (patch(UNKNOWN, if_version=0), "if_version"),
    (patch(UNKNOWN, if_version="3"), "if_version"),
    (delete(UNKNOWN, if_version=True), "if_version"),
    (delete(UNKNOWN, if_version=1.5), "if_version"),
]


async def test_operation_that_is_not_valid_costs_itself_alone(admin: AsyncClient, send: Send) -> None:
    answer = await send(create("ada"), *(operation for operation, _ in MALFORMED), create("eve"))

    assert codes(answer) == [201, *["invalid"] * len(MALFORMED), 201]
    results = answer.json()["results"][1:-1]
    assert [result["error"]["field"] for result in results] == [field for _, field in MALFORMED]
    assert {result["status"] for result in results} == {422}
    assert "planted" not in answer.text.replace('"planted"', "").replace("planted: Extra", "")
    assert "9223372036854775807" not in answer.text
    assert (await names(admin)).keys() == {"ada", "eve"}


async def test_several_faults_of_an_operation_are_all_told(send: Send) -> None:
    answer = await send({"op": "create", "user": {"full_name": 1, "nick": 2}})

    error = answer.json()["results"][0]["error"]
    assert error["detail"] == "4 fields are not valid."
    assert {each["field"] for each in error["errors"]} == {"username", "email", "full_name", "nick"}


async def test_id_of_another_shape_names_nobody(send: Send) -> None:
    answer = await send(
        *(delete(user_id) for user_id in ("", "7", "me", "x" * 10_000, "\x00", "\udcff", UNKNOWN.upper()))
    )

    assert set(codes(answer)) <= {"user_not_found", "invalid"}
    assert "xxx" not in answer.text


NO_BATCH: list[Any] = [
    [],
    {},
    "operations",
    {"operations": {}},
    {"operations": None},
    {"operations": [create("ada"), {"op": "rename", "id": UNKNOWN}]},
    {"operations": [create("ada"), {"user": {}}]},
    {"operations": [create("ada"), 7]},
    {"operations": [create("ada"), None]},
    {"operations": [create("ada"), {"op": None}]},
    {"operations": [create("ada"), {"op": ["create"]}]},
    {"operations": [create("ada")], "more": 1},
    {"operations": [create(f"p{number}") for number in range(1001)]},
    {"operations": [create(f"p{number}", password="correct horse battery") for number in range(101)]},
]


async def test_body_that_is_no_batch_is_refused_whole(admin: AsyncClient) -> None:
    for body in NO_BATCH:
        answer = await admin.post("/users/batch", json=body)

        assert (answer.status_code, answer.json()["code"]) == (422, "invalid"), body
        assert "rename" not in answer.text
    assert await names(admin) == {}


async def test_batch_of_nothing_does_nothing(send: Send) -> None:
    answer = await send()

    assert answer.json() == {"succeeded": 0, "failed": 0, "results": []}


@pytest.mark.slow
async def test_thousand_at_once_are_found_by_name_afterwards(
    admin: AsyncClient, accounts: Accounts, send: Send
) -> None:
    made = await send(*(create(f"person{number}", full_name="Ada") for number in range(1000)))
    assert made.json()["succeeded"] == 1000
    ids = [result["id"] for result in made.json()["results"]]
    changed = await send(*(patch(user_id, full_name=f"Eve{place}") for place, user_id in enumerate(ids)))
    assert changed.json()["succeeded"] == 1000
    erased = await send(patch(ids[0], full_name="Zoe"), delete(ids[0]), *(delete(user_id) for user_id in ids[1:500]))
    assert erased.json()["failed"] == 0

    async with accounts.database.read.session() as db:
        entries = (await db.execute(text("SELECT text FROM denizen_search"))).scalars().all()
    assert len(entries) == len(await names(admin)) == 500
    assert all("EVE" in entry.upper() and "ADA" not in entry.upper() for entry in entries)
    if accounts.database.kind == "sqlite":
        async with accounts.database.write.begin() as db:  # FTS5 compares itself with the table, and raises
            await db.execute(
                text("INSERT INTO denizen_search_index (denizen_search_index, rank) VALUES ('integrity-check', 1)")
            )


async def test_refusals_among_many_cost_nobody_else(admin: AsyncClient, send: Send) -> None:
    """By then PostgreSQL has the statements prepared, and a savepoint that is undone may take that back."""
    first, others = [create(f"first{number}") for number in range(8)], [create(f"other{number}") for number in range(4)]

    answer = await send(*first, create("first0"), *others, create("first1"), create("last"))

    assert codes(answer) == [201] * 8 + ["email_taken"] + [201] * 4 + ["email_taken", 201]
    assert len(await names(admin)) == 13


async def test_one_operation_more_costs_few_statements(accounts: Accounts, make_user: MakeUser, send: Send) -> None:
    """A savepoint around it, what it does, and what the audit has of it: whatever rooms of ours listen."""
    user, other = await make_user(), await make_user()
    ran: list[str] = []
    accounts.database.observers.append(ran.append)

    counts = []
    for operations in (
        [create("ada")],
        [create("bob"), create("eve")],
        [create("fay"), patch(user["id"], full_name="x")],
        [create("guy"), patch(user["id"], full_name="y"), patch(other["id"], full_name="x")],
    ):
        ran.clear()
        answer = await send(*operations)
        assert answer.json()["failed"] == 0
        counts.append(len(ran))

    assert (counts[1] - counts[0], counts[3] - counts[2]) == (5, 7), ran


async def test_batch_needs_the_right_to_write(client: AsyncClient, make_key: MakeKey) -> None:
    body = {"operations": [create("ada")]}
    without = await client.post("/users/batch", json=body)
    reader = await client.post("/users/batch", json=body, headers=await make_key(Scope.USERS_READ, Scope.USERS_IMPORT))

    assert (without.status_code, reader.status_code) == (401, 403)


async def test_same_batch_under_one_key_is_done_once(admin: AsyncClient, send: Send) -> None:
    operations = [create("ada"), create("ADA"), create("eve")]

    first = await send(*operations, **{"Idempotency-Key": "k"})
    again = await send(*operations, **{"Idempotency-Key": "k"})
    other = await send(create("bob"), **{"Idempotency-Key": "k"})

    assert codes(first) == [201, "email_taken", 201]
    assert again.content == first.content
    assert again.headers["idempotency-replayed"] == "true"
    assert other.json()["code"] == "idempotency_key_reused"
    assert (await names(admin)).keys() == {"ada", "eve"}


@pytest.mark.slow
async def test_two_batches_at_once_on_the_same_people(
    admin: AsyncClient, other: AsyncClient, make_user: MakeUser, send: Send
) -> None:
    """In opposite orders, on two workers: on PostgreSQL each would hold what the other waits for."""
    ids = [(await make_user())["id"] for _ in range(30)]
    forwards = [[patch(user_id, full_name=f"F{place}"), create(f"new{place}")] for place, user_id in enumerate(ids)]
    one = [operation for pair in forwards for operation in pair]

    other.headers.update(admin.headers)
    answers = await asyncio.gather(
        *(send(*operations) for operations in (one, one[::-1]) * 3),
        *(other.post("/users/batch", json={"operations": operations}) for operations in (one[::-1], one) * 3),
    )
    singles = await asyncio.gather(
        send(*one), *(other.patch(f"/users/{user_id}", json={"external_id": user_id}) for user_id in ids[::-1])
    )

    assert [answer.status_code for answer in answers] == [200] * 12
    assert [answer.json()["succeeded"] for answer in answers].count(60) == 1
    assert {answer.status_code for answer in singles} == {200}
    assert len(await names(admin)) == 60


async def test_what_the_database_holds_on_to_costs_itself_alone(
    admin: AsyncClient, make_user: MakeUser, send: Send, accounts: Accounts
) -> None:
    """As a host's table does whose rows keep an account from being erased."""
    user = await make_user(username="one")
    kind = "TEXT" if accounts.database.kind == "sqlite" else "uuid"
    async with accounts.database.write.begin() as db:
        await db.execute(text(f"CREATE TABLE pets (owner {kind} REFERENCES denizen_users (id) ON DELETE RESTRICT)"))
        await db.execute(text("INSERT INTO pets SELECT id FROM denizen_users"))

    answer = await send(delete(user["id"]), create("ada"))

    assert codes(answer) == ["user_in_use", 201]
    assert (await names(admin)).keys() == {"one", "ada"}


async def test_body_may_be_larger_than_others_and_not_without_end(admin: AsyncClient) -> None:
    operation = create("ada", full_name="x" * 200)
    large = json.dumps({"operations": [operation] * 1000, " " * 1_200_000: 1})
    larger = json.dumps({"operations": [], " " * 2_200_000: 1})

    for body, status in ((large, 422), (larger, 413)):
        answer = await admin.post("/users/batch", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == status


async def test_deleting_oneself_takes_the_proof_that_it_takes_alone(
    client: AsyncClient, make_person: MakePerson, clock: Clock
) -> None:
    """No batch is a way around: a stolen sign-in or a key ends no account of its owner."""
    person = await make_person("users:write", "users:read")
    made = await client.post("/keys/", headers=person.headers, json={"name": "x", "scopes": ["users:write"]})
    key = {"Authorization": f"Bearer {made.json()['token']}"}
    body = {"operations": [delete(str(person.id))]}

    assert codes(await client.post("/users/batch", headers=key, json=body)) == ["session_needed"]
    clock.turn(hours=2)
    assert codes(await client.post("/users/batch", headers=person.headers, json=body)) == ["reauthentication_needed"]
    assert (await client.get("/users/me", headers=person.headers)).status_code == 200
