"""The rooms, in the order they open: one line each. What a room stands on is loaded when it is asked for something."""

from __future__ import annotations

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
    ROLES,
    ONETIME,
    SIGNING,
    MAIL,
    JOBS,
    TRANSFER,
    AUDIT,
    METRICS,
)
