"""What is judged before the first statement: what nobody does to his own account, or in somebody else's place."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from denizen.core.auth import Caller, NotWhileImpersonating, ReauthenticationNeeded, SessionNeeded
from denizen.core.errors import FieldError, Invalid
from denizen.core.home import Home
from denizen.users.errors import OwnAccount
from denizen.users.schemas import FLOWS, OwnUpdate

OWN_FIELDS: Final = frozenset(OwnUpdate.model_fields) - FLOWS.keys()
"""What people set on their own account."""
_LOGINS: Final = frozenset({"username", "email"})


def check_change(caller: Caller | None, user_id: UUID, names: Iterable[str]) -> None:
    """Refuse what nobody sets on his own account, whatever he may do to others, or in somebody else's place.

    Args:
        caller: who asks.
        user_id: the account that is to be changed.
        names: of the fields.

    Raises:
        Invalid: with what to do instead, where there is something.
        NotWhileImpersonating: what somebody signs in by: a username, an address.
    """
    if caller is None:
        return
    named = frozenset(names)
    if caller.is_self(user_id) and (refused := sorted(named - OWN_FIELDS)):
        errors = [
            FieldError(name, "extra_forbidden", FLOWS.get(name, f"nobody sets {name} on his own account"))
            for name in refused
        ]
        first = errors[0]
        raise Invalid(f"{first.field}: {first.message}.", field=first.field, errors=errors)
    if named & _LOGINS:
        not_in_anothers_place(caller)


def not_in_anothers_place(caller: Caller | None) -> None:
    """Refuse what nobody does who acts in somebody else's place.

    Raises:
        NotWhileImpersonating: he does.
    """
    if caller is not None and caller.impersonator_id is not None:
        raise NotWhileImpersonating("Nobody does this in somebody else's place.")


def not_on_oneself(caller: Caller | None, user_id: UUID) -> None:
    """Refuse what nobody does to himself.

    Raises:
        OwnAccount: it is his own account.
    """
    if caller is not None and caller.is_self(user_id):
        raise OwnAccount("Nobody suspends himself, or ends his own suspension.")


def must_be_fresh(home: Home, caller: Caller, *, at: datetime) -> None:
    """Let somebody do to his own account what cannot be undone.

    Raises:
        SessionNeeded: a key, even his own.
        NotWhileImpersonating: somebody in his place.
        ReauthenticationNeeded: he proved who he is too long ago.
    """
    if caller.kind != "session":
        raise SessionNeeded("Sign in for this: a key is not enough.")
    if caller.impersonator_id is not None:
        raise NotWhileImpersonating("This is for the owner of the account alone.")
    recent = at - timedelta(seconds=home.reauthentication_timeout)
    if caller.authenticated_at is None or caller.authenticated_at < recent:
        raise ReauthenticationNeeded("Prove first who you are: POST /auth/reauthenticate.")
