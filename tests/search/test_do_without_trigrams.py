"""A role that may not create pg_trgm: the migration says what an administrator must run, and names are found by their
beginnings until then."""

# ruff: noqa: PLR0917 -- parameters are fixtures
from __future__ import annotations

import asyncio
from collections.abc import Iterator
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from httpx import AsyncClient
from sqlalchemy import text

from denizen.core.accounts import Accounts
from denizen.core.errors import Unavailable
from denizen.search.service import rebuild_index
from tests.cli.conftest import Command
from tests.conftest import MakeUser
from tests.postgres import Postgres
from tests.search.conftest import Find


@pytest.fixture
def database_kind() -> str:
    """PostgreSQL alone."""
    return "postgresql"


@pytest.fixture
def database_name() -> str:
    """Of a database that is not ours to extend."""
    return f"plain_{uuid4().hex}"


@pytest.fixture
def database_url(postgres: Postgres, database_name: str) -> Iterator[str]:
    """An empty database, as a role sees it that owns nothing and may create tables."""
    url = postgres.create_database(database_name)
    role = f"role_{uuid4().hex}"
    postgres.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'let-me-in-7f'")
    postgres.execute(f"GRANT ALL ON SCHEMA public TO {role}", database=database_name)
    parts = urlsplit(url)
    yield f"postgresql://{role}:let-me-in-7f@{parts.hostname}:{parts.port}/{database_name}"
    postgres.drop_database(database_name)
    postgres.execute(f"DROP ROLE {role}")


@pytest.fixture
def migrated(command: Command) -> str:
    """Bring the schema up; gives what was said."""
    said = command("migrate", "up")
    assert said.code == 0, said.err
    return said.err + said.out


@pytest.mark.slow
async def test_names_are_found_by_their_beginnings_until_an_administrator_helps(
    migrated: str,
    make_user: MakeUser,
    find: Find,
    admin: AsyncClient,
    command: Command,
    postgres: Postgres,
    database_name: str,
) -> None:
    assert "CREATE EXTENSION pg_trgm" in migrated
    await make_user(username="ada", email="countess@example.org", full_name="Ada Lovelace", external_id="crm-1815")
    await make_user(username="Adam", email="first@example.org", full_name="Adam First")

    assert sorted(await find("AD")) == ["Adam", "ada"]
    assert [await find(q) for q in ("countess@", "crm-18", "adam", "lovelace")] == [["ada"], ["ada"], ["Adam"], []]
    ready = (await admin.get("/readyz")).json()
    assert ready["status"] == "ready"
    assert [check["detail"] for check in ready["checks"] if check["name"] == "search"] == [
        "by the beginnings of names alone: no pg_trgm"
    ]
    doctored = await asyncio.to_thread(command, "doctor", "--json")
    (finding,) = [row for row in doctored.rows if row["check"] == "search"]
    assert (finding["state"], "CREATE EXTENSION pg_trgm" in finding["advice"]) == ("warn", True)
    rebuilt = await asyncio.to_thread(command, "search", "rebuild")
    assert (rebuilt.code, "CREATE EXTENSION pg_trgm" in rebuilt.out) == (0, True)

    postgres.execute("CREATE EXTENSION pg_trgm", database=database_name)
    rebuilt = await asyncio.to_thread(command, "search", "rebuild")

    assert (rebuilt.code, "pg_trgm" in rebuilt.out) == (0, False)
    assert [await find(q) for q in ("lovelace", "dam f")] == [["ada"], ["Adam"]]
    assert "search" not in (await admin.get("/readyz")).text


async def test_an_extension_in_a_schema_of_its_own_serves(
    postgres: Postgres, database_name: str, database_url: str, command: Command
) -> None:
    postgres.execute("CREATE SCHEMA extensions", database=database_name)
    postgres.execute("CREATE EXTENSION pg_trgm SCHEMA extensions", database=database_name)
    role = urlsplit(database_url).username
    postgres.execute(f"GRANT USAGE ON SCHEMA extensions TO {role}", database=database_name)

    said = await asyncio.to_thread(command, "migrate", "up")

    assert (said.code, "CREATE EXTENSION" in said.err) == (0, False)
    checked = await asyncio.to_thread(command, "search", "check", "--json")
    assert checked.rows[0]["trigrams"] is True


@pytest.mark.slow
async def test_the_index_is_built_beside_those_who_write_and_anew_after_a_run_that_was_cut_off(
    migrated: str, accounts: Accounts, make_user: MakeUser, find: Find, postgres: Postgres, database_name: str
) -> None:
    await make_user(username="ada", full_name="Ada Lovelace")
    postgres.execute("CREATE EXTENSION pg_trgm", database=database_name)

    async with accounts.writing(timeout=60) as db:  # whoever builds an index waits for him
        await db.execute(text("UPDATE denizen_search SET text = text"))
        cut_off = asyncio.create_task(rebuild_index(accounts))
        await waits(accounts, "CREATE INDEX")
        await make_user(username="eve", full_name="Eve Lovelace")
        end = f"SELECT pg_terminate_backend(pid) {OTHERS} AND query LIKE 'CREATE INDEX%'"
        postgres.execute(end, database=database_name)
        with pytest.raises(Unavailable):
            await cut_off

        again = asyncio.create_task(rebuild_index(accounts))
        await waits(accounts, "DROP INDEX")
        await make_user(username="bob", full_name="Bob Lovelace")
    health = await again

    assert health.trigrams
    assert sorted(await find("velac")) == ["ada", "bob", "eve"]


async def waits(accounts: Accounts, statement: str) -> None:
    """Wait until a statement that begins so waits for somebody."""
    async with accounts.database.read.session() as db:
        query = text(f"SELECT count(*) {OTHERS} AND wait_event_type = 'Lock' AND query LIKE :begins")
        while not await db.scalar(query, {"begins": f"{statement}%"}):  # noqa: ASYNC110  (the database has no event for it)
            await asyncio.sleep(0.01)


OTHERS = "FROM pg_stat_activity WHERE datname = current_database()"
