"""What is made of rows that the database gives for every request."""

from __future__ import annotations

import json
from datetime import datetime
from functools import lru_cache
from typing import Any, Protocol
from uuid import UUID

from denizen.core.auth import Caller
from denizen.core.identifiers import EmailInvalid, UsernameInvalid, clean_email, email_key, username_key
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


class Account(Protocol):
    """As much of an account as signing in to it needs: a `User`, or a row of `crud.find_login`."""

    @property
    def id(self) -> UUID:
        """Whose it is."""

    @property
    def hashed_password(self) -> str | None:
        """A PHC string."""

    @property
    def is_active(self) -> bool:
        """Whether it is in use."""

    @property
    def deleted_at(self) -> datetime | None:
        """When it was deleted."""

    @property
    def suspended_at(self) -> datetime | None:
        """When it was suspended."""

    @property
    def suspended_until(self) -> datetime | None:
        """When that ends."""


def known_by(login: str) -> tuple[str, str]:
    """Give the column that a login is looked up by, and its key there: the same for all spellings.

    What is no address and no username is looked up all the same, and found nowhere: that costs what others cost.
    """
    login = login.strip()
    try:
        return ("email_key", email_key(clean_email(login))) if "@" in login else ("username_key", username_key(login))
    except (EmailInvalid, UsernameInvalid):
        return "username_key", login
