"""Every operation of the API is a method of both clients, and asks what OpenAPI says it may be asked."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import BaseModel

import denizen
from denizen.client import AsyncClient, Client, UserFilters
from denizen.client.calls import Call
from denizen.client.clients import Operations
from denizen.client.methods import Stream

DOCUMENT = Path(__file__).parents[1] / "openapi" / "openapi.json"
HEAVY = {"sqlalchemy", "fastapi", "starlette", "alembic", "psycopg", "uvicorn", "typer", "zxcvbn"}
FOR_BROWSERS_AND_PROBES = {"read_health", "read_readiness", "read_metrics"}
OTHERWISE = {"create_import": "import_users"}
BESIDES = {"list_users_page", "search_users", "export_file"}
"""Methods that ask an operation in another way than the one of its name."""

OF_PAGES = {"cursor"}
LEFT_OUT = {"list_users": {"cursor", "skip", "count", "q"}}
"""Parameters that a method does not take: it asks for all pages."""

METHODS = {name: each for name, each in vars(Operations).items() if not name.startswith("_")}


def operations() -> dict[str, tuple[str, str, dict[str, Any]]]:
    """Verb, path and description of each operation that programs ask for, by its name here."""
    return {
        OTHERWISE.get(each["operationId"], each["operationId"]): (verb.upper(), path, each)
        for path, item in json.loads(DOCUMENT.read_text(encoding="utf-8"))["paths"].items()
        for verb, each in item.items()
        if each["operationId"] not in FOR_BROWSERS_AND_PROBES and not each["operationId"].startswith("show_")
    }


def described(name: str) -> Call[Any]:
    """What a method sends when everything it takes is given."""
    describe = METHODS[name].describe
    hints = get_type_hints(describe)
    given: dict[str, Any] = {}
    for parameter in inspect.signature(describe).parameters.values():
        hint = hints[parameter.name]
        if parameter.kind is parameter.VAR_KEYWORD:
            # Of own fields a server has what its operator wants; the document of one that has none names none.
            given |= {**dict.fromkeys(UserFilters.__annotations__, "X"), "profile": {}}
        elif isinstance(hint, type) and issubclass(hint, BaseModel):
            given[parameter.name] = hint.model_construct()
        else:
            given[parameter.name] = {"rename": {"X": "X"}, "dry_run": True}.get(parameter.name, "X")
    made = describe(**given)
    call: Call[Any] = made.call if isinstance(made, Stream) else made
    return call


def test_every_operation_is_a_method() -> None:
    assert operations().keys() | BESIDES == METHODS.keys()


def test_a_method_asks_what_its_operation_is_asked() -> None:
    for name, (verb, path, operation) in operations().items():
        call = described(name)
        parameters = operation.get("parameters", [])
        known = {each["name"] for each in parameters if each["in"] == "query"}
        headers = {each["name"].lower() for each in parameters if each["in"] == "header"}

        assert call.method == verb, name
        assert re.fullmatch(re.sub(r"\{\w+\}", "X", path), call.path), name
        assert {key for key, _ in call.params} == known - LEFT_OUT.get(name, OF_PAGES if "cursor" in known else set())
        assert headers >= call.headers.keys() - {"content-type"}, name
        assert call.body is None or "requestBody" in operation, name


def test_both_clients_have_them_documented() -> None:
    for client in (Client, AsyncClient):
        for name in METHODS:
            assert getattr(client, name).__doc__


def test_importing_the_client_loads_no_server() -> None:
    script = "import sys; import denizen.client; print(*sorted({name.partition('.')[0] for name in sys.modules}))"

    loaded = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(denizen.__file__).parents[1],
        capture_output=True,
        check=True,
        text=True,
    )

    assert set(loaded.stdout.split()) & HEAVY == set()
