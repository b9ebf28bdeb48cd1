"""The index outlives rebuilt tables; what is lost or stale in it is found by doctor and mended by rebuild."""

# ruff: noqa: PLR0917 -- parameters are fixtures
from __future__ import annotations

import asyncio
from pathlib import Path
from uuid import uuid4

import pytest
from httpx import AsyncClient
from sqlalchemy import insert, make_url, text

from denizen.core.accounts import Accounts
from denizen.core.ids import new_id
from denizen.migrations import runner
from denizen.search import crud, service
from denizen.search.service import Health
from denizen.settings import Settings
from denizen.users.models import User
from tests.cli.conftest import Command
from tests.conftest import MakeUser
from tests.migrations.ground import REBUILD, connected, fill, planted
from tests.postgres import Postgres
from tests.search.conftest import Find

LOSSES = {
    "an account without an entry": ("DELETE FROM denizen_search WHERE text LIKE '%eve%'", Health(missing=1)),
    "a name changed by hand": (
        "UPDATE denizen_users SET full_name = 'Changed' WHERE username = 'eve'",
        Health(stale=1),
    ),
    "an entry changed by hand": ("UPDATE denizen_search SET text = '  else ' WHERE text LIKE '%eve%'", Health(stale=1)),
}
REBUILD_SEARCH = """
breaking = False

def upgrade():
    rebuild = "always" if op.get_bind().dialect.name == "sqlite" else "auto"
    with op.batch_alter_table("denizen_search", recreate=rebuild) as batch:
        batch.add_column(sa.Column("extra", sa.Integer(), nullable=True))

def downgrade():
    with op.batch_alter_table("denizen_search") as batch:
        batch.drop_column("extra")
"""
LOST_BY_FTS5 = "DELETE FROM denizen_search_index"


async def run(accounts: Accounts, statement: str) -> None:
    async with accounts.writing() as db:
        await db.execute(text(statement))


@pytest.mark.slow
async def test_rebuilt_tables_are_searched_as_before(
    accounts: Accounts, admin: AsyncClient, make_user: MakeUser, find: Find, settings: Settings, tmp_path: Path
) -> None:
    """Alembic makes SQLite's tables anew under the same names, with new row numbers and without triggers."""
    made = [await make_user(username=f"ada{number}", full_name=f"Ada the {number}th") for number in range(6)]
    for user in made[::2]:
        assert (await admin.delete(f"/users/{user['id']}")).status_code == 204
    await accounts.database.close()
    history = planted(tmp_path / "versions", REBUILD, REBUILD_SEARCH)
    await asyncio.to_thread(runner.upgrade, settings.database_url, history=history)

    assert await find("ada") == ["ada1", "ada3", "ada5"]
    await make_user(username="new", full_name="Ada the new")
    assert await find("ada new") == ["new"]
    assert (await service.check_index(accounts.database)).is_whole


@pytest.mark.parametrize("loss", LOSSES)
async def test_what_is_wrong_is_found_and_mended(
    accounts: Accounts, make_user: MakeUser, find: Find, loss: str
) -> None:
    for name in ("ada", "eve", "bob"):
        await make_user(username=name, full_name=f"Same {name}")
    statement, expected = LOSSES[loss]
    await run(accounts, statement)

    found = await service.check_index(accounts.database)
    assert (found.missing, found.stale, found.unknown) == (expected.missing, expected.stale, expected.unknown)

    await service.rebuild_index(accounts)

    assert (await service.check_index(accounts.database)).is_whole
    assert await find("changed") == (["eve"] if "name changed" in loss else [])
    assert set(await find("eve")) == {"eve"}
    assert await find("bob") == ["bob"]


async def test_names_that_fts5_has_lost_are_found_and_mended(
    accounts: Accounts, make_user: MakeUser, find: Find, database_kind: str
) -> None:
    if database_kind == "postgresql":
        return  # sees to its indexes itself
    for name in ("ada", "eve"):
        await make_user(username=name, full_name="Same Name")
    await run(accounts, LOST_BY_FTS5)
    await make_user(username="bob", full_name="Same Name")

    assert await find("same") == ["bob"]
    assert (await service.check_index(accounts.database)).unknown == 2
    await service.rebuild_index(accounts)

    assert (await service.check_index(accounts.database)).is_whole
    assert set(await find("same")) == {"ada", "eve", "bob"}


async def test_names_of_people_who_are_gone_are_found_and_forgotten(
    accounts: Accounts, make_user: MakeUser, database_kind: str
) -> None:
    if database_kind == "postgresql":
        return  # has no second place for them
    await make_user(username="ada")
    await run(accounts, "DELETE FROM denizen_users")

    assert (await service.check_index(accounts.database)).orphans == 1
    await service.rebuild_index(accounts)

    assert (await service.check_index(accounts.database)).is_whole
    async with accounts.database.read.session() as db:
        assert (await db.execute(text("SELECT count(*) FROM denizen_search_index"))).scalar_one() == 0


