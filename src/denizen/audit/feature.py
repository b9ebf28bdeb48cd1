"""What the room offers to the application."""

from __future__ import annotations

from typing import Any

from denizen.audit.crud import describe_entries
from denizen.audit.service import delete_old, hear, hear_refusal, write_counts
from denizen.core.feature import Cleaner, CommandGroup, Feature, Holding, Job


def _routers() -> tuple[Any, ...]:
    from denizen.audit.routes import router

    return (router,)


def _commands() -> Any:
    from denizen.audit.cli import app

    return app


FEATURE = Feature(
    "audit",
    routers=_routers,
    listeners=(hear,),
    refusals=(hear_refusal,),
    cleaners=(Cleaner("old entries of the audit", delete_old),),
    holdings=(Holding("audit", describe_entries),),
    commands=(CommandGroup("audit", _commands),),
    jobs=(Job("count refusals in the audit", every=5.0, run=write_counts, last=True),),
)
