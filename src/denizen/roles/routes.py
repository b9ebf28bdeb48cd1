"""Roles over HTTP: what there is, and who has which."""

from typing import Annotated

from fastapi import Path, Response

from denizen.core.auth import (
    AUTH,
    BeyondCaller,
    CredentialsInvalid,
    CredentialsMissing,
    NotWhileImpersonating,
    Scope,
)
from denizen.core.deps import CurrentCaller, Db, Here, Now, Reads
from denizen.core.problems import ANY, WRITING, responses
from denizen.core.routing import Router
from denizen.idempotency.deps import REFUSALS, REPLAYED, Once
from denizen.roles import crud, service
from denizen.roles.deps import CanGiveRoles, CanReadRoles, CanWriteRole, CanWriteRoles
from denizen.roles.errors import LastAdministrator, RoleBuiltIn, RoleNameTaken, RoleNotFound
from denizen.roles.schemas import (
    KNOWN,
    PermissionRead,
    RoleCreate,
    RoleRead,
    RoleSet,
    RoleUpdate,
    dump_role,
    dump_roles,
)
from denizen.users.errors import UserNotFound
from denizen.users.routes import UserId

router = Router(tags=["roles"])

_WRITING = (NotWhileImpersonating, BeyondCaller, *WRITING)

Which = Annotated[str, Path(description="The role's name or its id.", examples=["support"])]
Name = Annotated[str, Path(description="The role's name.", examples=["support"])]


def _roles(rows: list[crud.Row]) -> Response:
    return Response(dump_roles(rows), media_type="application/json", headers={"Cache-Control": "no-store"})


def _role(row: crud.Row, *, status: int = 200, location: str | None = None) -> Response:
    headers = {} if location is None else {"Location": location}
    return Response(dump_role(row), status, headers, "application/json")


@router.get(
    "/permissions",
    response_model=list[PermissionRead],
    operation_id="list_permissions",
    summary="List permissions",
    responses=responses(CredentialsMissing, CredentialsInvalid, *ANY),
)
async def list_permissions(caller: CurrentCaller) -> list[PermissionRead]:
    """List the permissions that Denizen itself asks for. A host may ask for others; roles may carry those too."""
    return KNOWN


@router.get(
    "/roles/",
    response_model=list[RoleRead],
    operation_id="list_roles",
    summary="List roles",
    responses=responses(*AUTH, *ANY),
)
async def list_roles(caller: CanReadRoles, reads: Reads) -> Response:
    """List all roles, by name. Takes `users:read` or `roles:write`."""
    return _roles(await crud.list_roles(reads))


@router.post(
    "/roles/",
    status_code=201,
    response_model=RoleRead,
    operation_id="create_role",
    summary="Define a role",
    responses={
        201: {"headers": {"Location": {"schema": {"type": "string"}, "description": "Of the new role."}, **REPLAYED}},
        **responses(*AUTH, RoleNameTaken, *REFUSALS, *_WRITING),
    },
)
async def create_role(
    accounts: Here, caller: CanWriteRoles, attempt: Once, db: Db, at: Now, data: RoleCreate
) -> Response:
    """Define a role that allows no more than you may yourself."""
    if (kept := await attempt.begin(caller)) is not None:
        return kept
    role = await service.define_role(db, data, caller=caller, at=at)
    answer = _role(crud.row_of(role), status=201, location=accounts.public_url(f"/roles/{role.name}"))
    return await attempt.keep(db, answer)


@router.get(
    "/roles/{role}",
    response_model=RoleRead,
    operation_id="get_role",
    summary="Read a role",
    responses=responses(CredentialsMissing, CredentialsInvalid, RoleNotFound, *ANY),
)
async def get_role(caller: CurrentCaller, role: Which, reads: Reads) -> Response:
    """Read one role: one's own, or any with `users:read` or `roles:write`."""
    return _role(await service.read_role(reads, role, caller=caller))


@router.patch(
    "/roles/{role}",
    response_model=RoleRead,
    operation_id="update_role",
    summary="Change a role",
    responses=responses(*AUTH, RoleNotFound, RoleNameTaken, RoleBuiltIn, *_WRITING),
)
async def update_role(caller: CanWriteRole, role: Which, db: Db, at: Now, data: RoleUpdate) -> Response:
    """Set the fields that the body names. It counts at once for all who have the role; where it allows less than before
    their sign-ins end.
    """
    return _role(crud.row_of(await service.change_role(db, role, data, caller=caller, at=at)))


@router.delete(
    "/roles/{role}",
    status_code=204,
    operation_id="delete_role",
    summary="Delete a role",
    responses=responses(*AUTH, RoleNotFound, RoleBuiltIn, *_WRITING),
)
async def delete_role(caller: CanWriteRole, role: Which, db: Db) -> None:
    """Delete a role: nobody has it any more, and the sign-ins of those who had it end."""
    await service.delete_role(db, role, caller=caller)


@router.get(
    "/users/{user_id}/roles",
    response_model=list[RoleRead],
    operation_id="list_user_roles",
    summary="List somebody's roles",
    responses=responses(CredentialsMissing, CredentialsInvalid, UserNotFound, *ANY),
)
async def list_user_roles(caller: CurrentCaller, user_id: UserId, reads: Reads) -> Response:
    """List what roles somebody has, by name: one's own, or anybody's with `users:read`."""
    if not caller.is_self(user_id) and not caller.may(Scope.USERS_READ):
        raise UserNotFound("User not found") from caller.lacks(Scope.USERS_READ)
    return _roles(await service.list_roles_of(reads, user_id))


@router.put(
    "/users/{user_id}/roles",
    response_model=list[RoleRead],
    operation_id="set_user_roles",
    summary="Set somebody's roles",
    responses=responses(*AUTH, UserNotFound, RoleNotFound, LastAdministrator, *_WRITING),
)
async def set_user_roles(caller: CanGiveRoles, user_id: UserId, db: Db, at: Now, data: RoleSet) -> Response:
    """Give somebody these roles, and take all others. Where one is taken his sign-ins end."""
    roles = await service.set_roles(db, user_id, data.roles, caller=caller, at=at)
    return _roles([crud.row_of(each) for each in roles])


@router.put(
    "/users/{user_id}/roles/{role}",
    response_model=list[RoleRead],
    operation_id="grant_role",
    summary="Give somebody a role",
    responses=responses(*AUTH, UserNotFound, RoleNotFound, *_WRITING),
)
async def grant_role(caller: CanGiveRoles, user_id: UserId, role: Name, db: Db, at: Now) -> Response:
    """Give somebody a role beside those that he has; done already, it changes nothing."""
    roles = await service.grant_roles(db, user_id, [role], caller=caller, at=at)
    return _roles([crud.row_of(each) for each in roles])


@router.delete(
    "/users/{user_id}/roles/{role}",
    status_code=204,
    operation_id="revoke_role",
    summary="Take a role from somebody",
    responses=responses(*AUTH, UserNotFound, RoleNotFound, LastAdministrator, *_WRITING),
)
async def revoke_role(caller: CanGiveRoles, user_id: UserId, role: Name, db: Db, at: Now) -> None:
    """Take a role from somebody; his sign-ins end."""
    await service.revoke_role(db, user_id, role, caller=caller, at=at)
