"""What goes in and comes out over HTTP."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from annotated_types import MaxLen
from pydantic import BaseModel, ConfigDict, Field

_EXAMPLE = "dzr_mJ4xPq0V7dY2tB9cKf3wLh8sRn5uGe1ZaXo6iTyCvWg"


_Ignored = Annotated[str | None, MaxLen(4096), Field(description="Of OAuth 2.0; it changes nothing here.")]


class RefreshRequest(BaseModel):
    """A refresh token to exchange: as JSON, or as the form of RFC 6749."""

    model_config = ConfigDict(extra="forbid")

    refresh_token: Annotated[str, Field(description="What you were given last.", examples=[_EXAMPLE])]
    grant_type: Annotated[Literal["refresh_token"] | None, Field(description="Of OAuth 2.0.")] = None
    client_id: _Ignored = None
    client_secret: _Ignored = None


class TokensRead(BaseModel):
    """Tokens that have just been made. They are not stored and cannot be shown again."""

    model_config = ConfigDict(from_attributes=True)

    access_token: Annotated[str, Field(description="A JWT (RFC 9068) for other services.")]
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105  (a kind, and no password)
    expires_in: Annotated[int, Field(description="Seconds that the access token is valid.")]
    refresh_token: Annotated[
        str | None, Field(description="What to exchange for new ones; `null` while impersonating.")
    ]
    refresh_expires_in: Annotated[
        int | None, Field(description="Seconds after which it cannot be exchanged any more, if it is not used.")
    ]


class IntrospectRequest(BaseModel):
    """A token to ask about: as JSON, or as the form of RFC 7662."""

    model_config = ConfigDict(extra="forbid")

    token: Annotated[str, Field(description="Of a session, an API key, or an access token.", examples=["dzs_..."])]
    token_type_hint: _Ignored = None


class IntrospectRead(BaseModel):
    """What a token is good for (RFC 7662). Of one that is not active nothing else is said."""

    active: Annotated[bool, Field(description="Whether it opens anything at this moment.")]
    kind: Annotated[Literal["session", "key", "access_token"] | None, Field(description="What it is.")] = None
    token_type: Literal["Bearer"] | None = None
    scope: Annotated[str | None, Field(description="What its holder may do, separated by spaces.")] = None
    sub: Annotated[str | None, Field(description="The account; absent for an operator's key.")] = None
    client_id: Annotated[str | None, Field(description="The id of an API key; else the issuer.")] = None
    sid: Annotated[str | None, Field(description="The sign-in.")] = None
    act: Annotated[dict[str, Any] | None, Field(description="Who acts in the person's place (RFC 8693).")] = None
    auth_time: Annotated[
        int | None, Field(description="When the person last proved who he is, in seconds since 1970.")
    ] = None
    amr: Annotated[list[str] | None, Field(description="How the sign-in was opened (RFC 8176).")] = None
    iss: Annotated[str | None, Field(description="Who issued it.")] = None
    aud: Annotated[str | list[str] | None, Field(description="Who an access token is for.")] = None
    iat: Annotated[int | None, Field(description="When it was issued, in seconds since 1970.")] = None
    exp: Annotated[int | None, Field(description="When it ends at the latest.")] = None
    jti: Annotated[str | None, Field(description="The id of an access token.")] = None
