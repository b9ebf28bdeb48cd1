"""What the room offers to the application."""

from __future__ import annotations

from typing import Any

from denizen.core.feature import Feature
from denizen.refresh.service import refuse_others


def _routers() -> tuple[Any, ...]:
    from denizen.refresh.routes import router

    return (router,)


FEATURE = Feature("refresh", routers=_routers, authenticators=(refuse_others,))
