"""The rooms, in the order they open: one line each. What a room stands on is loaded when it is asked for something."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Final

from denizen.account.feature import FEATURE as ACCOUNT
from denizen.audit.feature import FEATURE as AUDIT
from denizen.batch.feature import FEATURE as BATCH
from denizen.core.feature import Feature
from denizen.directory.feature import FEATURE as DIRECTORY
from denizen.founder.feature import FEATURE as FOUNDER
from denizen.housekeeping.feature import FEATURE as HOUSEKEEPING
from denizen.idempotency.feature import FEATURE as IDEMPOTENCY
from denizen.invitations.feature import FEATURE as INVITATIONS
from denizen.jobs.feature import FEATURE as JOBS
from denizen.keys.feature import FEATURE as KEYS
from denizen.limits.feature import FEATURE as LIMITS
from denizen.mail.feature import FEATURE as MAIL
from denizen.metrics.feature import FEATURE as METRICS
from denizen.onetime.feature import FEATURE as ONETIME
from denizen.passwordless.feature import FEATURE as PASSWORDLESS
from denizen.profiles.feature import FEATURE as PROFILES
from denizen.refresh.feature import FEATURE as REFRESH
from denizen.roles.feature import FEATURE as ROLES
from denizen.search.feature import FEATURE as SEARCH
from denizen.sessions.feature import FEATURE as SESSIONS
from denizen.signing.feature import FEATURE as SIGNING
from denizen.signup.feature import FEATURE as SIGNUP
from denizen.transfer.feature import FEATURE as TRANSFER
from denizen.users.feature import FEATURE as USERS

# Routes are looked at in this order, and FastAPI makes those of a room ready when it first looks there: what is asked
# for most stands first.
FEATURES: tuple[Feature, ...] = (
    IDEMPOTENCY,
    BATCH,
    USERS,
    DIRECTORY,
    SESSIONS,
    KEYS,
    LIMITS,
    HOUSEKEEPING,
    SIGNUP,
    ACCOUNT,
    FOUNDER,
    INVITATIONS,
    PASSWORDLESS,
    REFRESH,
    SEARCH,
    PROFILES,
    ROLES,
    ONETIME,
    SIGNING,
    MAIL,
    JOBS,
    TRANSFER,
    AUDIT,
    METRICS,
)

NEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    "account": ("sessions",),
    "batch": ("users",),
    "directory": ("users",),
    "invitations": ("roles",),
    "passwordless": ("sessions",),
    "refresh": ("sessions", "signing"),
    "signup": ("account",),
    "transfer": ("jobs",),
}
"""The rooms whose routes make no sense without those of others."""


def choose(features: Sequence[Feature | str] | None) -> tuple[Feature, ...]:
    """Give all rooms, of which those that nobody named have no routes and recognise nobody.

    They take part all the same: what they do when an account is changed, suspended or erased is what keeps the accounts
    safe, and their tables are there whether they have routes or not.

    Args:
        features: the names of rooms, and features that are none of ours; `None` for all rooms.

    Raises:
        ValueError: there is no such room; the nearest is named.
        TypeError: it is one name, or something that is no feature.
    """
    if features is None:
        return FEATURES
    if isinstance(features, str):
        raise TypeError(f"Features are several: features=[{features!r}].")
    rooms = {room.name: room for room in FEATURES}
    given = {each.name: each for each in features if isinstance(each, Feature)}
    named = given.keys() | {_known(each, rooms) for each in features if not isinstance(each, Feature)}
    waiting = list(named)
    while waiting:
        needed = set(NEEDS.get(waiting.pop(), ())) - named
        named |= needed
        waiting += needed
    ours = (given.get(room.name, room) for room in FEATURES)
    return (
        *(room if room.name in named else room.without_routes() for room in ours),
        *(feature for name, feature in given.items() if name not in rooms),
    )


def _known(name: object, rooms: Mapping[str, Feature]) -> str:
    if not isinstance(name, str):
        raise TypeError(f"A feature is named by text, and not by {name!r}.")
    if name not in rooms:
        close = difflib.get_close_matches(name, rooms, n=1)
        hint = f"Did you mean {close[0]!r}?" if close else f"There are {', '.join(sorted(rooms))}."
        raise ValueError(f"There is no feature {name!r}. {hint}")
    return name