async def test_a_batch_indexes_whom_it_renames_and_nobody_had_indexed(
    accounts: Accounts, admin: AsyncClient, make_user: MakeUser, find: Find
) -> None:
    ada = await make_user(username="ada")
    await run(accounts, "DELETE FROM denizen_search")
    patch = {"op": "patch", "id": ada["id"], "changes": {"full_name": "Countess"}}

    assert (await admin.post("/users/batch", json={"operations": [patch]})).status_code == 200

    assert await find("countess") == ["ada"]


@pytest.mark.slow
async def test_rebuilding_beside_writers_loses_nobody(
    accounts: Accounts, make_user: MakeUser, admin: AsyncClient, find: Find, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "BATCH", 7)
    users = [await make_user(username=f"u{number}", full_name="Old Name") for number in range(30)]
    await run(accounts, "DELETE FROM denizen_search WHERE number % 2 = 0")
    if accounts.database.kind == "sqlite":
        await run(accounts, LOST_BY_FTS5)

    async def rename() -> None:
        for user in users:
            answer = await admin.patch(f"/users/{user['id']}", json={"full_name": f"New {user['username']}"})
            assert answer.status_code == 200

    await asyncio.gather(service.rebuild_index(accounts), rename())

    assert (await service.check_index(accounts.database)).is_whole
    for user in users:
        assert await find(f"new {user['username']}", limit=1) == [user["username"]]
    assert await find("old") == []


@pytest.mark.slow
async def test_commands_check_and_rebuild(accounts: Accounts, make_user: MakeUser, command: Command) -> None:
    for name in ("ada", "eve"):
        await make_user(username=name)
    await run(accounts, LOSSES["an account without an entry"][0])

    checked = await asyncio.to_thread(command, "search", "check", "--json")
    doctored = await asyncio.to_thread(command, "doctor", "--json")
    rebuilt = await asyncio.to_thread(command, "search", "rebuild")
    again = await asyncio.to_thread(command, "search", "check")

    assert (checked.code, checked.rows[0]["missing"]) == (1, 1)
    (finding,) = [row for row in doctored.rows if row["check"] == "search"]
    assert (finding["state"], finding["advice"]) == ("fail", "denizen search rebuild")
    assert (rebuilt.code, "1 were mended" in rebuilt.out) == (0, True)
    assert (again.code, "all are found" in again.out) == (0, True)


@pytest.mark.slow
async def test_users_are_found_on_the_command_line(make_user: MakeUser, command: Command) -> None:
    for name in ("ada", "adam", "eve"):
        await make_user(username=name)

    told = await asyncio.to_thread(command, "users", "list", "--q", "ADA", "--json")
    cut = await asyncio.to_thread(command, "users", "list", "--q", "ada", "--limit", "1")
    refused = await asyncio.to_thread(command, "users", "list", "--q", "ada", "--order-by", "id")

    assert [row["username"] for row in told.rows] == ["ada", "adam"]
    assert "More were found" in cut.err
    assert (refused.code, "limit alone" in refused.err) == (1, True)


@pytest.mark.slow
def test_an_upgrade_indexes_who_is_there_already(database_url: str, command: Command) -> None:
    runner.downgrade(database_url, "denizen_0001")
    fill(database_url, people=5)

    assert command("migrate", "up").code == 0

    assert command("search", "check").code == 0
    with connected(database_url) as connection:
        connection.execute(text("DELETE FROM denizen_search"))
    assert command("search", "check").code == 1
    assert command("migrate", "up").code == 0  # nothing to migrate, and it goes on with what was cut off
    assert command("search", "check").code == 0
    assert [row["username"] for row in command("users", "list", "--q", "lovelace 3", "--json").rows] == ["Ada3"]


@pytest.mark.parametrize("database_kind", ["postgresql"])
async def test_little_waits_to_be_indexed_after_many(accounts: Accounts, postgres: Postgres, database_url: str) -> None:
    """Every search reads what PostgreSQL has not sorted into the index yet."""
    database = make_url(database_url).database or ""
    at = accounts.clock()
    made = [(new_id(), f"p{number}") for number in range(1_000)]
    rows = [
        {"id": id_, "created_at": at, "updated_at": at, "is_active": True, "version": 1, "username": name}
        | {"username_key": name, "username_skeleton": name}
        for id_, name in made
    ]
    async with accounts.writing() as db:
        await db.execute(insert(User), rows)
        await crud.create_entries(db, [(str(id_), f" {id_.hex}{uuid4().hex} ") for id_, _ in made])
        usual = (await db.execute(text("SHOW gin_pending_list_limit"))).scalar_one()

    postgres.execute("CREATE EXTENSION pgstattuple", database=database)
    asked = "SELECT pending_tuples FROM pgstatginindex('ix_denizen_search_text')"
    ((waiting,),) = postgres.execute(asked, database=database)
    postgres.execute("DROP EXTENSION pgstattuple", database=database)
    assert (waiting, usual) == (0, "512kB")
