"""What is made of rows that the database gives for every request."""

from __future__ import annotations

import json
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from denizen.core.auth import Caller
from denizen.core.types import parse_utc


@lru_cache(maxsize=2048)
def caller_of(rows: tuple[tuple[Any, ...], ...]) -> tuple[Caller, datetime]:
    """Make a caller of what the database says, and tell when his sign-in was last used.

    The database is asked each time. As long as it says the same, what was made of it before is used again: to make ids,
    times and permissions of text costs more than to read them.
    """
    session_id, user_id, expires_at, authenticated_at, last_used_at, impersonator_id, _, method = rows[0]
    caller = Caller(
        "session",
        _id(session_id),
        frozenset(permission for row in rows for permission in json.loads(row[6] or "[]")),
        _time(expires_at),
        _id(user_id),
        _time(authenticated_at),
        None if impersonator_id is None else _id(impersonator_id),
        method,
    )
    return caller, _time(last_used_at)


def _id(shown: UUID | str) -> UUID:
    return shown if isinstance(shown, UUID) else UUID(shown)


def _time(shown: datetime | str) -> datetime:
    return shown if isinstance(shown, datetime) else parse_utc(shown)
