"""Behind PgBouncer in transaction mode, with one server connection for everybody."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from httpx import AsyncClient
from sqlalchemy import URL, make_url, text
from sqlalchemy.exc import DBAPIError

from denizen.core.accounts import Accounts
from denizen.core.database import Database
from denizen.core.errors import Unavailable
from tests.conftest import PATIENT, MakeKey, MakeUser
from tests.faults.serving import until
from tests.postgres import Postgres
from tests.server.running import free_port

CONFIGURATION = """
[databases]
* = host=127.0.0.1 port={server_port} user=postgres password={password}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {folder}/users.txt
pool_mode = transaction
default_pool_size = 1
max_client_conn = 200
query_wait_timeout = 10
ignore_startup_parameters = {ignored}
"""


@pytest.fixture
def database_kind() -> str:
    return "postgresql"


@pytest.fixture(scope="module")
def program() -> str:
    """PgBouncer: Debian's package of that name, which `.ci/run` installs."""
    found = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        missing = "pgbouncer is not installed"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return found


@pytest.fixture(params=["refuses start-up options", "lets start-up options vanish"])
def pooled_port(request: pytest.FixtureRequest, program: str, postgres: Postgres) -> Iterator[int]:
    """A pooler in front of the tests' server."""
    ignored = "" if "refuses" in request.param else "options"
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        (folder / "users.txt").write_text(f'"postgres" "{postgres.password}"\n')
        configuration = CONFIGURATION.format(
            server_port=postgres.port, password=postgres.password, port=port, folder=folder, ignored=ignored
        )
        (folder / "pgbouncer.ini").write_text(configuration)
        options: dict[str, Any] = {}
        if os.geteuid() == 0:  # which it refuses to run as
            nobody = pwd.getpwnam("nobody")
            for path in (folder, *folder.iterdir()):
                os.chown(path, nobody.pw_uid, nobody.pw_gid)
            options = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        with subprocess.Popen(
            [program, "-q", str(folder / "pgbouncer.ini")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **options,
        ) as process:
            _wait_for(port, process)
            yield port
            process.kill()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        assert process.poll() is None, "pgbouncer ended at once"
        with suppress(ConnectionError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.02)
    raise AssertionError("pgbouncer does not listen")


@pytest.fixture
def database_url(database_url: str, pooled_port: int) -> str:
    """This test's database, as it is reached through the pooler."""
    return make_url(database_url).set(port=pooled_port).render_as_string(hide_password=False)


def state_of(url: URL) -> dict[str, Any]:
    """What the next client of the pooler finds on the server's connection."""
    address = url.set(drivername="postgresql").render_as_string(hide_password=False)
    shown = ["default_transaction_read_only", "transaction_read_only", "statement_timeout", "lock_timeout", "TimeZone"]
    with psycopg.connect(address, autocommit=True, prepare_threshold=None) as connection:
        found = {name: connection.execute(f"SHOW {name}".encode()).fetchone() for name in shown}
        found["prepared"] = connection.execute("SELECT count(*) FROM pg_prepared_statements").fetchone()
    return {name: row[0] if row else None for name, row in found.items()}


AS_BEFORE = {
    "default_transaction_read_only": "off",
    "transaction_read_only": "off",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "TimeZone": "Asia/Kathmandu",
    "prepared": 0,
}


async def use_everything(client: AsyncClient, key: dict[str, str], user: dict[str, Any], number: int) -> None:
    """Each act on accounts and keys once."""
    path = f"/users/{user['id']}"
    client.headers.update(key)
    statuses = [
        (await client.get(path)).status_code,
        (await client.patch(path, json={"full_name": f"Number {number}"})).status_code,
        (await client.patch(path, json={"email": f"changed{number}@example.org"})).status_code,
        (await client.patch(path, json={"full_name": "N"}, headers={"If-Match": '"99999"'})).status_code,
        (await client.get("/users/", params={"limit": 1})).status_code,
        (await client.get("/users/", params={"order_by": "-created_at", "skip": 1})).status_code,
        (await client.get("/users/", params={"count": "exact", "is_active": "true"})).status_code,
        (await client.get("/users/", params={"count": "estimated"})).status_code,
        (await client.get("/users/", params={"id__in": user["id"]})).status_code,
        (await client.get("/users/", params={"email": f"changed{number}@example.org"})).status_code,
        (await client.get("/users/export", params={"format": "csv"})).status_code,
        (await client.post("/users/", json={**person(number), "username": user["username"]})).status_code,
        (await client.get("/keys/current")).status_code,
        (await client.get("/keys/")).status_code,
    ]
    assert statuses == [200, 200, 200, 412, *[200] * 7, 409, 200, 200]
    made = await client.post("/keys/", json={"name": "made", "scopes": ["users:read"]})
    assert (await client.delete(f"/keys/{made.json()['id']}")).status_code == 204
    assert (await client.delete(path)).status_code == 204
    assert (await client.get(path)).status_code == 404


def person(number: int) -> dict[str, str]:
    return {"username": f"p{number}", "email": f"p{number}@example.org", "password": "correct horse battery"}


@pytest.mark.slow
@pytest.mark.parametrize("overrides", [PATIENT], ids=["patient"])  # of many behind one connection the last waits long
async def test_everything_works_and_nothing_leaks(
    client: AsyncClient, accounts: Accounts, make_key: MakeKey, make_user: MakeUser
) -> None:
    key = await make_key()
    users = [await make_user() for _ in range(12)]
    backend: Any = await accounts.database.backend()
    assert backend.start.pooled

    await asyncio.gather(*(use_everything(client, key, user, number) for number, user in enumerate(users)))

    assert await asyncio.to_thread(state_of, accounts.database.url) == AS_BEFORE


async def test_limits_hold_inside_each_transaction(accounts: Accounts) -> None:
    database = accounts.database
    async with database.write.begin() as db:
        assert await db.scalar(text("SHOW statement_timeout")) == "1800ms"
        assert await db.scalar(text("SHOW transaction_read_only")) == "off"
    async with database.read.session() as db:
        assert await db.scalar(text("SHOW lock_timeout")) == "1800ms"
        assert await db.scalar(text("SHOW TimeZone")) == "UTC"
    async with database.read.slow() as db:
        assert await db.scalar(text("SHOW statement_timeout")) == "30s"
    assert await asyncio.to_thread(state_of, database.url) == AS_BEFORE


async def test_reads_refuse_to_write(accounts: Accounts) -> None:
    database = accounts.database
    insert = "INSERT INTO denizen_users (id) VALUES (gen_random_uuid())"
    for _ in range(3):
        for session in (database.read.session, database.read.slow):
            with pytest.raises(DBAPIError, match="read-only transaction"):
                async with session() as db:
                    await db.execute(text(insert))
        backend = await database.backend()
        for rows in (backend.rows, backend.slow_rows):
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                await rows(insert, {})
    assert await asyncio.to_thread(state_of, database.url) == AS_BEFORE


@pytest.mark.slow
async def test_who_waits_too_long_for_the_one_connection_is_told(accounts: Accounts) -> None:
    url = accounts.database.url
    other = Database(url)
    await other.ping()
    address = url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(address, prepare_threshold=None) as holder:  # a stranger, who keeps it as long as he likes
        await asyncio.to_thread(holder.execute, "SELECT 1")
        began = time.monotonic()
        told = await asyncio.gather(*(other.ping() for _ in range(5)), return_exceptions=True)
        assert time.monotonic() - began < 6, "told before the pooler gives up by itself, after 10 s"
    assert [type(each) for each in told] == [Unavailable] * 5

    async def back() -> bool:
        with suppress(Unavailable):
            return await other.ping() < 1
        return False

    await until(back, within=20)
    await other.close()
