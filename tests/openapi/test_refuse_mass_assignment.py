"""Nobody sets what is not his to set: every write refuses the fields that its document does not declare."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from httpx import AsyncClient

from tests.conftest import PATIENT, MakePerson
from tests.openapi.document import document

NEVER = ("email_verified_at", "created_at", "updated_at", "hashed_password", "version", "suspended_at", "deleted_at")
"""What no body of any request sets."""

RARELY = ("id", "roles", "permissions", "scopes", "is_active", "user_id", "is_built_in", "impersonator_id")
"""What few bodies have."""

DECLARED = {
    ("UserCreate", "is_active"),  # takes effect only with users:write
    ("BatchUser", "is_active"),
    ("UserUpdate", "is_active"),
    ("PatchOperation", "id"),  # which account
    ("DeleteOperation", "id"),
    ("RoleCreate", "permissions"),
    ("RoleUpdate", "permissions"),
    ("RoleSet", "roles"),
    ("InvitationCreate", "roles"),
    ("KeyCreate", "scopes"),
}
"""Which those are: whoever is let do that is asked for more than the body. One more is a decision."""


@pytest.fixture
def overrides() -> dict[str, Any]:
    return PATIENT


Operation = tuple[str, str, dict[str, Any]]


def bodies(api: dict[str, Any]) -> Iterator[Operation]:
    """Every operation that takes JSON: its verb, its path, the schema of its body."""
    for path, verbs in api["paths"].items():
        for verb, operation in verbs.items():
            content = operation.get("requestBody", {}).get("content", {})
            if "application/json" in content:
                yield verb.upper(), path, content["application/json"]["schema"]


def objects(api: dict[str, Any], schema: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object that a schema is made of, by the name of its own schema."""
    if isinstance(schema, list):
        for each in schema:
            yield from objects(api, each)
    elif isinstance(schema, dict):
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            found = api["components"]["schemas"][name]
            if found.get("type") == "object":
                yield name, found
            yield from objects(api, found)
            return
        for key, each in schema.items():
            if key not in {"examples", "example", "default", "enum", "const"}:
                yield from objects(api, each)


def test_every_object_in_a_body_is_closed_and_declares_what_it_sets() -> None:
    """Driven from the document, nested objects included."""
    api = document()
    found = {name: schema for _, _, body in bodies(api) for name, schema in objects(api, body)}

    assert {"UserCreate", "BatchUser", "UserUpdate", "RoleCreate", "KeyCreate"} <= found.keys()
    for name, schema in found.items():
        assert schema.get("additionalProperties") is False, f"{name} takes fields that it does not name"
        assert schema["properties"].keys().isdisjoint(NEVER), name
    declared = {(name, field) for name, schema in found.items() for field in RARELY if field in schema["properties"]}
    assert declared <= DECLARED


@pytest.mark.slow
@pytest.mark.parametrize("field", [*NEVER, *RARELY])
async def test_no_write_takes_a_field_that_it_does_not_declare(
    client: AsyncClient, make_person: MakePerson, field: str
) -> None:
    """Not even of somebody who may do everything, so that no right stands between the field and its refusal."""
    api = document()
    root, other = await make_person(roles=["admin"]), await make_person()
    tried = 0
    for verb, path, body in bodies(api):
        names = {name for name, _ in objects(api, body)}
        if any((name, field) in DECLARED for name in names):
            continue
        there = (
            path.replace("{user_id}", str(other.id)).replace("{role}", "none").replace("{invitation_id}", str(other.id))
        )
        assert "{" not in there, "give this test a value for the new parameter"
        refused = await client.request(verb, there, json={field: "x"}, headers=root.headers)
        assert refused.status_code == 422, (verb, path, refused.text)
        told = refused.json()["errors"]
        assert {"field": field, "code": "extra_forbidden"}.items() <= next(
            each for each in told if each["field"] == field
        ).items(), (verb, path)
        tried += 1
    assert tried >= 7
