"""What goes out: the set of public keys."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field


class PublicKey(BaseModel):
    """The public half of a signing key, a JWK (RFC 7517)."""

    kty: Literal["EC"]
    crv: Literal["P-256"]
    x: Annotated[str, Field(description="Base64url.")]
    y: Annotated[str, Field(description="Base64url.")]
    kid: Annotated[str, Field(description="What `kid` in the header of a token names.")]
    use: Literal["sig"]
    alg: Literal["ES256"]


class PublicKeys(BaseModel):
    """The keys that access tokens may be signed by now, or soon (a JWK set, RFC 7517)."""

    keys: list[PublicKey]
