"""What the room offers to the application."""

from __future__ import annotations

from typing import Any

from denizen.core.feature import Cleaner, CommandGroup, Feature
from denizen.jobs.service import forget_one


def _routers() -> tuple[Any, ...]:
    from denizen.jobs.routes import router

    return (router,)


def _commands() -> Any:
    from denizen.jobs.cli import app

    return app


FEATURE = Feature(
    "jobs",
    routers=_routers,
    commands=(CommandGroup("jobs", _commands),),
    cleaners=(Cleaner("old jobs", forget_one),),
)
