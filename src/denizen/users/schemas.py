"""What goes in and comes out over HTTP. No schema that goes out has a field for a password or its hash."""

from datetime import datetime
from typing import Annotated, Any, Final, Never
from uuid import UUID

from annotated_types import MaxLen
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import PydanticCustomError, to_json

from denizen.core.bounds import MAX_REASON_LENGTH
from denizen.core.identifiers import MAX_EMAIL_LENGTH, MAX_EXTERNAL_ID_LENGTH, MAX_FULL_NAME_LENGTH, MAX_USERNAME_LENGTH
from denizen.core.profile_documents import LATER, TOLD
from denizen.core.text import Instant, Storable
from denizen.reach.schemas import ReachedTable

# How long names and passwords may be is for `core` to judge, which counts after normalising and tells the limit that
# holds; here it is documented.
Username = Annotated[
    str,
    Storable,
    Field(
        description="Unique without regard to case and look-alikes; its length is counted after normalising (NFC).",
        examples=["ada"],
        json_schema_extra={"minLength": 1, "maxLength": MAX_USERNAME_LENGTH},
    ),
]
Email = Annotated[
    str,
    Storable,
    Field(
        description="Unique without regard to case.",
        examples=["ada@example.org"],
        json_schema_extra={"format": "email", "maxLength": MAX_EMAIL_LENGTH},
    ),
]
FullName = Annotated[str, MaxLen(MAX_FULL_NAME_LENGTH), Storable, Field(examples=["Ada Lovelace"])]
ExternalId = Annotated[
    str,
    Field(
        min_length=1, description="What another system calls this person; unique where present.", examples=["crm-1815"]
    ),
    MaxLen(MAX_EXTERNAL_ID_LENGTH),
    Storable,
]
Password = Annotated[
    str,
    Storable,
    Field(
        description="At least 8 characters; common passwords and one's own name are refused. Stored as argon2id.",
        examples=["correct horse battery"],
        json_schema_extra={"format": "password", "maxLength": 1024},
    ),
]


_Object = dict[str, Any]
NewProfile = Annotated[_Object, Field(description=TOLD["Create"])]
LaterProfile = Annotated[_Object, Field(description=LATER)]
ChangedProfile = Annotated[_Object, Field(description=TOLD["Update"])]
StoredProfile = Annotated[_Object, Field(description=TOLD["Read"])]
"""Values by name, which `core.profiles` judges; in the document of an install with a profile stands its schema."""


class UserBase(BaseModel):
    """What people say about themselves. A field that is none of these is refused, so that nobody sets what is not his
    to set.
    """

    model_config = ConfigDict(extra="forbid")

    username: Username
    email: Email
    full_name: FullName | None = None


class UserCreate(UserBase):
    """A new account."""

    password: Password
    is_active: Annotated[bool, Field(description="Takes effect only with the scope `users:write`.")] = True
    external_id: Annotated[ExternalId | None, Field(description="Needs the scope `users:write`.")] = None
    profile: NewProfile = {}


FLOWS: Final = {
    "email": "your own address changes by POST /auth/change-email, once the new one is confirmed",
    "password": "nobody but its owner chooses a password: POST /auth/change-password, or POST /auth/forgot-password",
}
"""What is changed elsewhere, and where."""


def _elsewhere(name: str) -> BeforeValidator:
    """Refuse a field as any that is none of an account's, but say where it is changed."""

    def refuse(_: object) -> Never:
        raise PydanticCustomError("extra_forbidden", "{flow}", {"flow": FLOWS[name]})

    return BeforeValidator(refuse)


class SignUpAsked(BaseModel):
    """What a stranger is told who has to prove his address first: the same, whether it is known here or not."""

    detail: Annotated[str, Field(examples=["Look into your mail: a letter to this address says how to go on."])]


SIGN_UP_ASKED: Final = to_json({"detail": "Look into your mail: a letter to this address says how to go on."})


class UserUpdate(BaseModel):
    """Changes: a field that is named is set (`null` empties it), a field that is not named stays."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"full_name": "Augusta Ada King"}]})

    username: Username | None = None
    email: Email | None = None
    full_name: FullName | None = None
    external_id: ExternalId | None = None
    profile: ChangedProfile = {}
    # `null` is refused: an account is active or not. The default means "not named", so it is kept out of the document.
    is_active: Annotated[bool, Field(json_schema_extra=lambda schema: schema.pop("default"))] = True
    password: SkipJsonSchema[Annotated[None, _elsewhere("password")]] = None


class OwnUpdate(BaseModel):
    """What people change of their own account: a field that is named is set (`null` empties it), others stay."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"full_name": "Augusta Ada King"}]})

    username: Username | None = None
    full_name: FullName | None = None
    profile: ChangedProfile = {}
    email: SkipJsonSchema[Annotated[None, _elsewhere("email")]] = None
    password: SkipJsonSchema[Annotated[None, _elsewhere("password")]] = None


class Suspension(BaseModel):
    """Why, and for how long."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"reason": "Chargeback under review"}]})

    reason: Annotated[
        str | None,
        MaxLen(MAX_REASON_LENGTH),
        Storable,
        Field(description="For administrators; it is never shown to him."),
    ] = None
    until: Annotated[
        Instant | None, Field(description="When it ends by itself; without it, when somebody ends it.")
    ] = None


class UserRead(BaseModel):
    """An account as the API shows it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "019a5c1e-7f00-7a11-8b22-3c33d44e55f6",
                    "username": "ada",
                    "email": "ada@example.org",
                    "full_name": "Ada Lovelace",
                    "external_id": None,
                    "is_active": True,
                    "email_verified_at": "2026-11-22T09:31:07.654321Z",
                    "profile": {},
                    "suspended_at": None,
                    "suspended_until": None,
                    "created_at": "2026-11-22T09:30:00.123456Z",
                    "updated_at": "2026-11-22T09:30:00.123456Z",
                    "version": 1,
                }
            ]
        }
    )

    id: UUID
    username: str | None
    email: str | None
    full_name: str | None
    external_id: str | None
    is_active: bool
    email_verified_at: Annotated[
        datetime | None, Field(description="When its owner proved to read mail at `email`; `null` for not yet.")
    ]
    profile: StoredProfile
    suspended_at: Annotated[datetime | None, Field(description="When it was suspended; `null` for not.")]
    suspended_until: Annotated[
        datetime | None, Field(description="When that ends, or ended, by itself; `null` for when somebody ends it.")
    ]
    created_at: datetime
    updated_at: datetime
    version: Annotated[int, Field(description="Counts the changes; the `ETag` of the account.")]


class Deletion(BaseModel):
    """What deleting an account would do."""

    erased_at: Annotated[datetime, Field(description="When it would be erased: the answer's own time for at once.")]
    refused: Annotated[bool, Field(description="Whether it would be a 409 `user_in_use`.")]
    tables: Annotated[
        list[ReachedTable],
        Field(description="What the database would do at the erasure, by its foreign keys; the account itself first."),
    ]


READ_FIELDS = tuple(UserRead.model_fields)


def dump_user(row: tuple[Any, ...]) -> bytes:
    """Write one row of `READ_FIELDS` as `UserRead` would, without making one: a fifth of the time."""
    return to_json(dict(zip(READ_FIELDS, row, strict=True)))


def dump_users(rows: list[tuple[Any, ...]]) -> bytes:
    """Write many rows as a JSON array of `UserRead`."""
    return to_json([dict(zip(READ_FIELDS, row, strict=True)) for row in rows])
