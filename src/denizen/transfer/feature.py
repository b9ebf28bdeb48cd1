"""What this room offers to the application."""

from __future__ import annotations

from typing import Any

from denizen.core.feature import CommandGroup, Feature


def _routers() -> tuple[Any, ...]:
    from denizen.transfer.routes import router

    return (router,)


def _commands() -> Any:
    from denizen.transfer.cli import app

    return app


FEATURE = Feature(
    "transfer", routers=_routers, ahead=True, commands=(CommandGroup("users", _commands, ("import", "export")),)
)
