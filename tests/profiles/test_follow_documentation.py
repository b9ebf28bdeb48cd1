"""What `docs/own-fields.md` shows runs as it stands there, is typed, and says what it says."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient

from denizen.core.deps import installs_of
from denizen.core.profile_sources import load_profile
from tests.conftest import SECRET

PAGE = Path(__file__).parents[2] / "docs" / "own-fields.md"
CODE = re.compile(r"```python\n# (\w+\.py)\n(.*?)```", re.DOTALL)
SCHEMA = re.compile(r"```json\n(.*?)```", re.DOTALL)
SENT = re.compile(r"(?:--json|\\\n) *'?(\{.*?\})'$", re.MULTILINE)


@pytest.fixture
def folder(tmp_path: Path, sqlite_template: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The files of the page, and a database beside them."""
    page = PAGE.read_text(encoding="utf-8")
    files = dict(CODE.findall(page))
    assert sorted(files) == ["app.py", "people.py", "staff.py"]
    for name, code in files.items():
        (tmp_path / name).write_text(code)
    [schema] = SCHEMA.findall(page)
    (tmp_path / "staff.json").write_text(schema)
    shutil.copy(sqlite_template, tmp_path / "denizen.db")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setenv("DENIZEN_DATABASE_URL", f"sqlite:///{tmp_path}/denizen.db")
    monkeypatch.setenv("DENIZEN_SECRET_KEY", SECRET)
    yield tmp_path
    for name in ("app", "people", "staff"):
        sys.modules.pop(name, None)


@pytest.fixture
async def host(folder: Path) -> AsyncIterator[FastAPI]:
    """The application of the page."""
    from importlib import import_module

    app: FastAPI = import_module("app").app
    yield app
    await installs_of(app)[0].close()


def examples() -> list[dict[str, Any]]:
    return [json.loads(text) for text in SENT.findall(PAGE.read_text(encoding="utf-8"))]


async def test_examples_do_what_they_say(host: FastAPI) -> None:
    from importlib import import_module

    people, staff = import_module("people"), import_module("staff")
    created, patched = examples()
    accounts = installs_of(host)[0]
    async with AsyncClient(transport=ASGITransport(host), base_url="http://localhost:8000") as client:
        made = (await client.post("/accounts/users/", json=created)).json()
        signed_in = await client.post(
            "/accounts/auth/login", json={"username": created["username"], "password": created["password"]}
        )
        bearer = {"Authorization": f"Bearer {signed_in.json()['access_token']}"}
        desk = await client.get("/desk", headers=bearer)
        changed = await client.patch("/accounts/users/me", headers=bearer, json=patched)

    told = re.search(r'"profile":(\{[^}]*\})', PAGE.read_text(encoding="utf-8"))
    assert told is not None
    assert made["profile"] == json.loads(told[1])
    assert desk.json() == "sales, badge 7"
    assert changed.json()["profile"] == {**made["profile"], "badge": None, "tags": ["early"]}
    async with accounts.writing() as db:
        hired = await people.hire(accounts, db, "bob@example.org", staff.Staff(department="support"))
        assert await people.department_of(db, hired) == "support"


def test_model_and_schema_of_the_page_are_one(folder: Path) -> None:
    model, schema = load_profile("staff:Staff"), load_profile("staff.json")

    assert list(model.fields) == list(schema.fields)
    assert model.filters == schema.filters
    assert [each.read_only for each in model.fields.values()] == [each.read_only for each in schema.fields.values()]
    given = {"department": "sales", "badge": 7}
    found = model.change({}, given, by_owner=False)
    assert {**found, **schema.change({}, given, by_owner=False)} == found


@pytest.mark.slow
def test_the_code_is_typed(folder: Path) -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "app.py", "people.py"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )

    assert checked.returncode == 0, checked.stdout
