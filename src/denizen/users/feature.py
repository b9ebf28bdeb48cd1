"""What the room offers to the application."""

from __future__ import annotations

from typing import Any

from denizen.core.feature import Cleaner, CommandGroup, Feature, Holding
from denizen.users.crud import describe_user
from denizen.users.service import find_own_user
from denizen.users.states import erase_due


def _routers() -> tuple[Any, ...]:
    from denizen.users.routes import router

    return (router,)


def _commands() -> Any:
    from denizen.users.cli import app

    return app


FEATURE = Feature(
    "users",
    routers=_routers,
    user_finder=find_own_user,
    cleaners=(Cleaner("deleted accounts", erase_due),),
    holdings=(Holding("account", describe_user),),
    commands=(CommandGroup("users", _commands),),
)
