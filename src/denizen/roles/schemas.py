"""What goes in and comes out over HTTP."""

import re
from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

from annotated_types import MaxLen
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError, to_json

from denizen.core.auth import EVERYTHING, MAX_PERMISSION_LENGTH, SCOPES, is_permission
from denizen.core.bounds import MAX_DESCRIPTION_LENGTH, MAX_ROLE_NAME_LENGTH
from denizen.core.ids import parse_id
from denizen.core.text import Storable

MAX_PERMISSIONS: Final = 200
MAX_ROLES: Final = 50
"""How many roles one person may have."""

NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,63}")


def _refuse_id(text: str) -> str:
    if parse_id(text) is not None:
        raise PydanticCustomError("role_name", "must not look like an id")
    return text


def _check_permission(text: str) -> str:
    if text != EVERYTHING and not is_permission(text):
        raise PydanticCustomError(
            "permission", "must be one of those of GET /permissions, a host's own such as notes:write, or *"
        )
    return text


def _check_own_permission(text: str) -> str:
    if not is_permission(text):
        raise PydanticCustomError("permission", "must be one of those of GET /permissions, or a host's own")
    return text


RoleName = Annotated[
    str,
    MaxLen(MAX_ROLE_NAME_LENGTH),
    Field(
        pattern=f"^{NAME.pattern}$",
        description="Lower-case ASCII: a letter, then letters, digits, `-` and `_`. Unique.",
        examples=["support"],
    ),
    Storable,
    AfterValidator(_refuse_id),
]
Permission = Annotated[
    str,
    MaxLen(MAX_PERMISSION_LENGTH),
    Storable,
    AfterValidator(_check_permission),
    Field(description="One of `GET /permissions`, a host's own such as `notes:write`, or `*` for all there are."),
]
OwnPermission = Annotated[
    str,
    MaxLen(MAX_PERMISSION_LENGTH),
    Storable,
    AfterValidator(_check_own_permission),
    Field(description="One of `GET /permissions`, or a host's own such as `notes:write`."),
]
"""A permission that stands for itself alone: keys carry no `*`."""

Permissions = Annotated[
    set[Permission],
    Field(
        max_length=MAX_PERMISSIONS,
        description="What it allows: no more than you may yourself.",
        examples=[["users:read", "users:write"]],
    ),
]
Description = Annotated[
    str, MaxLen(MAX_DESCRIPTION_LENGTH), Storable, Field(description="For people.", examples=["Helps people out."])
]


class RoleCreate(BaseModel):
    """A new role."""

    model_config = ConfigDict(extra="forbid")

    name: RoleName
    description: Description = ""
    permissions: Permissions


class RoleUpdate(BaseModel):
    """Changes: a field that is named is set, a field that is not named stays."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"permissions": ["users:read", "audit:read"]}]}
    )

    # `null` is refused for each. The defaults mean "not named", so they are kept out of the document.
    name: Annotated[RoleName, Field(json_schema_extra=lambda schema: schema.pop("default"))] = "-"
    description: Annotated[Description, Field(json_schema_extra=lambda schema: schema.pop("default"))] = ""
    permissions: Annotated[Permissions, Field(json_schema_extra=lambda schema: schema.pop("default"))] = set()


class RoleSet(BaseModel):
    """The roles that somebody is to have, all of them."""

    model_config = ConfigDict(extra="forbid")

    roles: Annotated[
        set[RoleName], Field(max_length=MAX_ROLES, description="Their names.", examples=[["support", "auditor"]])
    ]


class RoleRead(BaseModel):
    """A role as the API shows it."""

    id: UUID
    name: str
    description: str
    permissions: list[str]
    is_built_in: Annotated[bool, Field(description="Whether it can be neither changed nor deleted.")]
    created_at: datetime
    updated_at: datetime


READ_FIELDS = tuple(RoleRead.model_fields)


def dump_role(row: tuple[Any, ...]) -> bytes:
    """Write one row of `READ_FIELDS` as `RoleRead` would, without making one."""
    return to_json(dict(zip(READ_FIELDS, row, strict=True)))


def dump_roles(rows: list[tuple[Any, ...]]) -> bytes:
    """Write many rows as a JSON array of `RoleRead`."""
    return to_json([dict(zip(READ_FIELDS, row, strict=True)) for row in rows])


class PermissionRead(BaseModel):
    """A permission that Denizen itself asks for."""

    name: Annotated[str, Field(examples=["users:read"])]
    meaning: Annotated[str, Field(examples=["see every account"])]


KNOWN = [PermissionRead(name=scope.value, meaning=meaning) for scope, meaning in SCOPES.items()]
