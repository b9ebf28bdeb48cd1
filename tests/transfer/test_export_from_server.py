"""Exports through a real server: a torn file does not end as a whole one does, and no slow client fills memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from denizen.core.accounts import Accounts
from tests.faults.serving import Served, serving, until
from tests.postgres import Postgres
from tests.transfer.conftest import crowd

MANY = 100_000
"""About 20 MB: more than the sockets between a server and its client hold."""

SCARCE: dict[str, Any] = {"database_pool_size": 2, "database_pool_timeout": 1, "database_timeout": 10}


class Download:
    """An answer to GET /users/export that a test reads at its own pace."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: str) -> None:
        self.reader, self.writer, self.head = reader, writer, head

    async def chunk(self) -> bytes:
        """The next chunk; empty at the end that a whole file has.

        Raises:
            asyncio.IncompleteReadError, ConnectionError: it was broken off.
        """
        size = int(await self.reader.readuntil(b"\r\n"), 16)
        return (await self.reader.readexactly(size + 2))[:-2]

    async def rest(self) -> bytes:
        """All that is left of a whole file."""
        chunks = []
        while chunk := await self.chunk():
            chunks.append(chunk)
        return b"".join(chunks)


@asynccontextmanager
async def download(server: Served, query: str = "", *, method: str = "GET") -> AsyncIterator[Download]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=64 * 1024)
    try:
        bearer = f"Authorization: Bearer {server.token}"
        writer.write(f"{method} /users/export{query} HTTP/1.1\r\nHost: 127.0.0.1\r\n{bearer}\r\n\r\n".encode())
        yield Download(reader, writer, (await reader.readuntil(b"\r\n\r\n")).decode())
    finally:
        writer.transport.abort()


def break_database(url: str, postgres: Postgres | None) -> None:
    """Make it impossible to read on."""
    if postgres is None:
        path = Path(url.removeprefix("sqlite:///"))
        path.write_bytes(b"\xff" * path.stat().st_size)
        return
    name = url.rpartition("/")[2]
    postgres.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    postgres.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_file_that_is_torn_is_broken_off(
    accounts: Accounts,
    database_url: str,
    database_kind: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    await crowd(accounts, MANY)
    await accounts.close()
    async with serving(tmp_path, database_url) as server, download(server) as torn:
        assert " 200 OK" in torn.head
        assert "transfer-encoding: chunked" in torn.head.lower()
        assert len(await torn.chunk()) > 100_000
        postgres = request.getfixturevalue("postgres") if database_kind == "postgresql" else None
        await asyncio.to_thread(break_database, database_url, postgres)

        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await torn.rest()

        assert (await server.client().get("/healthz")).status_code == 200
        async with download(server) as refused:
            assert " 503 " in refused.head


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("database_kind", ["postgresql"])
async def test_server_that_ends_its_connections_costs_no_file(
    accounts: Accounts, database_url: str, postgres: Postgres, tmp_path: Path
) -> None:
    await crowd(accounts, MANY)
    await accounts.close()
    end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database_url.rpartition('/')[2]}'"
    async with serving(tmp_path, database_url) as server, download(server) as whole:
        lines = 0
        while chunk := await whole.chunk():
            lines += chunk.count(b"\n")
            await asyncio.to_thread(postgres.execute, end)

        assert lines == MANY


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_client_that_goes_away_ends_the_reading(accounts: Accounts, database_url: str, tmp_path: Path) -> None:
    await crowd(accounts, MANY)
    await accounts.close()
    async with serving(tmp_path, database_url, **SCARCE) as server:
        for _ in range(8):  # more than there are connections
            async with download(server) as left:
                await left.chunk()

        async with download(server) as whole:
            lines = (await whole.rest()).splitlines()

        assert [json.loads(line)["username"] for line in (lines[0], lines[-1])] == ["u1", f"u{MANY}"]
        assert len(lines) == MANY
        assert "Traceback" not in server.log, server.log
        assert "never retrieved" not in server.log


@pytest.mark.slow
async def test_head_leaves_the_connection_for_the_next_request(
    accounts: Accounts, database_url: str, tmp_path: Path
) -> None:
    await crowd(accounts, 100)
    await accounts.close()
    async with serving(tmp_path, database_url) as server, download(server, "?format=csv", method="HEAD") as head:
        head.writer.write(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")

        assert " 200 OK" in head.head
        assert "text/csv" in head.head
        assert (await head.reader.readline()).startswith(b"HTTP/1.1 200")


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_slow_client_does_not_fill_memory(accounts: Accounts, database_url: str, tmp_path: Path) -> None:
    await crowd(accounts, 4 * MANY)
    await accounts.close()
    async with serving(tmp_path, database_url) as server:
        async with download(server) as first:
            await first.rest()
        assert server.process is not None
        process = psutil.Process(server.process.pid)
        before, most = process.memory_info().rss, 0
        async with download(server) as slow:
            read = 0
            while chunk := await slow.chunk():
                read += chunk.count(b"\n")
                most = max(most, process.memory_info().rss)
                await asyncio.sleep(0.05)

        async def is_served() -> bool:
            return (await server.client().get("/healthz")).status_code == 200

        await until(is_served, within=5)
        assert read == 4 * MANY
        assert most - before < 24 * 1024 * 1024, f"{(most - before) >> 20} MB for a file of 80"
