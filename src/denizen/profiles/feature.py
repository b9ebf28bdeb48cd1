"""What the room offers to the application."""

from __future__ import annotations

from typing import Any

from denizen.core.feature import CommandGroup, Feature


def _commands() -> Any:
    from denizen.profiles.cli import app

    return app


FEATURE = Feature("profiles", commands=(CommandGroup("profiles", _commands),))
