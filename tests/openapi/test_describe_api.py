"""The OpenAPI document: what it promises to those who make clients of it, and every change of it in a diff."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from denizen.app import install
from denizen.settings import Settings
from tests.conftest import SECRET
from tests.openapi.document import SNAPSHOT, document, written

OWN = {"get_current_key", "get_key", "get_role", "list_permissions", "list_user_roles"}
"""Whoever has credentials may ask for these; what is not his to see is not there."""

OPEN = {
    "read_health",
    "read_readiness",
    "list_public_keys",
    "refresh_tokens",
    "sign_in",
    "forgot_password",
    "reset_password",
    "verify_email",
    "confirm_email",
    "undo_email",
    "show_verify_page",
    "show_reset_page",
    "show_confirm_page",
    "show_undo_page",
    "register",
    "show_sign_up",
    "confirm_sign_up",
    "show_first_administrator",
    "create_first_administrator",
    "show_invitation",
    "accept_invitation",
    "ask_for_magic_link",
    "ask_for_code",
    "show_magic_link",
    "sign_in_by_link",
    "sign_in_by_code",
}


@pytest.fixture(scope="module")
def api() -> dict[str, Any]:
    return document()


def operations(api: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each operation with its verb."""
    for path in api["paths"].values():
        yield from path.items()


def test_document_is_the_one_that_was_looked_at(api: dict[str, Any]) -> None:
    kept = SNAPSHOT.read_text(encoding="utf-8")

    assert written(api) == kept, "the API changed: run `python -m tests.openapi`, and look at the diff"


def test_operations_have_names_of_their_own(api: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, operation in operations(api)]

    assert len(names) == len(set(names))
    acts = (
        "run|sign|reauthenticate|impersonate|refresh|introspect|suspend|unsuspend|restore|request|forgot|reset|change"
        "|verify|confirm|undo|send|register|accept|resend|ask"
    )
    reads = "list|get|read|export|show|download"
    verbs = {"post": f"create|{acts}", "get": reads, "patch": "update", "delete": "delete|revoke", "put": "set|grant"}
    for verb, operation in operations(api):
        assert re.fullmatch(rf"({verbs[verb]})(_[a-z]+)*", operation["operationId"])
        assert operation["summary"]
        assert operation["description"].endswith(".")
        assert len(operation["tags"]) == 1


def test_needing_a_key_or_a_sign_in_is_declared(api: dict[str, Any]) -> None:
    schemes = api["components"]["securitySchemes"]
    either: list[dict[str, Any]] = [{"APIKey": []}, {"Sign-in": []}]
    needed = {operation["operationId"]: operation.get("security", []) for _, operation in operations(api)}

    assert needed.pop("create_user") == [*either, {}]
    assert needed.pop("request_verify_token") == [*either, {}]
    assert {name for name, named in needed.items() if not named} == OPEN
    assert all(named == either for name, named in needed.items() if name not in OPEN)
    assert schemes.keys() == {"APIKey", "Sign-in"}
    assert (schemes["APIKey"]["type"], schemes["APIKey"]["scheme"]) == ("http", "bearer")
    assert schemes["Sign-in"]["flows"] == {"password": {"scopes": {}, "tokenUrl": "/auth/login"}}


@pytest.mark.slow
def test_authorize_button_finds_sign_in_behind_any_prefix(tmp_path: Path) -> None:
    """And that of a second install the other one's."""
    app = FastAPI()
    for number, prefix in enumerate(("/accounts", "/team/a")):
        settings = Settings(_env_file=None, database_url=f"sqlite:///{tmp_path}/{number}.db", secret_key=SECRET)
        install(app, prefix=prefix, settings=settings)

    schemes = app.openapi()["components"]["securitySchemes"]

    found = {each["flows"]["password"]["tokenUrl"] for each in schemes.values() if each["type"] == "oauth2"}
    assert found == {"/accounts/auth/login", "/team/a/auth/login"}
    assert found <= app.openapi()["paths"].keys()
    names = [name for parts in app.openapi()["components"].values() for name in parts]
    assert [name for name in names if not re.fullmatch(r"[a-zA-Z0-9._-]+", name)] == []
    kinds = app.openapi()["paths"]["/team/a/keys/"]["get"]["security"]
    assert kinds == [{"APIKey": []}, {"Sign-in-team.a": []}]


def test_bodies_have_examples(api: dict[str, Any]) -> None:
    bodies = [operation["requestBody"] for _, operation in operations(api) if "requestBody" in operation]

    assert len(bodies) == 31  # one is a file, whose form is its own
    for body in (body for body in bodies if "application/json" in body["content"]):
        whole = body["content"]["application/json"]["schema"]
        schema = named(api, next(iter(whole.get("anyOf", [whole]))))  # of a body that may be left out
        properties = [schema["properties"][name] for name in schema.get("required", [])]
        assert "examples" in schema or all("examples" in each for each in properties)
        assert schema["additionalProperties"] is False


def test_answers_never_have_a_field_for_a_secret(api: dict[str, Any]) -> None:
    for _, operation in operations(api):
        for status, answer in operation["responses"].items():
            for content in answer.get("content", {}).values():
                schema = content["schema"]
                fields = named(api, schema.get("items", schema)).get("properties", {}).keys()  # a file has none
                assert not fields & {"password", "hashed_password", "token_digest", "email_key"}
                assert ("token" in fields) == (operation["operationId"] == "create_key" and status == "201")


def test_errors_are_documented_with_their_codes(api: dict[str, Any]) -> None:
    for _, operation in operations(api):
        name, answers = operation["operationId"], operation["responses"]
        problems = {status: answer for status, answer in answers.items() if status >= "400"}
        for status, answer in problems.items():
            if (name, status) == ("read_readiness", "503"):
                continue  # tells what is away in a form of its own
            content = answer["content"]["application/problem+json"]
            assert named(api, content["schema"])["title"] == "DenizenProblem"
            assert content["examples"], f"{name} {status} names no code"
            for code, example in content["examples"].items():
                assert example["value"]["code"] == code
                assert example["value"]["status"] == int(status)
                assert example["value"].keys() == {"type", "title", "status", "detail", "code", "request_id"}
        expected = {"422"}
        expected |= {"503"} if name != "read_health" else set()
        expected |= {"401"} if operation.get("security") else set()
        expected |= {"403"} if operation.get("security") and name not in OWN else set()
        expected |= {"400", "413", "415"} if "requestBody" in operation else set()
        expected |= {"404"} if any(each["in"] == "path" for each in operation.get("parameters", ())) else set()
        assert problems.keys() >= expected, name


def test_every_reference_leads_somewhere(api: dict[str, Any]) -> None:
    for reference in re.findall(r'"\$ref": "([^"]+)"', json.dumps(api)):
        assert named(api, {"$ref": reference})


def named(api: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Follow a reference."""
    found: Any = schema
    while "$ref" in found:
        place, found = found["$ref"].removeprefix("#/").split("/"), api
        for step in place:
            found = found[step]
    return dict(found)
