"""What the room offers to the application."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from denizen.core.accounts import Accounts
from denizen.core.feature import CommandGroup, Feature, Job


def _commands() -> Any:
    from denizen.housekeeping.cli import app

    return app


def _keep_house(accounts: Accounts) -> Awaitable[None]:
    from denizen.housekeeping.service import keep_house

    return keep_house(accounts)


FEATURE = Feature(
    "housekeeping",
    jobs=(Job("keep house", every=60.0, run=_keep_house),),
    commands=(CommandGroup("housekeeping", _commands),),
)
