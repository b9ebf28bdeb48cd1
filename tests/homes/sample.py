"""A host's application that asks who calls. It does not know where Denizen runs: whoever makes it says so."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import FastAPI

from denizen import Caller, CurrentCaller, CurrentUser, FreshSession, OptionalUser, requires


def make_app() -> FastAPI:
    """Make the application."""
    app = FastAPI()

    @app.get("/greeting")
    async def greet(user: OptionalUser) -> str:
        return "Hello, stranger" if user is None else f"Hello, {user.username}"

    @app.get("/profile")
    async def read_profile(user: CurrentUser) -> dict[str, Any]:
        return {"id": str(user.id), "email": user.email, "since": user.created_at}

    @app.get("/caller")
    async def read_caller(caller: CurrentCaller) -> dict[str, Any]:
        return {"kind": caller.kind, "user": caller.user_id, "scopes": sorted(caller.scopes)}

    @app.post("/notes", status_code=201)
    async def write_note(caller: Annotated[Caller, requires("notes:write")], user: CurrentUser) -> str | None:
        assert caller.user_id == user.id
        return user.username

    @app.delete("/notes")
    async def delete_notes(caller: FreshSession) -> str:
        return str(caller.user_id)

    return app
