"""What goes in and comes out over HTTP. The token of a sign-in comes out once, when it is made."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from annotated_types import MaxLen, MinLen
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_json

from denizen.core.text import Storable

MAX_LOGIN_LENGTH = 512
MAX_PASSWORD_LENGTH = 4096

_Ignored = Annotated[
    str | None, MaxLen(MAX_PASSWORD_LENGTH), Field(description="Of OAuth 2.0; it changes nothing here.")
]
GivenPassword = Annotated[
    str,
    MaxLen(MAX_PASSWORD_LENGTH),
    Storable,
    Field(examples=["correct horse battery"], json_schema_extra={"format": "password"}),
]


class SignInCreate(BaseModel):
    """A name and its password: as JSON, or as the form of OAuth 2.0 (RFC 6749 section 4.3.2)."""

    model_config = ConfigDict(extra="forbid")

    username: Annotated[
        str,
        MinLen(1),
        MaxLen(MAX_LOGIN_LENGTH),
        Storable,
        Field(description="The username or the e-mail address, in any spelling.", examples=["ada@example.org"]),
    ]
    password: GivenPassword
    cookie: Annotated[
        bool, Field(description="Keep the token in a cookie, out of the reach of scripts, instead of answering it.")
    ] = False
    grant_type: Annotated[Literal["password"] | None, Field(description="Of OAuth 2.0.")] = None
    scope: _Ignored = None
    client_id: _Ignored = None
    client_secret: _Ignored = None


class Reauthentication(BaseModel):
    """The password of whoever has signed in."""

    model_config = ConfigDict(extra="forbid")

    password: GivenPassword


class SessionRead(BaseModel):
    """One sign-in as its owner sees it."""

    id: UUID
    method: Annotated[
        str, Field(description="How it was opened: `password`, `impersonation` ...", examples=["password"])
    ]
    device: Annotated[
        str | None, Field(description="What the client called itself.", examples=["Mozilla/5.0 (X11; Linux x86_64)"])
    ]
    address: Annotated[str | None, Field(description="Where it was opened from.", examples=["192.0.2.1"])]
    created_at: datetime
    authenticated_at: Annotated[datetime, Field(description="When its owner last proved who he is.")]
    last_used_at: Annotated[datetime, Field(description="To the minute.")]
    expires_at: Annotated[datetime, Field(description="When it ends at the latest; unused, it ends earlier.")]
    impersonator_id: Annotated[
        UUID | None, Field(description="Who acts in the owner's place; `null` for the owner himself.")
    ]
    current: Annotated[bool, Field(description="Whether this request was made with it.")]


STORED_FIELDS = tuple(name for name in SessionRead.model_fields if name != "current")


class SignInRead(BaseModel):
    """A sign-in that has just been made, or proved anew."""

    access_token: Annotated[
        str | None,
        Field(description="The token, for `Authorization: Bearer`. It is not stored and cannot be shown again."),
    ] = None
    csrf_token: Annotated[
        str | None,
        Field(description="With a cookie: what every request that changes something repeats in `X-CSRF-Token`."),
    ] = None
    token_type: Literal["bearer", "cookie"]
    expires_in: Annotated[int, Field(description="Seconds until it ends at the latest.", examples=[7776000])]
    session: SessionRead


def show_session(row: tuple[Any, ...], *, current: UUID | None) -> dict[str, Any]:
    """Give a row of `STORED_FIELDS` by the names of `SessionRead`."""
    return {**dict(zip(STORED_FIELDS, row, strict=True)), "current": str(row[0]) == str(current)}


def dump_sessions(rows: list[tuple[Any, ...]], *, current: UUID | None) -> bytes:
    """Write rows of `STORED_FIELDS` as a JSON array of `SessionRead`."""
    return to_json([show_session(row, current=current) for row in rows])


def dump_sign_in(row: tuple[Any, ...], *, expires_in: int, **tokens: str) -> bytes:
    """Write a `SignInRead`; a token that is not given is left out."""
    kind = "bearer" if "access_token" in tokens else "cookie"
    session = show_session(row, current=row[0])
    return to_json({**tokens, "token_type": kind, "expires_in": expires_in, "session": session})
