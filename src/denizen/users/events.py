"""What happens to accounts."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from denizen.core.events import Event


@dataclass(frozen=True, slots=True)
class UserCreated(Event):
    """An account was opened."""

    user_id: UUID


@dataclass(frozen=True, slots=True)
class UserUpdated(Event):
    """An account was changed.

    Attributes:
        fields: the names of what was set, not the values.
    """

    user_id: UUID
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UserDeleted(Event):
    """An account was erased."""

    user_id: UUID
