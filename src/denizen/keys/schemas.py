"""What goes in and comes out over HTTP. The key itself comes out once, when it is made."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from annotated_types import MaxLen, MinLen
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import from_json, to_json

from denizen.core.bounds import MAX_KEY_NAME_LENGTH
from denizen.core.text import Instant, Storable
from denizen.roles.schemas import MAX_PERMISSIONS, OwnPermission

MAX_LIMIT = 1000


class KeyCreate(BaseModel):
    """A new key."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[
        str,
        MinLen(1),
        MaxLen(MAX_KEY_NAME_LENGTH),
        Storable,
        Field(description="What it is for.", examples=["nightly import"]),
    ]
    scopes: Annotated[
        set[OwnPermission],
        Field(
            min_length=1,
            max_length=MAX_PERMISSIONS,
            description="What its holder may do: no more than you may.",
            examples=[["users:read"]],
        ),
    ]
    expires_at: Annotated[
        Instant | None,
        Field(description="When it ends; not after the key it is made with, which is also the default. Else never."),
    ] = None


class KeyQuery(BaseModel):
    """Which keys. A parameter that is none of these is refused."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT, description="How many, at most 1000.")] = 10
    cursor: Annotated[
        str | None, MaxLen(2048), Storable, Field(description="Where the last page ended: its `X-Next-Cursor`.")
    ] = None


class KeyRead(BaseModel):
    """A key as the API shows it."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    name: str
    hint: Annotated[str, Field(description="The first characters of the key.", examples=["dzk_mJ4x"])]
    scopes: list[str]
    user_id: Annotated[UUID | None, Field(description="Whose it is, with whom it goes; `null` for the operator's.")]
    maker_id: Annotated[UUID | None, Field(description="The key it was made with, if one was.")]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: Annotated[datetime | None, Field(description="To the minute.")]
    revoked_at: datetime | None


READ_FIELDS = tuple(KeyRead.model_fields)


def dump_key(row: tuple[Any, ...]) -> bytes:
    """Write one row of `READ_FIELDS` as `KeyRead` would, without making one."""
    return to_json(dict(zip(READ_FIELDS, row, strict=True)))


def dump_keys(rows: list[tuple[Any, ...]]) -> bytes:
    """Write many rows as a JSON array of `KeyRead`."""
    return to_json([dict(zip(READ_FIELDS, row, strict=True)) for row in rows])


def add_token(key: bytes, token: str) -> bytes:
    """Write the key that `dump_key` wrote as `KeyCreated`."""
    return to_json(from_json(key) | {"token": token})


class KeyCreated(KeyRead):
    """A key that has just been made."""

    token: Annotated[str, Field(description="The key itself. It is not stored and cannot be shown again.")]
