"""The rooms, in the order they open: one line each."""

from __future__ import annotations

from denizen.core.feature import Feature
from denizen.keys.feature import FEATURE as KEYS
from denizen.transfer.feature import FEATURE as TRANSFER
from denizen.users.feature import FEATURE as USERS

# Transfer stands before users: of two routes that a path matches the first one answers, and `/users/export` looks like
# an account's.
FEATURES: tuple[Feature, ...] = (TRANSFER, USERS, KEYS)
