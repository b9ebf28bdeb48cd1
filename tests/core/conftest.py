"""Property tests look for wrong answers; how long one example takes on a busy machine is not their business."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("denizen", deadline=None)
settings.load_profile("denizen")
