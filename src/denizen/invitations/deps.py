"""What the routes of this room ask for."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Path
from pydantic import BeforeValidator

from denizen.core.auth import Caller, Scope
from denizen.core.deps import Bearer, requires
from denizen.core.home import Home
from denizen.core.ids import parse_id
from denizen.invitations.errors import InvitationNotFound

CanInvite = Annotated[Caller, requires(Scope.INVITATIONS_WRITE)]


class _OneBearer(Bearer):
    """The same, for one invitation; who may not is told that there is none."""

    def judge(self, caller: Caller, home: Home) -> None:
        """Refuse a caller who may not."""
        if not caller.may(Scope.INVITATIONS_WRITE):
            raise InvitationNotFound("Invitation not found") from caller.lacks(Scope.INVITATIONS_WRITE)


CanReachInvitation = Annotated[Caller, Depends(_OneBearer())]


def _parse(text: object) -> UUID:
    found = parse_id(text) if isinstance(text, str) else None
    if found is None:
        raise InvitationNotFound("Invitation not found")
    return found


InvitationId = Annotated[
    UUID, BeforeValidator(_parse), Path(description="A UUIDv7.", examples=["019a5c1e-7f00-7a11-8b22-3c33d44e55f6"])
]
