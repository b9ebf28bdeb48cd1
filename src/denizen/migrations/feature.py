"""What this room adds to the `denizen` program."""

from __future__ import annotations

from typing import Any

from denizen.core.feature import CommandGroup, Feature


def _commands() -> Any:
    from denizen.migrations.cli import app

    return app


FEATURE = Feature("migrations", commands=(CommandGroup("migrate", _commands),))
"""Listed by the command line itself: migrations stand above `features`, since they know every room's models."""
