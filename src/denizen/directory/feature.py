"""What the room offers to the application."""

from __future__ import annotations

from typing import Any

from denizen.core.feature import CommandGroup, Feature


def _routers() -> tuple[Any, ...]:
    from denizen.directory.routes import router

    return (router,)


def _commands() -> Any:
    from denizen.directory.cli import app

    return app


FEATURE = Feature("directory", routers=_routers, commands=(CommandGroup("users", _commands, ("list", "edit")),))
