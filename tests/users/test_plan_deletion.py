"""A deletion that is only tried: it tells which rows of which tables it would reach, and does nothing."""

from __future__ import annotations

from typing import Any

import pytest
from httpx import AsyncClient
from sqlalchemy import text

from denizen.core.accounts import Accounts
from denizen.core.auth import Scope
from denizen.users.states import erase_due
from tests.conftest import Clock, MakeKey, MakeUser


@pytest.fixture
async def ada(make_user: MakeUser) -> dict[str, Any]:
    return await make_user(username="ada", email="ada@example.org")


async def write(accounts: Accounts, script: str) -> None:
    """Run statements; `{uuid}` is the type of our ids, `{ada}` her id."""
    kind = "TEXT" if accounts.database.kind == "sqlite" else "uuid"
    ada = "(SELECT id FROM denizen_users WHERE username = 'ada')"
    async with accounts.database.write.begin() as db:
        for statement in script.format(uuid=kind, ada=ada).split(";\n"):
            await db.execute(text(statement))


def reached(plan: dict[str, Any]) -> set[tuple[str, int, str]]:
    """What happens to how many rows of which of the host's tables."""
    tables = [each for each in plan["tables"] if not each["table"].startswith("denizen_")]
    return {(each["table"].strip('"'), each["rows"], each["action"]) for each in tables}


async def test_every_kind_of_foreign_key_is_told(admin: AsyncClient, ada: dict[str, Any], accounts: Accounts) -> None:
    await write(
        accounts,
        """CREATE TABLE gone (owner {uuid} REFERENCES denizen_users (id) ON DELETE CASCADE);
        CREATE TABLE emptied (id INTEGER PRIMARY KEY, owner {uuid} REFERENCES denizen_users (id) ON DELETE SET NULL);
        CREATE TABLE reset (id INTEGER PRIMARY KEY, owner {uuid} REFERENCES denizen_users (id) ON DELETE SET DEFAULT);
        CREATE TABLE unused (owner {uuid} REFERENCES denizen_users (id) ON DELETE RESTRICT);
        CREATE TABLE "odd: ""name" ("a:b" {uuid} REFERENCES denizen_users (id) ON DELETE CASCADE);
        INSERT INTO gone SELECT id FROM denizen_users, (SELECT 1 UNION ALL SELECT 2) AS twice;
        INSERT INTO emptied SELECT 1, id FROM denizen_users;
        INSERT INTO reset SELECT 1, id FROM denizen_users;
        INSERT INTO "odd\\: ""name" SELECT id FROM denizen_users""".replace('"odd: ', '"odd\\: ').replace(
            "a:b", "a\\:b"
        ),
    )
    path = f"/users/{ada['id']}"

    plan = (await admin.delete(path, params={"dry_run": True})).json()

    assert plan["refused"] is False
    assert plan["tables"][0] == {
        "table": "denizen_users", "rows": 1, "more": False, "action": "deleted", "via": []
    }  # fmt: skip
    assert {each["table"] for each in plan["tables"]} > {"denizen_search"}
    assert {(name.replace('""', '"'), rows, action) for name, rows, action in reached(plan)} == {
        ("gone", 2, "deleted"), ("emptied", 1, "emptied"), ("reset", 1, "reset"), ('odd: "name', 1, "deleted")
    }  # fmt: skip
    [gone] = [each for each in plan["tables"] if each["table"] == "gone"]
    assert gone["via"] == [{"columns": ["owner"], "references": "denizen_users", "on_delete": "CASCADE"}]

    await write(
        accounts,
        """CREATE TABLE free (owner {uuid} REFERENCES denizen_users (id));
        CREATE TABLE filled (owner {uuid} NOT NULL REFERENCES denizen_users (id) ON DELETE SET NULL);
        INSERT INTO unused SELECT id FROM denizen_users;
        INSERT INTO free SELECT id FROM denizen_users;
        INSERT INTO filled SELECT id FROM denizen_users""",
    )
    plan = (await admin.delete(path, params={"dry_run": True})).json()

    assert plan["refused"] is True
    assert reached(plan) >= {("unused", 1, "refused"), ("free", 1, "refused"), ("filled", 1, "refused")}
    assert (await admin.delete(path)).json()["code"] == "user_in_use"


