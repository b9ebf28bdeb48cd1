"""The code in `docs/remote.md` and `docs/testing.md` runs as it stands: over real connections, and under pytest."""

from __future__ import annotations

import asyncio
import re
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import uvicorn

from denizen import Settings
from denizen.app import create_app
from denizen.core.deps import installs_of
from denizen.core.hashers import NullHasher
from denizen.testing import make_person
from tests.homes.conftest import SERVICE, issue

DOCS = Path(__file__).parents[2] / "docs"
CODE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def code(page: str) -> list[str]:
    return CODE.findall((DOCS / page).read_text(encoding="utf-8"))


@pytest.mark.slow
async def test_an_application_asks_over_real_connections(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        named = settings.model_copy(
            update={"base_url": url, "allowed_hosts": ("127.0.0.1",), "access_token_audiences": (url,)}
        )
        server = create_app(named, hasher=NullHasher())
        (accounts,) = installs_of(server)
        monkeypatch.setenv("ACCOUNTS_URL", url)
        monkeypatch.setenv("ACCOUNTS_KEY", await issue(accounts, *SERVICE))
        page: dict[str, Any] = {"__name__": "shop"}
        exec("\n".join(code("remote.md")), page)
        running = uvicorn.Server(uvicorn.Config(server, log_config=None, lifespan="off"))
        serving = asyncio.create_task(running.serve(sockets=[listening]))
        ada = await make_person(accounts, "orders:write", email="ada@example.org")
        try:
            await look(SimpleNamespace(**page), url, ada.headers)
        finally:
            running.should_exit = True
            await serving
            await accounts.close()


async def look(page: Any, url: str, headers: dict[str, str]) -> None:
    transport = httpx.ASGITransport(page.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://shop") as shop, httpx.AsyncClient() as denizen:
        tokens = (await denizen.post(f"{url}/auth/tokens", headers=headers)).json()
        access = {"Authorization": f"Bearer {tokens['access_token']}"}
        for sent in (headers, access):
            assert (await shop.get("/profile", headers=sent)).json()["email"] == "ada@example.org"
            assert (await shop.post("/orders/", headers=sent)).status_code == 200
        await denizen.post(f"{url}/auth/logout", headers=headers)
        user_id = (await shop.post("/orders/", headers=headers)).json().removeprefix("Ordered for ")
        page.on_suspended(page.UUID(user_id))
        for sent in (headers, access):
            assert (await shop.get("/profile", headers=sent)).status_code == 401
    await page.accounts.close()


@pytest.mark.slow
def test_tests_of_a_host_pass(tmp_path: Path) -> None:
    """In a process of their own, as a host runs them; `denizen.testing` itself loads no pytest."""
    shop = code("remote.md")[0].replace('os.environ["ACCOUNTS_URL"], os.environ["ACCOUNTS_KEY"]', '"http://localhost"')
    (tmp_path / "shop.py").write_text(shop)
    fakes, installed, fixtures = code("testing.md")
    (tmp_path / "test_fakes.py").write_text(fakes)
    (tmp_path / "test_installed.py").write_text(installed)
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["denizen.testing.fixtures"]\n')
    (tmp_path / "test_fixtures.py").write_text(fixtures.replace('pytest_plugins = ["denizen.testing.fixtures"]\n', ""))
    (tmp_path / "pytest.ini").write_text("[pytest]\n")

    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not trio"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    script = "import sys, denizen.testing; print('pytest' in sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "4 passed" in ran.stdout
    assert loaded.stdout == "False\n"
