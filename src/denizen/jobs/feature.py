"""What the room offers to the application."""

from __future__ import annotations

from typing import Any

from denizen.core.feature import CommandGroup, Feature, Job
from denizen.jobs.service import forget_old


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
    jobs=(Job("forget old jobs", every=3600.0, run=forget_old),),
)
