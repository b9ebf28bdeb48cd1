"""Several processes of one server are read as one, on their own port too, and one that died is missed by nobody."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from denizen.metrics.values import shared_figures
from denizen.settings import Settings, SettingsError
from tests.faults.serving import Served, serving, until
from tests.server.running import free_port

COUNT = 'denizen_request_seconds_count{method="GET",route="/users/{user_id}",status="4xx"}'


def value(text: str, name: str) -> float:
    return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name))


async def ask(server: Served, times: int) -> None:
    """Over connections of their own, so that every worker gets some."""
    for _ in range(times):
        async with server.client() as client:
            assert (await client.get("/users/019a5c1e-7f00-7a11-8b22-3c33d44e55f6")).status_code == 404


def figures_in(folder: Path) -> list[Path]:
    return list(folder.glob("denizen-figures-*"))


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files of this test's servers alone: other tests run servers meanwhile."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.mark.slow
async def test_workers_are_read_as_one(database_url: str, tmp_path: Path, temporary: Path) -> None:
    port = free_port()
    async with serving(tmp_path, database_url, workers=2, metrics_port=port) as server:
        await ask(server, 20)

        async def all_are_told(address: str) -> bool:
            async with server.client() as client:
                return value((await client.get(address)).text, COUNT) == 20

        assert await until(lambda: all_are_told(f"http://127.0.0.1:{port}/metrics"), within=15) < 15
        assert await all_are_told("/metrics")

        worker = server.family[-1]
        worker.kill()
        await until(lambda: _answers(server), within=20)
        assert await all_are_told("/metrics")  # what it had counted stays
        assert await server.stop() == 0
    assert figures_in(temporary) == []


async def _answers(server: Served) -> bool:
    await asyncio.sleep(0.5)
    async with server.client() as client:
        return (await client.get("/healthz")).status_code == 200


@pytest.mark.slow
async def test_one_process_answers_on_the_port_too(database_url: str, tmp_path: Path) -> None:
    port = free_port()
    async with serving(tmp_path, database_url, metrics_port=port) as server:
        await ask(server, 3)

        async def told() -> bool:
            async with httpx.AsyncClient() as client:
                return value((await client.get(f"http://127.0.0.1:{port}/metrics")).text, COUNT) == 3

        await until(told, within=15)
        assert await server.stop() == 0


def test_a_port_that_is_taken_is_said_before_anything_starts(tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = Settings(_env_file=None, metrics_port=taken.getsockname()[1])
        with pytest.raises(SettingsError, match="DENIZEN_METRICS_PORT"), shared_figures(settings):
            pass
    assert Settings.figures_folder() is None


def test_one_process_without_a_port_shares_nothing() -> None:
    with shared_figures(Settings(_env_file=None)) as bury:
        assert bury is None
        assert Settings.figures_folder() is None
