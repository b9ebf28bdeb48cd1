"""What the room offers to the application."""

from __future__ import annotations

from denizen.core.feature import Feature

FEATURE = Feature("refresh")
