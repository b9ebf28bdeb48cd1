"""What is loaded, and when: by a command what it needs, and by a server everything before its first request."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "denizen"

# Whatever else a room holds, its tables and templates first of all, waits until somebody asks for it.
TOLD = {"__init__", "events", "feature"}

# The application as `serve` has it, from its start to the first things that people do.
FIRST_REQUESTS = """
import asyncio, sys
from httpx import ASGITransport, AsyncClient
from denizen.app import create_app
from denizen.settings import Settings

app = create_app(Settings(database_url="sqlite:///denizen.db", base_url="http://testserver", log_level="critical"))

async def run():
    async with (
        app.router.lifespan_context(app),
        AsyncClient(transport=ASGITransport(app), base_url="http://testserver") as client,
    ):
        before = set(sys.modules)
        words = {"username": "ada", "password": "correct horse battery"}
        made = await client.post("/users/", json={"email": "ada@example.org", **words})
        refused = await client.post("/auth/login", json={**words, "password": "another"})
        entered = await client.post("/auth/login", json=words)
        client.headers["Authorization"] = "Bearer " + entered.json()["access_token"]
        answers = [made, refused, entered]
        answers.append(await client.patch("/users/me", json={"full_name": "Ada Lovelace"}))
        answers.append(await client.get("/users/me/data"))
        answers.append(await client.get("/audit"))
        answers.append(await client.post("/auth/forgot-password", json={"email": "ada@example.org"}))
        print(*(answer.status_code for answer in answers))
        print(*sorted(name for name in set(sys.modules) - before if name.startswith("denizen")))

asyncio.run(run())
"""


def said_by(script: str, folder: Path) -> str:
    """What a fresh interpreter prints."""
    command = [sys.executable, "-c", script]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


def test_features_load_nothing_that_they_do_not_need(tmp_path: Path) -> None:
    loaded = set(said_by("import denizen.features, sys; print(*sys.modules)", tmp_path).split())

    rooms = {path.parent.name for path in PACKAGE.glob("*/feature.py")} - {"core"}
    parts = [name.split(".") for name in loaded if name.startswith("denizen.")]
    assert {part[2] for part in parts if part[1] in rooms and len(part) > 2} <= TOLD
    heavy = {"alembic", "cryptography", "email_validator", "fastapi", "jinja2", "jwt", "prometheus_client", "psycopg"}
    assert not (heavy | {"rich", "starlette", "structlog", "uvicorn", "zxcvbn"}) & loaded


def test_columns_have_their_types_whatever_else_is_loaded(tmp_path: Path) -> None:
    """A reference by name takes its type from the other table, and has none while that is not loaded; statements that
    are made meanwhile would send a UUID as it is, which SQLite does not know.
    """
    by_name = [
        path.parent.name
        for path in PACKAGE.glob("*/models.py")
        if 'ForeignKey("denizen_users.' in path.read_text(encoding="utf-8")
    ]
    script = "".join(f"import denizen.{room}.models\n" for room in by_name) + (
        "from denizen.core.base import Base\n"
        "columns = [column for table in Base.metadata.tables.values() for column in table.columns]\n"
        "print(*(column for column in columns if column.type._isnull), 'denizen_users' in Base.metadata.tables)\n"
    )

    assert by_name
    assert said_by(script, tmp_path) == "False\n"


@pytest.mark.slow
def test_first_requests_of_a_server_load_nothing(sqlite_template: Path, tmp_path: Path) -> None:
    shutil.copy(sqlite_template, tmp_path / "denizen.db")

    *_, statuses, loaded = said_by(FIRST_REQUESTS, tmp_path).split("\n")[:-1]

    assert statuses == "201 401 200 200 200 403 202"
    assert loaded == ""
