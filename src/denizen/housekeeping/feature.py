"""What the room offers to the application."""

from __future__ import annotations

from typing import Any

from denizen.core.feature import CommandGroup, Feature, Job
from denizen.housekeeping.service import keep_house


def _commands() -> Any:
    from denizen.housekeeping.cli import app

    return app


FEATURE = Feature(
    "housekeeping",
    jobs=(Job("keep house", every=60.0, run=keep_house),),
    commands=(CommandGroup("housekeeping", _commands),),
)
