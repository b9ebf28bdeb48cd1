"""What the room offers to the application."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import datetime
from typing import Any

from denizen.core.accounts import Accounts
from denizen.core.auth import Caller
from denizen.core.feature import Feature


def _routers() -> tuple[Any, ...]:
    from denizen.refresh.routes import router

    return (router,)


def _refuse_others(accounts: Accounts, token: str, at: datetime) -> Awaitable[Caller | None]:
    from denizen.refresh.service import refuse_others

    return refuse_others(accounts, token, at)


FEATURE = Feature("refresh", routers=_routers, authenticators=(_refuse_others,))
