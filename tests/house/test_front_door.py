"""`import denizen`: what other programs may use, at no cost until they use it, and with types."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import denizen

ROOT = Path(__file__).parents[2]
FRONT_DOOR = ROOT / "src" / "denizen" / "__init__.py"

# What mypy knows of the door: a module __getattr__ alone would make everything Any, and every typing error invisible.
HOST = """
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncSession

from denizen import Accounts, CurrentCaller, Db, Here, ReadDb, Scope, Settings, User, create_account, get_user, install

app = FastAPI()
accounts: Accounts = install(app, settings=Settings(base_url="http://127.0.0.1"))


@app.post("/pets/")
async def open_with_pet(here: Here, db: Db, caller: CurrentCaller) -> dict[str, str | None]:
    session: AsyncSession = db
    caller.must(Scope.USERS_WRITE)
    user: User = await create_account(here, session, username="ada", email=None, password=None)
    return {"name": user.full_name}


@app.get("/pets/")
async def wrong(db: ReadDb) -> int:
    return (await get_user(db, "ada")).version
"""


def test_names_and_types_of_the_door_agree() -> None:
    tree = ast.parse(FRONT_DOOR.read_text(encoding="utf-8"))
    typed = {
        (node.module, alias.name, alias.asname)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("denizen.")
        for alias in node.names
    }

    assert typed == {(home, name, name) for name, home in denizen._HOMES.items()}


def test_every_name_of_the_door_can_be_had() -> None:
    for name in denizen._HOMES:
        assert getattr(denizen, name) is not None
        assert name in dir(denizen)


def test_anything_else_is_not_there() -> None:
    with pytest.raises(AttributeError, match="'denizen' has no attribute 'instal'"):
        _ = denizen.instal


def test_importing_denizen_loads_nothing_else() -> None:
    script = "import sys; before = set(sys.modules); import denizen; print(*sorted(set(sys.modules) - before))"
    command = [sys.executable, "-c", f"import typing; {script}"]

    loaded = subprocess.run(command, cwd=ROOT / "src", capture_output=True, check=True)

    assert loaded.stdout.split() == [b"denizen"]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_host_is_type_checked_through_the_door(tmp_path: Path) -> None:
    host = tmp_path / "host.py"
    host.write_text(HOST)
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={tmp_path}", str(host)]

    checked = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    found = [line for line in checked.stdout.splitlines() if line.startswith("host.py")]
    assert len(found) == 1, checked.stdout + checked.stderr
    assert 'Argument 2 to "get_user" has incompatible type "str"' in found[0]
