"""Imports and the rule against take-over: nobody is imported over who may do more, and nobody is given more."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
from httpx import AsyncClient
from sqlalchemy import update

from denizen.core.accounts import Accounts
from denizen.sessions.models import Session
from denizen.sessions.service import open_session
from tests.account.conftest import give_key, opens, stored
from tests.audit.test_write_entries import entries
from tests.conftest import MakePerson, MakeUser, Person
from tests.transfer.conftest import HASH

IMPORTER = ("users:read", "users:import", "users:write", "users:hashes")
CSV = {"Content-Type": "text/csv"}
NDJSON = {"Content-Type": "application/x-ndjson"}


async def _send(client: AsyncClient, by: Person, *rows: dict[str, Any], **query: str) -> list[dict[str, Any]]:
    body = "\n".join(map(json.dumps, rows))
    answer = await client.post("/users/import", params=query, content=body, headers=by.headers | NDJSON)
    assert answer.status_code == 200, answer.text
    *results, last = map(json.loads, answer.text.splitlines())
    assert "summary" in last, last
    return results


def _told(results: list[dict[str, Any]]) -> list[str]:
    return [result.get("code") or result["outcome"] for result in results]


async def _roles(client: AsyncClient, username: str, by: Person) -> list[str]:
    (user,) = (await client.get(f"/users/?username={username}", headers=by.headers)).json()
    return await _roles_of(client, user["id"], by)


async def _roles_of(client: AsyncClient, user_id: str, by: Person) -> list[str]:
    return [role["name"] for role in (await client.get(f"/users/{user_id}/roles", headers=by.headers)).json()]


def _row(person: Person, **values: Any) -> dict[str, Any]:
    return {"email": f"{person.username}@example.org", **values}


@pytest.mark.parametrize("dry_run", ["true", "false"])
async def test_nobody_is_imported_over_who_may_do_more(
    client: AsyncClient, accounts: Accounts, make_person: MakePerson, dry_run: str
) -> None:
    """Row by row: the others of the file go in, and the audit tells of each. A row that changes nothing takes nothing
    over.
    """
    clerk = await make_person(*IMPORTER)
    root, auditor, below = (
        await make_person(roles=["admin"]),
        await make_person("audit:read"),
        await make_person("users:read"),
    )
    before = [(await client.get(f"/users/{person.id}", headers=clerk.headers)).json() for person in (root, auditor)]

    results = await _send(
        client,
        clerk,
        _row(root, full_name="Mine", username="mine"),
        _row(auditor, is_active=False),
        _row(below, full_name="Below"),
        _row(clerk, full_name="Me"),
        {"email": "new@example.org"},
        mode="upsert",
        dry_run=dry_run,
    )

    created = "valid" if dry_run == "true" else "created"
    assert _told(results) == ["beyond_caller", "beyond_caller", "updated", "own_account", created]
    after = [(await client.get(f"/users/{person.id}", headers=clerk.headers)).json() for person in (root, auditor)]
    assert after == before
    unchanged = await _send(client, clerk, _row(root, is_active=True), mode="upsert")
    assert _told(unchanged) == ["unchanged"]
    noted = [(each.facts, each.subject_id) for each in await entries(accounts) if each.outcome == "refused"]
    act = '"act":"POST /users/import"'
    assert noted == [
        (f'{{"code":"beyond_caller",{act}}}', root.id),
        (f'{{"code":"beyond_caller",{act}}}', auditor.id),
        (f'{{"code":"own_account",{act}}}', clerk.id),
    ]
    skipped = await _send(client, clerk, _row(root, full_name="Mine"), mode="skip")
    assert _told(skipped) == ["skipped"]


@pytest.mark.parametrize("column", ["username", "external_id"])
async def test_whatever_finds_him(client: AsyncClient, make_person: MakePerson, column: str) -> None:
    clerk, root = await make_person(*IMPORTER), await make_person(roles=["admin"], external_id="crm-1")
    key = {"username": root.username, "external_id": "crm-1"}[column]

    refused = await _send(client, clerk, {column: key, "email": "mine@example.org"}, mode="upsert", match=column)

    assert _told(refused) == ["beyond_caller"]


@pytest.mark.slow
async def test_hash_of_somebody_who_may_do_more_is_not_replaced(client: AsyncClient, make_person: MakePerson) -> None:
    clerk, root = await make_person(*IMPORTER), await make_person(roles=["admin"])
    chosen = f"$argon2id$v=19$m=19456,t=2,p=1${'x' * 22}${'y' * 43}"

    refused = await _send(client, clerk, _row(root, hashed_password=chosen), mode="upsert")

    assert _told(refused)[0] in {"beyond_caller", "hash_unsupported"}
    assert (await client.get("/roles/", headers=root.headers)).status_code == 200


async def test_roles_are_given_as_far_as_the_caller_may(client: AsyncClient, make_person: MakePerson) -> None:
    root = await make_person(roles=["admin"])
    for name, permissions in (("reader", ["users:read"]), ("auditor", ["audit:read"]), ("writer", ["users:write"])):
        await client.post("/roles/", json={"name": name, "permissions": permissions}, headers=root.headers)
    clerk = await make_person(*IMPORTER, "roles:write")
    there = await make_person(roles=["reader"])

    results = await _send(
        client,
        clerk,
        {"username": "one", "roles": ["reader", "writer"]},
        {"username": "two", "roles": ["auditor"]},
        {"username": "three", "roles": ["reader", "admin"]},
        {"username": "four", "roles": ["nobody"]},
        {"username": "five", "roles": ["No Role\u00e9"]},
        {"username": "six", "roles": "reader"},
        {"username": "seven", "roles": [7]},
        {"username": "eight", "roles": []},
        {"username": there.username, "roles": ["writer", "reader"]},
        mode="upsert",
        match="username",
    )

    assert _told(results) == [
        "created",
        "beyond_caller",
        "beyond_caller",
        "role_not_found",
        "role_not_found",
        "type_invalid",
        "type_invalid",
        "created",
        "updated",
    ]
    assert await _roles(client, "one", root) == ["reader", "writer"]
    assert await _roles(client, there.username, root) == ["reader", "writer"]
    again = await _send(
        client, clerk, {"username": there.username, "roles": ["reader"]}, mode="upsert", match="username"
    )
    assert _told(again) == ["unchanged"]
    (two,) = (await client.get("/users/?username=two", headers=root.headers)).json() or [None]
    assert two is None


@pytest.mark.parametrize("mode", ["create", "skip", "upsert"])
async def test_roles_of_a_csv_file_in_every_mode(client: AsyncClient, make_person: MakePerson, mode: str) -> None:
    root = await make_person(roles=["admin"])
    for name in ("a", "b"):
        await client.post("/roles/", json={"name": name, "permissions": []}, headers=root.headers)
    body = "email,roles\none@example.org,a;b\ntwo@example.org,b a\nthree@example.org,\nfour@example.org,c\n"

    answer = await client.post(f"/users/import?mode={mode}", content=body, headers=root.headers | CSV)

    *results, _ = map(json.loads, answer.text.splitlines())
    assert _told(results) == ["created", "created", "created", "role_not_found"]
    users = (await client.get("/users/?limit=100", headers=root.headers)).json()
    held = {user["email"]: await _roles_of(client, user["id"], root) for user in users if user["id"] != str(root.id)}
    assert held == {"one@example.org": ["a", "b"], "two@example.org": ["a", "b"], "three@example.org": []}


async def test_roles_in_a_file_take_the_right_to_give_them(client: AsyncClient, make_person: MakePerson) -> None:
    clerk = await make_person(*IMPORTER)

    refused = await _send(client, clerk, {"username": "one", "roles": [f"of-{clerk.username}"]}, {"username": "two"})

    assert _told(refused) == ["roles_not_allowed", "created"]


@pytest.mark.slow
async def test_import_leaves_the_last_administrator(client: AsyncClient, make_person: MakePerson) -> None:
    people, by = [await make_person(roles=["admin"]) for _ in range(3)], await make_person("*")
    await make_person(roles=["admin"], is_active=False)

    results = await _send(client, by, *(_row(person, is_active=False) for person in people), mode="upsert")

    assert _told(results) == ["updated", "updated", "last_administrator"]
    assert (await client.get("/roles/", headers=people[2].headers)).status_code == 200


async def test_nobody_changes_accounts_by_a_file_in_somebody_elses_place(
    client: AsyncClient, make_person: MakePerson, accounts: Accounts
) -> None:
    clerk, other = await make_person(*IMPORTER, "roles:write"), await make_person()
    async with accounts.writing() as db:
        await db.execute(update(Session).where(Session.user_id == clerk.id).values(impersonator_id=other.id))

    refused = await client.post(
        "/users/import?mode=upsert", content=b'{"email": "a@example.org"}', headers=clerk.headers | NDJSON
    )
    assert (refused.status_code, refused.json()["code"]) == (403, "not_while_impersonating")
    told = await _send(client, clerk, {"username": "one", "roles": [f"of-{clerk.username}"]})
    assert _told(told) == ["roles_not_allowed"]


@pytest.mark.parametrize("with_hash", [True, False])
async def test_an_address_that_a_file_says_was_proved_ends_what_was_made_before(
    client: AsyncClient, make_person: MakePerson, make_user: MakeUser, accounts: Accounts, *, with_hash: bool
) -> None:
    """Pre-hijacking: the account may be a stranger's, opened in the hope that its owner comes one day. A second time
    proves nothing new, and ends nothing.
    """
    clerk = await make_person(*IMPORTER)
    user = await make_user()
    stranger, key = await _sign_in(accounts, user["id"]), await give_key(accounts, user)
    row = {"email": user["email"], "email_verified_at": "2026-01-01T00:00:00Z"}

    results = await _send(client, clerk, row | ({"hashed_password": HASH} if with_hash else {}), mode="upsert")

    assert _told(results) == ["updated"]
    assert not await opens(accounts, stranger)
    assert not await opens(accounts, key)
    assert (await stored(accounts, user)).hashed_password == (HASH if with_hash else None)
    owner = await _sign_in(accounts, user["id"])
    await _send(client, clerk, row | {"email_verified_at": "2026-01-02T00:00:00Z"}, mode="upsert")
    assert await opens(accounts, owner)
    assert (await stored(accounts, user)).hashed_password == (HASH if with_hash else None)


async def _sign_in(accounts: Accounts, user_id: str) -> dict[str, str]:
    async with accounts.writing() as db:
        _, token = await open_session(accounts, db, UUID(user_id), method="password", at=accounts.clock())
    return {"Authorization": f"Bearer {token}"}


async def test_sign_ins_of_whoever_is_made_inactive_by_a_file_end_for_good(
    client: AsyncClient, make_person: MakePerson, accounts: Accounts
) -> None:
    """As they do over HTTP: whoever is active again later signs in anew."""
    clerk, person, other = await make_person(*IMPORTER), await make_person(), await make_person()

    for active in (False, True):
        rows = [_row(person, is_active=active), _row(other, full_name=f"Active: {active}")]
        assert _told(await _send(client, clerk, *rows, mode="upsert")) == ["updated", "updated"]

    assert not await opens(accounts, person.headers)
    assert await opens(accounts, other.headers)


async def test_an_import_that_changes_nobody_is_no_event(
    client: AsyncClient, accounts: Accounts, make_person: MakePerson
) -> None:
    clerk = await make_person(*IMPORTER)
    before = len(await entries(accounts))

    await _send(client, clerk, _row(clerk, full_name="Me"), mode="skip")

    assert [each.action for each in (await entries(accounts))[before:] if each.action == "users.imported"] == []
