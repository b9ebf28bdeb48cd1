"""The rooms, in the order they open: one line each."""

from __future__ import annotations

from denizen.batch.feature import FEATURE as BATCH
from denizen.core.feature import Feature
from denizen.directory.feature import FEATURE as DIRECTORY
from denizen.idempotency.feature import FEATURE as IDEMPOTENCY
from denizen.jobs.feature import FEATURE as JOBS
from denizen.keys.feature import FEATURE as KEYS
from denizen.search.feature import FEATURE as SEARCH
from denizen.transfer.feature import FEATURE as TRANSFER
from denizen.users.feature import FEATURE as USERS

FEATURES: tuple[Feature, ...] = (IDEMPOTENCY, BATCH, USERS, DIRECTORY, SEARCH, KEYS, JOBS, TRANSFER)