async def test_foreign_keys_are_followed_from_table_to_table(
    admin: AsyncClient, ada: dict[str, Any], accounts: Accounts
) -> None:
    """Through keys of two columns, in circles, and to rows that are reached twice but go once; what the plan says is
    what the erasure then does.
    """
    await write(
        accounts,
        """CREATE TABLE shops (town TEXT, number INTEGER, owner {uuid} REFERENCES denizen_users (id) ON DELETE CASCADE,
          PRIMARY KEY (town, number));
        CREATE TABLE orders (id INTEGER PRIMARY KEY, town TEXT, number INTEGER, before INTEGER REFERENCES orders (id)
          ON DELETE CASCADE, buyer {uuid} REFERENCES denizen_users (id) ON DELETE CASCADE,
          FOREIGN KEY (town, number) REFERENCES shops (town, number) ON DELETE CASCADE);
        CREATE TABLE bills (id INTEGER PRIMARY KEY, paid INTEGER REFERENCES orders (id) ON DELETE SET NULL);
        CREATE TABLE tags (bill INTEGER REFERENCES bills (id) ON DELETE CASCADE);
        CREATE TABLE hints (of_order INTEGER REFERENCES orders (id), buyer {uuid} REFERENCES denizen_users (id)
          ON DELETE CASCADE);
        INSERT INTO shops VALUES ('Turin', 1, {ada}), ('Turin', 2, NULL), ('Milan', 1, NULL);
        INSERT INTO orders VALUES (1, 'Turin', 1, NULL, {ada}), (2, 'Turin', 2, 1, NULL), (3, 'Milan', 1, 2, {ada}),
          (4, 'Milan', 1, NULL, NULL);
        UPDATE orders SET before = 3 WHERE id = 1;
        INSERT INTO bills VALUES (1, 1), (2, 2), (3, 4), (4, NULL);
        INSERT INTO tags VALUES (1), (2), (3);
        INSERT INTO hints VALUES (1, {ada})""",
    )

    plan = (await admin.delete(f"/users/{ada['id']}", params={"dry_run": True, "erase": True})).json()

    assert reached(plan) == {
        ("shops", 1, "deleted"), ("orders", 3, "deleted"), ("bills", 2, "emptied"), ("hints", 1, "deleted")
    }  # fmt: skip
    [orders] = [each for each in plan["tables"] if each["table"] == "orders"]
    assert {tuple(each["columns"]) for each in orders["via"]} == {("buyer",), ("town", "number"), ("before",)}
    assert (plan["refused"], await count(accounts, "orders")) == (False, 4)
    assert (await admin.delete(f"/users/{ada['id']}?erase=true")).status_code == 204
    left = [await count(accounts, table) for table in ("shops", "orders", "bills", "tags", "hints")]
    assert left == [2, 1, 4, 3, 0]


