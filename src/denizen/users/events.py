"""What happens to accounts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from denizen.core.events import Event


@dataclass(frozen=True, slots=True)
class UserCreated(Event):
    """An account was opened."""

    action = "user.created"

    user_id: UUID


@dataclass(frozen=True, slots=True)
class SignedUp(Event):
    """A stranger opened an account of his own, whose address nobody has proved yet.

    Attributes:
        after: the address.
    """

    action = "user.signed_up"

    user_id: UUID
    after: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UserUpdated(Event):
    """An account was changed.

    Attributes:
        fields: the names of what was set.
        before: the values that were there.
        after: those that are there now.
    """

    action = "user.updated"

    user_id: UUID
    fields: tuple[str, ...]
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UserDeleted(Event):
    """An account was deleted: hidden until `erase_at`, or erased with this.

    Attributes:
        erase_at: when it is erased for good; `None` for at once.
    """

    action = "user.deleted"

    user_id: UUID
    erase_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class UserRestored(Event):
    """A deleted account is there again."""

    action = "user.restored"

    user_id: UUID


@dataclass(frozen=True, slots=True)
class UserErased(Event):
    """An account was erased for good, with everything that belongs to it; one that was not hidden before is told of as
    `UserDeleted` first.
    """

    action = "user.erased"

    user_id: UUID


@dataclass(frozen=True, slots=True)
class UserSuspended(Event):
    """An account was suspended: nobody signs in to it.

    Attributes:
        until: when that ends by itself; `None` for not.
        again: whether it was suspended until then already, so that the reason alone may be another.
        after: the reason.
    """

    action = "user.suspended"

    user_id: UUID
    until: datetime | None = None
    again: bool = False
    after: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UserUnsuspended(Event):
    """A suspension was ended."""

    action = "user.unsuspended"

    user_id: UUID


@dataclass(frozen=True, slots=True)
class PasswordChanged(Event):
    """An account has another password, or none any more: what was signed in with the old one ends.

    Attributes:
        way: how: `changed` (the old one was known), `reset` (by a link), `removed` (see `EmailProved`),
            `imported` (its hash came in a file).
        keep: the one session that goes on; `None` for none.
    """

    action = "user.password_changed"

    user_id: UUID
    way: str
    keep: UUID | None = None


@dataclass(frozen=True, slots=True)
class EmailProved(Event):
    """Somebody proved to read mail at the account's address.

    Attributes:
        first: nobody had proved one of this account before, so that whoever made it may have been a stranger: every
            password, session, key and pending change made before ends.
    """

    action = "user.email_proved"

    user_id: UUID
    first: bool = False


@dataclass(frozen=True, slots=True)
class EmailChanged(Event):
    """An account has another address: what was sent to the old one opens nothing any more.

    Attributes:
        way: `confirmed` (at the new address), `undone` (from the old one), `administrator` (nobody has confirmed it),
            `dropped` (it is somebody else's).
        before: the address that was there.
        after: the one that is there now.
    """

    action = "user.email_changed"

    user_id: UUID
    way: str
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)
