"""Fixtures for pytest: `pytest_plugins = ["denizen.testing.fixtures"]` in the topmost `conftest.py`.

They are not loaded by themselves where Denizen is installed: who wants them says so.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from denizen.settings import Settings
from denizen.testing.clocks import Clock
from denizen.testing.fakes import FakeHome
from denizen.testing.installs import make_settings


@pytest.fixture
def denizen_clock() -> Clock:
    """Time that stands still until the test turns it."""
    return Clock()


@pytest.fixture
def denizen_settings(tmp_path: Path) -> Settings:
    """Settings for a new, migrated SQLite file of this test."""
    return make_settings(tmp_path)


@pytest.fixture
def fake_denizen(denizen_clock: Clock) -> FakeHome:
    """A home in which everybody is made up; the test attaches it."""
    return FakeHome(clock=denizen_clock)