async def count(accounts: Accounts, table: str) -> int:
    async with accounts.database.read.session() as db:
        return int((await db.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one())


async def test_counting_ends_somewhere_and_says_so(admin: AsyncClient, ada: dict[str, Any], accounts: Accounts) -> None:
    await write(
        accounts,
        """CREATE TABLE many (id INTEGER PRIMARY KEY, owner {uuid} REFERENCES denizen_users (id) ON DELETE CASCADE);
        CREATE TABLE few (one INTEGER REFERENCES many (id) ON DELETE SET NULL);
        CREATE TABLE exact (owner {uuid} REFERENCES denizen_users (id) ON DELETE CASCADE);
        INSERT INTO many WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10001)
          SELECT i, {ada} FROM n;
        INSERT INTO exact SELECT owner FROM many WHERE id <= 10000;
        INSERT INTO few VALUES (1)""",
    )

    plan = (await admin.delete(f"/users/{ada['id']}?dry_run=true")).json()

    told = {each["table"]: (each["rows"], each["more"]) for each in plan["tables"]}
    assert (told["many"], told["exact"]) == ((10_000, True), (10_000, False))
    assert told["few"][1]


async def test_dry_run_asks_what_the_deletion_asks_and_does_nothing(
    admin: AsyncClient, ada: dict[str, Any], make_key: MakeKey
) -> None:
    path = f"/users/{ada['id']}"
    reading = await make_key(Scope.USERS_READ)
    audit = (await admin.get("/audit")).json()

    planned = await admin.delete(f"{path}?dry_run=true", headers={"If-Match": '"1"'})
    erased = await admin.delete(f"{path}?dry_run=true&erase=true")
    stale = await admin.delete(f"{path}?dry_run=true", headers={"If-Match": '"2"'})
    reader = await admin.delete(f"{path}?dry_run=true", headers=reading)
    nobody = await admin.delete("/users/01a22185-2db4-7147-a247-4678344741d3?dry_run=true")

    assert planned.status_code == erased.status_code == 200
    assert planned.json()["erased_at"][:10] > erased.json()["erased_at"][:10]
    assert [each.json()["code"] for each in (stale, reader, nobody)] == [
        "user_changed", "scope_missing", "user_not_found"
    ]  # fmt: skip
    assert (await admin.get(path)).json() == ada
    seen = (await admin.get("/audit")).json()
    assert [each["action"] for each in seen if each not in audit and each["outcome"] == "done"] == []
    await admin.delete(path)
    assert (await admin.delete(f"{path}?dry_run=true")).status_code == 404
    assert (await admin.delete(f"{path}?dry_run=true&erase=true")).status_code == 200


async def test_foreign_keys_that_wait_for_the_commit_are_heeded_before(
    admin: AsyncClient, ada: dict[str, Any], make_user: MakeUser, accounts: Accounts, clock: Clock
) -> None:
    """At the deletion, at the erasure at once, and by the cleaner, whom one account does not keep from the others."""
    eve = await make_user(username="eve")
    await write(
        accounts,
        """CREATE TABLE late (owner {uuid} REFERENCES denizen_users (id) DEFERRABLE INITIALLY DEFERRED);
        INSERT INTO late VALUES ({ada})""",
    )

    refused = [(await admin.delete(f"/users/{ada['id']}{asked}")).json()["code"] for asked in ("", "?erase=true")]
    await write(accounts, "DELETE FROM late")
    for user in (ada, eve):
        assert (await admin.delete(f"/users/{user['id']}")).status_code == 204
    await write(accounts, "INSERT INTO late VALUES ({ada})")
    clock.turn(days=30)
    async with accounts.writing() as db:
        erased = await erase_due(accounts, db, accounts.clock(), 10)

    assert (refused, erased) == (["user_in_use"] * 2, 1)
    assert await count(accounts, "late") == 1


async def test_tables_of_every_make_are_counted(admin: AsyncClient, ada: dict[str, Any], accounts: Accounts) -> None:
    """In other schemas and in partitions, without a primary key, with keys that JSON has no word for."""
    on_sqlite = accounts.database.kind == "sqlite"
    await write(
        accounts,
        """CREATE TABLE Blobs (k BLOB PRIMARY KEY, owner TEXT REFERENCES Denizen_Users ON DELETE CASCADE) WITHOUT ROWID;
        CREATE TABLE kids (k BLOB REFERENCES blobs ON DELETE CASCADE);
        INSERT INTO blobs SELECT x'00ff', {ada};
        INSERT INTO kids SELECT x'00ff'"""
        if on_sqlite
        else """CREATE SCHEMA other;
        CREATE TYPE mood AS ENUM ('a', 'b');
        CREATE TABLE other.parts (m mood, d numeric, owner uuid REFERENCES denizen_users (id) ON DELETE CASCADE,
          PRIMARY KEY (m, d)) PARTITION BY LIST (m);
        CREATE TABLE other.parts_a PARTITION OF other.parts FOR VALUES IN ('a');
        CREATE TABLE kids (m mood, d numeric, FOREIGN KEY (m, d) REFERENCES other.parts ON DELETE SET NULL);
        INSERT INTO other.parts VALUES ('a', 1.50, {ada});
        INSERT INTO kids VALUES ('a', 1.5)""",
    )

    plan = (await admin.delete(f"/users/{ada['id']}?dry_run=true")).json()

    assert reached(plan) == (
        {("Blobs", 1, "deleted"), ("kids", 1, "deleted")}
        if on_sqlite
        else {("other.parts", 1, "deleted"), ("kids", 1, "emptied")}
    )
