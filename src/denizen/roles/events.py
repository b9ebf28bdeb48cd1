"""What happens to roles, and to who has them."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from denizen.core.events import Event


@dataclass(frozen=True, slots=True)
class RoleCreated(Event):
    """A role was defined."""

    action = "role.created"
    subject = "role_id"

    role_id: UUID
    name: str
    permissions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RoleChanged(Event):
    """A role was changed, or is about to be deleted; it is told while those who have it can still be found by it.

    Attributes:
        name: from now on.
        permissions: from now on.
        lost: what those who have it may do no more, unless another role allows it.
        gained: what it did not allow before.
    """

    action = "role.changed"
    subject = "role_id"

    role_id: UUID
    name: str
    permissions: tuple[str, ...]
    lost: tuple[str, ...] = ()
    gained: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RoleDeleted(Event):
    """A role is there no more. `RoleChanged` has told before what went with it."""

    action = "role.deleted"
    subject = "role_id"

    role_id: UUID
    name: str


@dataclass(frozen=True, slots=True)
class RoleGranted(Event):
    """Somebody has one role more."""

    action = "role.granted"

    user_id: UUID
    role: str


@dataclass(frozen=True, slots=True)
class RoleRevoked(Event):
    """Somebody has one role less: his sign-ins end."""

    action = "role.revoked"

    user_id: UUID
    role: str
