"""What the routes of this room ask for."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends

from denizen.core.auth import Caller, NotWhileImpersonating, Scope
from denizen.core.deps import Bearer
from denizen.core.home import Home
from denizen.roles.errors import RoleNotFound
from denizen.users.deps import OneBearer


def sees_roles(caller: Caller) -> bool:
    """Whether somebody sees all roles: who sees accounts, who then sees what roles there are, and who defines them."""
    return caller.may(Scope.ROLES_WRITE) or caller.may(Scope.USERS_READ)


class _ReadingBearer(Bearer):
    """Recognises who sees all roles."""

    def judge(self, caller: Caller, home: Home) -> None:
        """Refuse a caller who does not; the right that is named is the lesser one."""
        if not sees_roles(caller):
            caller.must(Scope.USERS_READ)


class _WritingBearer(Bearer):
    """Recognises who defines, gives and takes roles, in his own name."""

    def judge(self, caller: Caller, home: Home) -> None:
        """Refuse a caller who lacks the right, or acts in somebody else's place."""
        caller.must(Scope.ROLES_WRITE)
        if caller.impersonator_id is not None:
            raise NotWhileImpersonating("Roles are changed in one's own name.")


class _OneWritingBearer(_WritingBearer):
    """The same, for one role; who may not even see it is told that there is none."""

    def judge(self, caller: Caller, home: Home) -> None:
        """Refuse a caller who may not."""
        if not sees_roles(caller):
            raise RoleNotFound("Role not found") from caller.lacks(Scope.ROLES_WRITE)
        super().judge(caller, home)


class _GivingBearer(OneBearer, _WritingBearer):
    """The same, for the roles of one person; who may not see others is told that there is nobody."""


CanReadRoles = Annotated[Caller, Depends(_ReadingBearer())]
CanWriteRoles = Annotated[Caller, Depends(_WritingBearer())]
CanWriteRole = Annotated[Caller, Depends(_OneWritingBearer())]
CanGiveRoles = Annotated[Caller, Depends(_GivingBearer())]
