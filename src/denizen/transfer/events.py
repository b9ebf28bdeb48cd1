"""What happened to accounts in bulk."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from denizen.core.events import Event


@dataclass(frozen=True, slots=True)
class UsersImported(Event):
    """A batch of a file was brought in; told once for all accounts of the batch, in its transaction.

    Attributes:
        user_ids: of the accounts that were created, in the order of the file.
        updated_ids: of the accounts that were changed, likewise.
    """

    action = "users.imported"
    subject = ""

    user_ids: tuple[UUID, ...]
    updated_ids: tuple[UUID, ...] = ()
