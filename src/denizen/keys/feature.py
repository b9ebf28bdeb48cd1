"""What the room offers to the application."""

from __future__ import annotations

from typing import Any

from denizen.core.feature import CommandGroup, Feature, Job
from denizen.keys.service import recognise, write_last_uses


def _routers() -> tuple[Any, ...]:
    from denizen.keys.routes import router

    return (router,)


def _commands() -> Any:
    from denizen.keys.cli import app

    return app


FEATURE = Feature(
    "keys",
    routers=_routers,
    authenticators=(recognise,),
    commands=(CommandGroup("keys", _commands),),
    jobs=(Job("write last uses of keys", every=20.0, run=write_last_uses, last=True),),
)
