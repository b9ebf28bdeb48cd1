"""What goes in and comes out over HTTP."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from annotated_types import MaxLen
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import from_json, to_json

from denizen.core.bounds import MAX_ROLE_NAME_LENGTH
from denizen.core.text import Instant, LeftEmpty, Storable
from denizen.users.schemas import Email, FullName, LaterProfile, Password, Username

MAX_LIMIT = 1000
MAX_ROLES = 50

Token = Annotated[
    str,
    MaxLen(64),
    Storable,
    Field(
        description="Of the link, what stands behind `token=`.",
        examples=["dzi_mJ4xq0Zr8Tn3Wc6Yb1Hd5Gf0SaJekX7v2Qm9Lp4Zr8U"],
    ),
]
RoleName = Annotated[str, MaxLen(MAX_ROLE_NAME_LENGTH), Storable]


class InvitationCreate(BaseModel):
    """Whom to ask in."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"email": "grace@example.org", "roles": ["support"]}]}
    )

    email: Annotated[
        Email | None, Field(description="Where to send it; without one the answer has the link, to be handed over.")
    ] = None
    roles: Annotated[
        list[RoleName],
        Field(max_length=MAX_ROLES, description="Names of roles that accepting it gives: no more than you may."),
    ] = []
    expires_at: Annotated[
        Instant | None, Field(description="When it ends; `DENIZEN_INVITATION_LIFETIME` from now by default.")
    ] = None


class InvitationQuery(BaseModel):
    """Which invitations. A parameter that is none of these is refused."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT, description="How many, at most 1000.")] = 10
    cursor: Annotated[
        str | None, MaxLen(2048), Storable, Field(description="Where the last page ended: its `X-Next-Cursor`.")
    ] = None


class InvitationRead(BaseModel):
    """An invitation as the API shows it."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    email: Annotated[str | None, Field(description="Where it was sent; `null` for one that is handed over.")]
    roles: list[str]
    inviter_id: Annotated[UUID | None, Field(description="Who asked; `null` for the operator.")]
    created_at: datetime
    expires_at: datetime
    accepted_at: datetime | None
    user_id: Annotated[UUID | None, Field(description="The account that came of it.")]
    revoked_at: datetime | None


READ_FIELDS = tuple(InvitationRead.model_fields)


def dump_invitation(row: tuple[Any, ...]) -> bytes:
    """Write one row of `READ_FIELDS`."""
    return to_json(dict(zip(READ_FIELDS, row, strict=True)))


def dump_invitations(rows: list[tuple[Any, ...]]) -> bytes:
    """Write many rows as a JSON array."""
    return to_json([dict(zip(READ_FIELDS, row, strict=True)) for row in rows])


def add_link(invitation: bytes, link: str | None) -> bytes:
    """Write the invitation that `dump_invitation` wrote as `InvitationMade`."""
    return to_json(from_json(invitation) | {"link": link})


class InvitationMade(InvitationRead):
    """An invitation that has just been made."""

    link: Annotated[
        str | None,
        Field(description="To be handed over: it is not stored and cannot be shown again. `null` where it is mailed."),
    ]


class InvitationAccept(BaseModel):
    """A new account for somebody who was asked in."""

    model_config = ConfigDict(extra="forbid")

    token: Token
    username: Username
    full_name: Annotated[FullName | None, LeftEmpty] = None
    password: Password
    email: Annotated[Email | None, LeftEmpty, Field(description="Only where the invitation names no address.")] = None
    profile: LaterProfile = {}
    cookie: Annotated[bool, Field(description="Sign in by cookie: for browsers.")] = False
