"""What the tests of commands have, for servers that run as processes."""

from __future__ import annotations

from tests.cli.conftest import denizen, environment

__all__ = ["denizen", "environment"]
