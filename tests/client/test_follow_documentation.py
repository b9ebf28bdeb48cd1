"""The code in `docs/client.md` runs as it stands there, over a real connection."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI

from denizen.client import Client, ImportSummary, Unreachable, UserCreate

PAGE = Path(__file__).parents[2] / "docs" / "client.md"
CODE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def overrides() -> dict[str, Any]:
    return {"allowed_hosts": "127.0.0.1"}


@pytest.fixture
async def url(app: FastAPI) -> AsyncIterator[str]:
    """Where the application is served."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off"))
    running = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110  (Uvicorn has no event for it)
        await asyncio.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    await running


def program() -> dict[str, Any]:
    names: dict[str, Any] = {}
    for code in CODE.findall(PAGE.read_text(encoding="utf-8")):
        exec(code, names)
    return names


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_the_page_runs(url: str, key: str, tmp_path: Path) -> None:
    page = program()

    active = await asyncio.to_thread(page["count_active"], url, key)
    names = await page["names"](url, key)

    def work() -> tuple[list[str], ImportSummary]:
        with Client(url, key) as denizen:
            data = UserCreate(username="grace", email="grace@example.org", password="correct horse battery")
            said = [page["sign_up"](denizen, data), page["sign_up"](denizen, data)]
            return said, page["move"](denizen, denizen, tmp_path / "people.ndjson")

    said, moved = await asyncio.to_thread(work)

    assert (active, names) == (1, ["ada"])
    assert said == ["Welcome, grace", "Email already registered (email)"]
    assert (moved.rows, moved.skipped) == (2, 2)


async def test_a_closed_port_is_unreachable() -> None:
    def work() -> None:
        with Client("http://127.0.0.1:1", sleep=lambda _: None) as denizen:
            list(denizen.list_users())

    with pytest.raises(Unreachable) as raised:
        await asyncio.to_thread(work)

    assert not raised.value.sent
