"""The application: Denizen under `/accounts`, notebooks and notes beside it."""

from typing import Any

from fastapi import FastAPI

from denizen import Settings, UserCreated, install
from notes.hooks import write_welcome
from notes.profile import Profile
from notes.routes import moderation, router


def create_app(settings: Settings | None = None, **seams: Any) -> FastAPI:
    """Make the application.

    Args:
        settings: of Denizen, instead of those of the environment and of `.env`.
        seams: for tests: `hasher` and `clock`.
    """
    app = FastAPI(title="Notes")
    accounts = install(app, prefix="/accounts", settings=settings, profile=Profile, **seams)
    accounts.on(UserCreated)(write_welcome)
    app.include_router(router)
    app.include_router(moderation)
    app.state.accounts = accounts
    return app
