"""Who may import whom, who may commit, and how large a piece of code may grow.

A contract that nobody has seen fail proves little: each is broken on purpose in a copy of the package.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "denizen"
NOT_ROOMS = {"core", "migrations", "client", "elsewhere", "testing"}
DOORS = {"client", "testing"}
"""Packages that other programs import by their own names: what they offer stands in `__init__.py`."""

# The session's owner ends the transaction; below it, the drivers' own connections do. `transfer/` commits by the batch.
MAY_COMMIT = ("core/database.py", "core/postgresql/", "core/sqlite/", "transfer/")

MODULE_LINES = 400
FUNCTION_LINES = 40
ROUTE_LINES = 10

AnyFunction = ast.FunctionDef | ast.AsyncFunctionDef


# -- contracts ------------------------------------------------------------------------------------------------------


def lint_imports(project: Path, *contracts: str) -> subprocess.CompletedProcess[str]:
    """Hold the package under `project` against the contracts, all or those named."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()"]
    command += ["--no-cache", "--no-logo", *(part for contract in contracts for part in ("--contract", contract))]
    environment = {**os.environ, "PYTHONPATH": str(project / "src")}
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(PACKAGE, tmp_path / "src" / "denizen", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_package_keeps_every_contract() -> None:
    outcome = lint_imports(ROOT)

    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert "0 broken" in outcome.stdout


@pytest.mark.parametrize(
    ("contract", "file", "line"),
    [
        pytest.param(
            "rooms", "users/crud.py", "from denizen.keys import models", id="a lower room imports a higher one"
        ),
        pytest.param("rooms", "core/ids.py", "from denizen.users.models import User", id="core imports a room"),
        pytest.param("rooms", "settings.py", "import denizen.core.errors", id="settings import core"),
        pytest.param("rooms", "gadgets/__init__.py", '"""A room nobody placed."""', id="a room nobody placed"),
        pytest.param("rooms", "misc.py", '"""A file nobody placed."""', id="a file nobody placed"),
        pytest.param("room", "users/utils.py", '"""A name nobody planned."""', id="a file with an invented name"),
        pytest.param("room", "users/models.py", "from denizen.users import crud", id="models import crud"),
        pytest.param("core", "core/helpers.py", '"""A file without an ADR."""', id="core grows without an ADR"),
        pytest.param("no-http", "users/crud.py", "import fastapi", id="crud knows FastAPI"),
        pytest.param(
            "no-http", "users/service.py", "from starlette.requests import Request", id="a service knows HTTP"
        ),
        pytest.param("no-http", "core/database.py", "import starlette", id="the database knows HTTP"),
        pytest.param("no-http", "core/errors.py", "import fastapi", id="the errors that crud raises know FastAPI"),
        pytest.param(
            "light-client", "users/schemas.py", "import sqlalchemy", id="a program that asks loads a database"
        ),
        pytest.param("front-door", "keys/models.py", "import denizen", id="the inside goes through the front door"),
    ],
)
def test_a_planted_violation_breaks_its_contract(copy: Path, contract: str, file: str, line: str) -> None:
    plant(copy / "src" / "denizen" / file, line)

    outcome = lint_imports(copy, contract)

    assert outcome.returncode == 1, outcome.stdout + outcome.stderr
    assert "1 broken" in outcome.stdout
    assert "denizen." + file.removesuffix(".py").removesuffix("/__init__").replace("/", ".") in outcome.stdout


def plant(path: Path, line: str) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(f"\n{line}\n")


def test_every_room_is_under_contract() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (contract,) = [contract for contract in contracts if contract["id"] == "room"]
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")} - NOT_ROOMS

    assert {f"denizen.{room}" for room in rooms} == set(contract["containers"])


def test_a_room_opens_with_one_docstring_and_nothing_else() -> None:
    for path in PACKAGE.glob("*/__init__.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert ast.get_docstring(tree), f"{path} does not say what the room is for"
        if path.parent.name in DOORS:
            more = [each for each in tree.body[1:] if not isinstance(each, ast.ImportFrom | ast.Assign)]
            assert more == [], f"{path} holds more than what it offers"
        else:
            assert len(tree.body) == 1, f"{path} holds more than a docstring"


# -- commits --------------------------------------------------------------------------------------------------------


def stray_commits(package: Path) -> Iterator[str]:
    """Yield every call of `commit` or `rollback` outside the few places that own a transaction."""
    for path, tree in parsed(package):
        if not path.startswith(MAY_COMMIT):
            for node in ast.walk(tree):
                function = node.func if isinstance(node, ast.Call) else None
                if isinstance(function, ast.Attribute) and function.attr in ("commit", "rollback"):
                    yield f"{path}:{function.lineno} calls .{function.attr}()"


def parsed(package: Path) -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(package.rglob("*.py")):
        yield path.relative_to(package).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def test_nobody_commits_but_the_owner_of_the_transaction() -> None:
    assert list(stray_commits(PACKAGE)) == []


@pytest.mark.parametrize("call", ["commit", "rollback"])
def test_a_planted_commit_is_found(copy: Path, call: str) -> None:
    package = copy / "src" / "denizen"
    plant(package / "users" / "crud.py", f"async def forget(db):\n    await db.{call}()")
    plant(package / "transfer" / "service.py", f"async def write(db):\n    await db.{call}()")

    found = list(stray_commits(package))

    assert len(found) == 1
    assert found[0].startswith("users/crud.py:")


# -- sizes ----------------------------------------------------------------------------------------------------------


def test_modules_stay_within_their_budget() -> None:
    sizes = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in PACKAGE.rglob("*.py")}

    assert {str(path): lines for path, lines in sizes.items() if lines > MODULE_LINES} == {}


def test_functions_stay_within_their_budget() -> None:
    assert list(too_long(FUNCTION_LINES, lambda path, function: "migrations/versions/" not in path)) == []


def test_route_bodies_stay_within_their_budget() -> None:
    def is_route(path: str, function: AnyFunction) -> bool:
        return path.endswith("routes.py") and bool(function.decorator_list)

    assert list(too_long(ROUTE_LINES, is_route)) == []


def too_long(limit: int, counts: Callable[[str, AnyFunction], bool]) -> Iterator[str]:
    """Yield functions with more than `limit` lines, the signature and the docstring not counted."""
    for path, tree in parsed(PACKAGE):
        for node in ast.walk(tree):
            if isinstance(node, AnyFunction) and counts(path, node):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                lines = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
                if lines > limit:
                    yield f"{path}:{node.lineno} {node.name} has {lines} lines"


# -- documentation in the code --------------------------------------------------------------------------------------


def test_every_public_function_says_what_it_does() -> None:
    """Ruff asks the same of each file; here we see that nobody switched it off.

    Methods are left to ruff: those that fulfil an interface of somebody else's are documented there.
    """
    silent = [
        f"{path}:{node.lineno} {node.name}"
        for path, tree in parsed(PACKAGE)
        if "migrations/versions/" not in path
        for node in tree.body
        if isinstance(node, AnyFunction | ast.ClassDef)
        if not node.name.startswith("_") and not ast.get_docstring(node)
    ]
    assert silent == []
