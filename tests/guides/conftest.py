"""A terminal in a folder of its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest


@pytest.fixture
def environment() -> dict[str, str]:
    """What a terminal has in which the virtual environment is active, and nothing of this run."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DENIZEN_", "PYTEST_", "COVERAGE", "MAKE", "MFLAGS", "ARGS"))
    }
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    return {**kept, "PATH": path, "COLUMNS": "200", "TERM": "dumb", "PIP_NO_INDEX": "1"}
