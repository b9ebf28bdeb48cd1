"""Importing, on both databases: every row is told the truth about, and none stops another."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text, update

from denizen.core.accounts import Accounts
from denizen.core.errors import Unavailable
from denizen.core.events import Event
from denizen.core.hashers import Argon2Hasher
from denizen.core.ids import new_id, new_ids
from denizen.transfer.adapters.formats import make_reader
from denizen.transfer.errors import ColumnUnknown
from denizen.transfer.events import UsersImported
from denizen.transfer.schemas import RowResult
from denizen.transfer.service import import_users
from denizen.users.models import User
from tests.conftest import Clock
from tests.transfer.conftest import HASH, BringIn, Stored, in_pieces, told


def ndjson(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


async def test_rows_become_accounts(bring_in: BringIn, stored: Stored, clock: Clock) -> None:
    known = str(new_id())

    results = await bring_in(
        ndjson(
            {"email": "Ada@Example.org", "username": "ada", "full_name": "Ada 👑", "external_id": "crm-1"},
            {
                "id": known.upper(),
                "username": "grace",
                "is_active": False,
                "created_at": "1906-12-09T00:00:00-05:00",
                "updated_at": "2020-01-02T03:04:05.678901Z",
                "version": 7,
                "hashed_password": HASH,
            },
        ),
        form="ndjson",
    )

    assert told(results) == [(1, "created"), (2, "created")]
    ada, grace = sorted(await stored(), key=lambda user: str(user["username"]))
    assert ada == {
        "id": UUID(results[0].id),
        "username": "ada",
        "email": "Ada@example.org",
        "external_id": "crm-1",
        "full_name": "Ada 👑",
        "hashed_password": None,
        "is_active": True,
        "email_verified_at": None,
        "created_at": clock(),
        "updated_at": clock(),
        "version": 1,
        "email_key": "ada@example.org",
        "username_key": "ada",
        "username_skeleton": "ada",
        "profile": {},
    }
    assert grace["id"] == UUID(known)
    assert grace["is_active"] is False
    assert grace["created_at"] == datetime(1906, 12, 9, 5, tzinfo=UTC)
    assert grace["updated_at"] == datetime(2020, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    assert grace["version"] == 7
    assert grace["hashed_password"] == HASH


@pytest.mark.parametrize(
    ("row", "code", "field"),
    [
        ({}, "identity_missing", None),
        ({"email": None, "username": None}, "identity_missing", None),
        ({"email": "no address"}, "email_invalid", "email"),
        ({"email": "a@" + "x" * 2000}, "value_too_long", "email"),
        ({"email": 5}, "type_invalid", "email"),
        ({"email": ["a@example.org"]}, "type_invalid", "email"),
        ({"email": "a\ud800@example.org"}, "text_unacceptable", "email"),
        ({"username": ""}, "username_invalid", "username"),
        ({"username": "with space"}, "username_invalid", "username"),
        ({"username": "b@example.org"}, "username_invalid", "username"),
        ({"username": "a", "full_name": "nul\0"}, "text_unacceptable", "full_name"),
        ({"username": "a", "full_name": "x" * 201}, "value_too_long", "full_name"),
        ({"username": "a", "external_id": ""}, "value_empty", "external_id"),
        ({"username": "a", "external_id": "x" * 256}, "value_too_long", "external_id"),
        ({"username": "a", "id": "1"}, "id_invalid", "id"),
        ({"username": "a", "id": "0b9a5c1e-7f00-4a11-8b22-3c33d44e55f6"}, "id_invalid", "id"),
        ({"username": "a", "id": 7}, "type_invalid", "id"),
        ({"username": "a", "is_active": "true"}, "boolean_invalid", "is_active"),
        ({"username": "a", "is_active": 1}, "boolean_invalid", "is_active"),
        ({"username": "a", "version": True}, "version_invalid", "version"),
        ({"username": "a", "version": 0}, "version_invalid", "version"),
        ({"username": "a", "version": 2**31}, "version_invalid", "version"),
        ({"username": "a", "created_at": "2026-01-31T09:30:00"}, "time_invalid", "created_at"),
        ({"username": "a", "created_at": "yesterday"}, "time_invalid", "created_at"),
        ({"username": "a", "created_at": 1769851800}, "type_invalid", "created_at"),
        ({"username": "a", "updated_at": "0001-01-01T00:00:00+14:00"}, "time_invalid", "updated_at"),
        ({"username": "a", "updated_at": "9999-12-31T23:59:59-14:00"}, "time_invalid", "updated_at"),
        ({"username": "a", "hashed_password": "$2b$12$abc"}, "hash_unsupported", "hashed_password"),
        ({"username": "a", "hashed_password": HASH.replace("19456", "9999999")}, "hash_unsupported", "hashed_password"),
        ({"username": "a", "hashed_password": "x" * 2000}, "value_too_long", "hashed_password"),
        (
            {"username": "a", "hashed_password": HASH, "password": "long enough for all"},
            "password_and_hash",
            "password",
        ),
        ({"username": "a", "password": "short"}, "password_too_short", "password"),
        ({"username": "a", "password": "password123"}, "password_common", "password"),
        ({"username": "annabella", "password": "annabella1"}, "password_contextual", "password"),
    ],
    ids=lambda value: json.dumps(value)[:40] if isinstance(value, dict) else None,
)
async def test_a_row_that_is_not_valid_is_told_why(
    bring_in: BringIn, stored: Stored, row: dict[str, Any], code: str, field: str | None
) -> None:
    good = {"username": "good"}

    for dry_run in (True, False):
        results = await bring_in(ndjson(row, good), form="ndjson", dry_run=dry_run)

        assert (results[0].code, results[0].field) == (code, field)
        assert results[0].message
        assert told(results)[1] == (2, "valid" if dry_run else "created")
    assert [user["username"] for user in await stored()] == ["good"]


async def test_nothing_of_a_row_is_repeated_to_whoever_reads_the_report(bring_in: BringIn) -> None:
    results = await bring_in(
        ndjson(
            {"email": "secret-value"},
            {"username": "secret value"},
            {"username": "a", "password": "secret"},
            {"username": "b", "hashed_password": "secret-value"},
            {"username": "c", "created_at": "secret-value"},
        ),
        form="ndjson",
    )

    assert [result.outcome for result in results] == ["refused"] * 5
    assert "secret" not in str(results)


async def test_a_file_with_an_unknown_column_changes_nothing(bring_in: BringIn, stored: Stored) -> None:
    with pytest.raises(ColumnUnknown):
        await bring_in("email,phone\na@example.org,1\n")

    assert await stored() == []


# -- who is in the way ------------------------------------------------------------------------------------------------

ID = "019a5c1e-7f00-7a11-8b22-3c33d44e55f6"
THERE = {
    "id": ID,
    "username": "paypal",
    "email": "ada@example.org",
    "external_id": "x",
}


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize("in_file", [True, False])
@pytest.mark.parametrize(
    ("row", "code", "field"),
    [
        ({"email": "ADA@Example.ORG", "username": "other"}, "email_taken", "email"),
        ({"username": "PayPal"}, "username_taken", "username"),
        ({"username": "раураl"}, "username_too_similar", "username"),
        ({"username": "other", "external_id": "x"}, "external_id_taken", "external_id"),
        ({"username": "other", "id": ID.upper()}, "id_taken", "id"),
        (THERE, "email_taken", "email"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_clash_is_told_alike_whether_with_the_database_or_the_file(
    bring_in: BringIn, stored: Stored, row: dict[str, Any], code: str, field: str, *, in_file: bool, dry_run: bool
) -> None:
    if in_file:
        _, result, after = await bring_in(ndjson(THERE, row, {"username": "z"}), form="ndjson", dry_run=dry_run)
        assert "line 1 of this file" in str(result.message)
    else:
        await bring_in(ndjson(THERE), form="ndjson")
        result, after = await bring_in(ndjson(row, {"username": "z"}), form="ndjson", dry_run=dry_run)
        assert "line" not in str(result.message)

    assert (result.outcome, result.code, result.field) == ("refused", code, field)
    assert after.outcome == ("valid" if dry_run else "created")
    if not dry_run:
        assert {user["username"] for user in await stored()} == {"paypal", "z"}


async def test_a_row_that_was_refused_is_in_nobodys_way(bring_in: BringIn, stored: Stored) -> None:
    await bring_in(ndjson({"email": "taken@example.org"}), form="ndjson")
    shared = str(new_id())
    rows = [
        {"id": shared, "username": "bob", "email": "taken@example.org"},  # refused: the address
        {"id": shared, "username": "bob", "external_id": "1"},  # so id and username are free
        {"id": shared, "username": "carl"},  # and now the id is not
        {"username": "dora", "external_id": "1"},
        {"username": "dora"},
    ]

    for dry_run in (True, False):
        results = await bring_in(ndjson(*rows), form="ndjson", dry_run=dry_run)

        good = "valid" if dry_run else "created"
        assert told(results) == [
            (1, "email_taken"),
            (2, good),
            (3, "id_taken"),
            (4, "external_id_taken"),
            (5, good),
        ]
    assert [user["username"] for user in await stored() if user["id"] == UUID(shared)] == ["bob"]


async def test_a_row_is_not_said_to_clash_with_a_later_one(bring_in: BringIn) -> None:
    await bring_in(ndjson({"username": "there", "external_id": "x"}), form="ndjson")

    results = await bring_in(
        ndjson(
            {"username": "new", "email": "new@example.org", "external_id": "x"},
            {"email": "new@example.org"},
        ),
        form="ndjson",
    )

    assert told(results) == [(1, "external_id_taken"), (2, "created")]


@pytest.mark.parametrize("max_batch", [1, 2, 5000])
async def test_importing_twice_tells_that_all_are_there(bring_in: BringIn, stored: Stored, max_batch: int) -> None:
    data = "username,email\n" + "".join(f"user{n},user{n}@example.org\n" for n in range(20))

    first = await bring_in(data, max_batch=max_batch)
    second = await bring_in(data, max_batch=max_batch)

    assert told(first) == [(line, "created") for line in range(2, 22)]
    assert told(second) == [(line, "email_taken") for line in range(2, 22)]
    assert len(await stored()) == 20


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize("max_batch", [1, 2, 3, 100])
async def test_a_line_is_named_however_far_back_it_is(bring_in: BringIn, max_batch: int, *, dry_run: bool) -> None:
    results = await bring_in("username\nada\nbob\ncarl\nADA\n", max_batch=max_batch, dry_run=dry_run)

    assert results[3].message == "Username already registered, in line 2 of this file"


@pytest.mark.parametrize("max_batch", [300, 1300])
@pytest.mark.parametrize("ids", ["none", "growing", "falling"])
async def test_each_of_many_rows_is_told_as_if_it_were_alone(
    bring_in: BringIn, stored: Stored, max_batch: int, ids: str
) -> None:
    """More rows than are stored by one statement, or remembered in one piece; every seventh repeats one before."""
    given = {"none": [""] * 1300, "growing": new_ids(1300), "falling": new_ids(1300)[::-1]}[ids]
    names = [n - 6 if n % 7 == 6 else n for n in range(1300)]
    rows = [
        f"{user_id},user{name},user{n}@example.org\n"
        for n, (user_id, name) in enumerate(zip(given, names, strict=True))
    ]

    results = await bring_in("id,username,email\n" + "".join(rows), max_batch=max_batch)

    assert [(each.line, each.outcome, each.message) for each in results] == [
        (n + 2, "created", None)
        if n == name
        else (n + 2, "refused", f"Username already registered, in line {name + 2} of this file")
        for n, name in enumerate(names)
    ]
    kept = sorted(await stored(), key=lambda user: int(user["username"][4:]))
    assert [user["username"] for user in kept] == [f"user{n}" for n, name in enumerate(names) if n == name]
    assert [str(user["id"]) for user in kept] == [each.id for each in results if each.id]


async def test_an_import_that_half_went_in_is_finished_by_another(bring_in: BringIn, stored: Stored) -> None:
    lines = [f"{new_id()},user{n}\n" for n in range(100)]
    await bring_in("id,username\n" + "".join(lines[:50]))

    results = await bring_in("id,username\n" + "".join(lines))

    assert [result.code for result in results] == ["username_taken"] * 50 + [None] * 50
    assert len(await stored()) == 100


async def test_what_the_database_alone_refuses_costs_one_row(
    bring_in: BringIn, stored: Stored, accounts: Accounts, database_kind: str
) -> None:
    statement = (
        "CREATE TRIGGER no_bob BEFORE INSERT ON denizen_users WHEN NEW.username = 'bob' "
        "BEGIN SELECT RAISE(ABORT, 'no bobs'); END"
        if database_kind == "sqlite"
        else "ALTER TABLE denizen_users ADD CONSTRAINT no_bob CHECK (username <> 'bob')"
    )
    async with accounts.database.write.begin() as db:
        await db.execute(text(statement))
    names = [f"user{n}" for n in range(30)]

    results = await bring_in("username\n" + "\n".join([*names[:11], "bob", *names[11:]]) + "\n")

    assert [(line, code) for line, code in told(results) if code != "created"] == [(13, "row_rejected")]
    assert sorted(str(user["username"]) for user in await stored()) == sorted(names)


# -- while others write -----------------------------------------------------------------------------------------------


async def test_two_imports_of_one_file_create_each_account_once(bring_in: BringIn, stored: Stored) -> None:
    rows = [f"user{n},user{n}@example.org\n" for n in range(400)]
    one, other = "username,email\n" + "".join(rows), "username,email\n" + "".join(reversed(rows))

    first, second = await asyncio.gather(bring_in(one, max_batch=50), bring_in(other, max_batch=50))

    assert len(await stored()) == 400
    created = [result for result in first + second if result.outcome == "created"]
    assert len(created) == 400
    assert len({result.id for result in created}) == 400
    assert {result.code for result in first + second} == {None, "email_taken"}


@pytest.mark.slow
async def test_other_writers_come_in_between(accounts: Accounts, stored: Stored) -> None:
    """Somebody who writes one thing after the other meanwhile waits for one batch at a time, not for the whole."""
    data = b"username\n" + b"".join(b"user%d\n" % n for n in range(3000))
    parts = import_users(accounts, in_pieces(data), make_reader("csv"), max_batch=100)
    importing = asyncio.create_task(anext(parts))
    await importing
    waits = []

    async def write_on() -> None:
        for _ in range(10):
            began = asyncio.get_running_loop().time()
            async with accounts.writing() as db:
                await db.execute(update(User).values(full_name="seen").where(User.username == "user1"))
            waits.append(asyncio.get_running_loop().time() - began)

    writing = asyncio.create_task(write_on())
    left = sum([1 async for _ in parts])
    await writing

    assert left > 10
    assert len(await stored()) == 3000
    assert max(waits) < 2


@pytest.mark.slow
async def test_a_lost_deadlock_is_tried_again(
    bring_in: BringIn, stored: Stored, accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails = iter([True])

    async def listen(db: Any, event: Event) -> None:
        if next(fails, False):
            raise Unavailable("deadlock")

    monkeypatch.setattr(accounts, "listeners", (listen,))

    results = await bring_in("username\nada\n")

    assert told(results) == [(2, "created")]
    assert len(await stored()) == 1


# -- events and passwords ---------------------------------------------------------------------------------------------


async def test_one_event_tells_of_a_batch(
    bring_in: BringIn, accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Event] = []

    async def listen(db: Any, event: Event) -> None:
        heard.append(event)

    monkeypatch.setattr(accounts, "listeners", (listen,))

    results = await bring_in("username\nada\nada\nbob\n")

    (event,) = heard
    assert isinstance(event, UsersImported)
    assert event.user_ids == (UUID(results[0].id), UUID(results[2].id))


async def test_a_listener_that_raises_undoes_its_batch_alone(
    bring_in: BringIn, accounts: Accounts, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = iter(range(10))

    async def listen(db: Any, event: Event) -> None:
        if next(count) == 1:
            raise RuntimeError("no")

    monkeypatch.setattr(accounts, "listeners", (listen,))

    with pytest.raises(RuntimeError):
        await bring_in("username\nada\nbob\ncarl\n", max_batch=1)

    assert [user["username"] for user in await stored()] == ["ada"]


async def test_passwords_are_hashed_by_the_same_hasher(bring_in: BringIn, stored: Stored, accounts: Accounts) -> None:
    results = await bring_in(
        "username,password\nada,correct horse battery\nada,another correct horse\nbob,\ncarl,'=correct horse=\n"
    )

    assert told(results) == [(2, "created"), (3, "username_taken"), (4, "created"), (5, "created")]
    ada, bob, carl = await stored()
    verify = accounts.hashing.hasher.verify
    assert verify("correct horse battery", ada["hashed_password"])
    assert bob["hashed_password"] is None
    assert verify("'=correct horse=", carl["hashed_password"])  # a password is nobody's formula: it stays as it is


async def test_passwords_of_accounts_that_are_there_are_not_hashed_again(
    bring_in: BringIn, accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = "username,password\n" + "".join(f"user{n},correct horse battery\n" for n in range(150))
    await bring_in(data)
    hashed: list[str] = []
    monkeypatch.setattr(accounts.hashing.hasher, "hash", hashed.append)

    results = await bring_in(data)

    assert {result.code for result in results} == {"username_taken"}
    assert hashed == []


def test_the_hash_in_these_tests_is_one() -> None:
    assert Argon2Hasher().verify("correct horse battery", HASH)


async def test_closing_the_generator_ends_the_import(accounts: Accounts, stored: Stored) -> None:
    data = b"username\n" + b"".join(b"user%d\n" % n for n in range(1000))
    parts = import_users(accounts, in_pieces(data), make_reader("csv"), max_batch=10)

    first: list[RowResult] = await anext(parts)
    await parts.aclose()

    assert [user["username"] for user in await stored()] == [f"user{n}" for n in range(len(first))]
