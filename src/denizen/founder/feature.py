"""What the room offers to the application."""

from __future__ import annotations

from typing import Any

from denizen.core.feature import Feature


def _routers() -> tuple[Any, ...]:
    from denizen.founder.routes import router

    return (router,)


FEATURE = Feature("founder", routers=_routers)
