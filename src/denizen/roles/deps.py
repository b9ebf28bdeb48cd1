"""What the routes of this room ask for."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends

from denizen.core.auth import Caller, NotWhileImpersonating, Scope
from denizen.core.deps import CurrentCaller, requires
from denizen.roles.errors import RoleNotFound
from denizen.users.deps import OneBearer


async def _may_see_roles(caller: CurrentCaller) -> Caller:
    """Let through who sees accounts, who then sees what roles there are, and who defines them."""
    if not caller.may(Scope.ROLES_WRITE):
        caller.must(Scope.USERS_READ)
    return caller


async def _may_write_roles(caller: Annotated[Caller, requires(Scope.ROLES_WRITE)]) -> Caller:
    return _himself(caller)


async def _may_write_role(caller: CurrentCaller) -> Caller:
    """Let through who defines roles; who may not even see them is told that there is none."""
    if not caller.may(Scope.ROLES_WRITE) and not caller.may(Scope.USERS_READ):
        raise RoleNotFound("Role not found")
    caller.must(Scope.ROLES_WRITE)
    return _himself(caller)


async def _may_give_roles(caller: Annotated[Caller, Depends(OneBearer(Scope.ROLES_WRITE))]) -> Caller:
    return _himself(caller)


def _himself(caller: Caller) -> Caller:
    if caller.impersonator_id is not None:
        raise NotWhileImpersonating("Roles are changed in one's own name.")
    return caller


CanReadRoles = Annotated[Caller, Depends(_may_see_roles)]
CanWriteRoles = Annotated[Caller, Depends(_may_write_roles)]
CanWriteRole = Annotated[Caller, Depends(_may_write_role)]
CanGiveRoles = Annotated[Caller, Depends(_may_give_roles)]
