"""OpenAPI tells own fields as each install has them, whatever else the host does with its document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from denizen import CurrentUser, Settings, install
from denizen.core.profile_documents import TOLD, schema_of
from denizen.core.profile_sources import profile_of_schema
from denizen.users.schemas import UserRead
from tests.conftest import SECRET
from tests.openapi.document import document as plain_document
from tests.profiles.conftest import Profile

Document = dict[str, Any]


class Other(BaseModel):
    """Of another install."""

    cost_centre: int | None = None


class AccountProfileRead(BaseModel):
    """A host's own, which happens to be called as one of ours."""

    mine: int


def settings(name: str) -> Settings:
    return Settings(_env_file=None, database_url=f"sqlite:///{name}.db", secret_key=SECRET)


def resolved(document: Document, path: str, verb: str, *, answer: str | None = None) -> Any:
    """The schema of a body, or of an answer, with what it refers to."""
    operation = document["paths"][path][verb]
    place = operation["responses"][answer] if answer else operation["requestBody"]
    return follow(document, place["content"]["application/json"]["schema"])


def follow(document: Document, schema: Any) -> Any:
    if isinstance(schema, dict) and "$ref" in schema:
        return document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def own_fields(document: Document, path: str, verb: str, *, answer: str | None = None) -> dict[str, Any]:
    found: dict[str, Any] = follow(document, resolved(document, path, verb, answer=answer)["properties"]["profile"])
    return found


def filters(document: Document, path: str) -> list[str]:
    return [
        each["name"] for each in document["paths"][path]["get"]["parameters"] if each["name"].startswith("profile.")
    ]


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        yield from (node["$ref"] for _ in (1,) if isinstance(node.get("$ref"), str))
        for each in node.values():
            yield from references(each)
    elif isinstance(node, list):
        for each in node:
            yield from references(each)


def test_what_is_written_and_what_is_read_are_told_apart() -> None:
    app = FastAPI()
    install(app, settings=settings("a"), profile=Profile)

    document = app.openapi()

    made, set_, shown = (
        own_fields(document, "/users/", "post"),
        own_fields(document, "/users/{user_id}", "patch"),
        own_fields(document, "/users/{user_id}", "get", answer="200"),
    )
    assert (made["required"], made["additionalProperties"]) == (["department"], False)
    assert "profile" in resolved(document, "/users/", "post")["required"]
    assert "profile" in resolved(document, "/auth/register", "post")["required"]
    components = document["components"]["schemas"]
    assert "profile" not in components["InvitationAccept"]["required"]  # he may leave it for later
    assert components["InvitationAccept"]["properties"]["profile"]["$ref"].endswith("/AccountProfileCreate")
    assert "required" not in set_
    assert {"type": "null"} in set_["properties"]["newsletter"]["anyOf"]
    assert set_["properties"]["department"]["type"] == "string"
    assert "required" not in shown
    assert shown["properties"]["clearance"]["readOnly"] is True
    assert shown["properties"]["level"]["enum"] == ["junior", "senior"]
    expected = ["department", "level", "badge", "height", "newsletter", "clearance"]
    assert filters(document, "/users/") == filters(document, "/users/export") == [f"profile.{n}" for n in expected]
    assert {each.removeprefix("#/components/schemas/") for each in references(document)} <= components.keys()


def test_document_without_own_fields_is_what_it_always_was() -> None:
    app = FastAPI()
    install(app, settings=settings("a"))

    assert app.openapi()["components"]["schemas"] == {
        name: schema
        for name, schema in plain_document()["components"]["schemas"].items()
        if name in app.openapi()["components"]["schemas"]
    }
    assert filters(app.openapi(), "/users/") == []


@pytest.mark.parametrize("first", [Profile, None])
def test_two_installs_are_told_apart(first: type[BaseModel] | None) -> None:
    app = FastAPI()
    install(app, settings=settings("a"), profile=first)
    install(app, prefix="/b", settings=settings("b"), profile=Other)

    document = app.openapi()

    of_b = own_fields(document, "/b/users/", "post")
    assert list(of_b["properties"]) == ["cost_centre"]
    assert filters(document, "/b/users/") == ["profile.cost_centre"]
    of_a = own_fields(document, "/users/", "post")
    assert list(of_a.get("properties", {})) == (list(Profile.model_fields) if first else [])
    assert len(filters(document, "/users/")) == (6 if first else 0)
    components = document["components"]["schemas"]
    assert {each.removeprefix("#/components/schemas/") for each in references(document)} <= components.keys()


def test_hosts_routes_components_and_own_document_keep_working() -> None:
    app = FastAPI()

    @app.get("/whoami", response_model=UserRead)
    async def whoami(user: CurrentUser) -> Any:
        return user

    @app.get("/profile")
    async def profile() -> AccountProfileRead:
        return AccountProfileRead(mine=1)

    def own() -> Document:
        document = get_openapi(title="Notes", version="7", routes=app.routes)
        document["info"]["x-logo"] = "logo.svg"
        return document

    app.openapi = own  # type: ignore[method-assign]  # FastAPI's own way to extend the document
    install(app, settings=settings("a"), profile=Profile)

    document = app.openapi()

    assert document["info"]["x-logo"] == "logo.svg"
    assert list(resolved(document, "/profile", "get", answer="200")["properties"]) == ["mine"]
    assert "clearance" in own_fields(document, "/whoami", "get", answer="200")["properties"]


async def test_document_that_a_host_makes_after_us_is_whole_from_the_start(app: FastAPI) -> None:
    made_ours = app.openapi

    def own() -> Document:
        return get_openapi(title="Notes", version="7", routes=app.routes)

    app.openapi = own  # type: ignore[method-assign]  # as above
    assert own_fields(app.openapi(), "/users/", "post")["type"] == "object"

    async with app.router.lifespan_context(app):
        told = own_fields(app.openapi(), "/users/", "post")

    assert list(told["properties"]) == list(Profile.model_fields)
    assert told == own_fields(made_ours(), "/users/", "post")


def test_schema_with_references_stands_by_itself() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}, "name": {"type": "string"}}}
    profile = profile_of_schema(
        {
            "title": "Staff record",
            "type": "object",
            "properties": {"team": {"$ref": "#/$defs/team", "description": "Which."}, "tree": {"$ref": "#/$defs/node"}},
            "$defs": {"team": {"enum": ["red", "blue"]}, "node": node},
        }
    )

    told = schema_of(profile, "Create")

    assert told["title"] == "Staffrecord"
    assert told["properties"]["team"] == {"enum": ["red", "blue"], "description": "Which."}
    assert told["properties"]["tree"]["properties"]["next"] == {}
    assert told["description"] == TOLD["Create"]
    assert list(references(told)) == []
