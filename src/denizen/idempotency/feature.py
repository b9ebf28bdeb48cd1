"""What the room offers to the application."""

from __future__ import annotations

from denizen.core.feature import Feature, Job
from denizen.idempotency.service import forget_expired

FEATURE = Feature("idempotency", jobs=(Job("forget kept answers", every=300.0, run=forget_expired),))
