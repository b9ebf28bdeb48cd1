"""`docs/guides/from-fastapi-users.md`: its code runs, and people come over from tables of that shape."""

from __future__ import annotations

import asyncio
import csv
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from argon2 import PasswordHasher
from fastapi import FastAPI
from httpx import AsyncClient
from sqlalchemy import Connection
from typer.testing import CliRunner

import denizen
from denizen.cli import build
from denizen.core.deps import installs_of
from denizen.sessions.events import SignedIn
from denizen.testing import make_person
from tests.conftest import SECRET
from tests.consoles import blocks
from tests.hosts.conftest import reach
from tests.migrations.ground import connected

TEXT = (Path(__file__).parents[2] / "docs" / "guides" / "from-fastapi-users.md").read_text()
BLOCKS = blocks(TEXT)
THEIRS = {"BearerTransport", "CookieTransport", "DatabaseStrategy", "JWTStrategy", "RedisStrategy"} | {
    "LOGIN_BAD_CREDENTIALS", "REGISTER_USER_ALREADY_EXISTS", "SECRET", "UUIDIDMixin", "IntegerIDMixin",
}  # fmt: skip
PASSWORD = "correct horse battery"
PEOPLE = [  # id, address, hash, active, superuser, verified
    ("0d0a8a5c-6a3b-4c39-9e0f-6a5d3f1f2b01", "ada@example.org", "argon2", True, True, True),
    ("0d0a8a5c-6a3b-4c39-9e0f-6a5d3f1f2b02", "eve@example.org", "bcrypt", True, False, False),
    ("0d0a8a5c-6a3b-4c39-9e0f-6a5d3f1f2b03", "max@example.org", "argon2", False, False, True),
]


def code(language: str) -> list[str]:
    return [block for found, block in BLOCKS if found == language]


@pytest.fixture
async def page(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ModuleType]:
    """The code of the page as a module, on a migrated database."""
    monkeypatch.setenv("DENIZEN_DATABASE_URL", database_url)
    monkeypatch.setenv("DENIZEN_SECRET_KEY", SECRET)
    monkeypatch.setenv("DENIZEN_BASE_URL", "http://testserver")
    module = ModuleType("guide")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec("\n".join(code("python")), module.__dict__)
    yield module
    for accounts in installs_of(module.app):
        await accounts.close()


def old_tables(connection: Connection) -> None:
    """Make and fill the table of accounts as fastapi-users has it, and one of the application's own."""
    on_postgresql = connection.dialect.name == "postgresql"
    guid = "UUID" if on_postgresql else "CHAR(36)"
    hashes = {
        "argon2": PasswordHasher(time_cost=3, memory_cost=65536, parallelism=4).hash(PASSWORD),
        "bcrypt": "$2b$12$" + "a" * 53,
    }
    connection.exec_driver_sql(
        f'CREATE TABLE "user" (id {guid} PRIMARY KEY, email VARCHAR(320) NOT NULL,'
        " hashed_password VARCHAR(1024) NOT NULL,"
        " is_active BOOLEAN NOT NULL, is_superuser BOOLEAN NOT NULL, is_verified BOOLEAN NOT NULL)"
    )
    connection.exec_driver_sql(f"CREATE TABLE posts (title TEXT, old_author_id {guid}, author_id {guid})")
    for number, email, kind, *flags in PEOPLE:
        values = ", ".join([f"'{number}'", f"'{email}'", f"'{hashes[kind]}'", *(str(flag).upper() for flag in flags)])
        connection.exec_driver_sql(f'INSERT INTO "user" VALUES ({values})')
        connection.exec_driver_sql(f"INSERT INTO posts (title, old_author_id) VALUES ('by {email}', '{number}')")


@pytest.mark.slow
async def test_people_sign_in_as_before_and_keep_what_is_theirs(
    page: ModuleType, database_url: str, tmp_path: Path
) -> None:
    export, point = code("sql")
    with connected(database_url) as connection:
        old_tables(connection)
        found = connection.exec_driver_sql(export.replace("%", "%%") if "postgresql" in database_url else export)
        with (tmp_path / "people.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(found.keys())
            rows.writerows(found.all())

    imported = await asyncio.to_thread(CliRunner().invoke, build(), ["users", "import", "people.csv"])
    assert imported.exit_code == 0, imported.output
    with connected(database_url) as connection:
        connection.exec_driver_sql(point)
        query = "SELECT title FROM posts JOIN denizen_users ON denizen_users.id = author_id AND title = 'by ' || email"
        assert len(connection.exec_driver_sql(query).all()) == len(PEOPLE)

    async with reach(page.app) as client:
        signed_in = [await sign_in(client, email) for _, email, *_ in PEOPLE]
        assert [answer.status_code for answer in signed_in] == [200, 401, 401]  # no hash; not active
        ada = {"Authorization": f"Bearer {signed_in[0].json()['access_token']}"}
        me = (await client.get("/users/me", headers=ada)).json()
        assert (me["external_id"], me["email_verified_at"]) == (PEOPLE[0][0], "2026-11-28T00:00:00Z")
        assert (await client.get("/newsletter", headers=ada)).json() == "For ada@example.org"
        assert (await client.get("/figures", headers=ada)).json() == 42
        await page.accounts.told()
    assert page.heard == ["somebody signed in"]


async def sign_in(client: AsyncClient, email: str) -> Any:
    return await client.post("/auth/login", data={"username": email, "password": PASSWORD})


async def test_its_code_refuses_and_hears(page: ModuleType) -> None:
    app: FastAPI = page.app
    async with reach(app) as client:
        eve = await make_person(page.accounts, username="eve")
        await page.accounts.told()

        assert (await client.get("/newsletter", headers=eve.headers)).json()["code"] == "address_not_proved"
        assert (await client.get("/figures", headers=eve.headers)).status_code == 403
    assert page.heard[0] == f"{eve.id} registered"


def test_what_it_names_of_ours_is_there() -> None:
    """At the front door, and among the settings."""
    ours = {name for name in re.findall(r"`(?:on\(|after\(|denizen\.)?([A-Z]\w+)[`)]", TEXT) if name not in THEIRS}

    settings = {name for name in ours if name.startswith("DENIZEN_")}
    assert {name.removeprefix("DENIZEN_").lower() for name in settings} <= set(denizen.Settings.model_fields)
    missing = {name for name in ours - settings if not name.isupper() and not hasattr(denizen, name)}
    assert missing == set()
    assert SignedIn.action in TEXT
