"""Secrets that programs and browsers carry: made of 256 random bits, known to us by their digest alone."""

from __future__ import annotations

import base64
import re
import secrets
from hashlib import sha256
from typing import Final, Literal, TypeAlias

Prefix: TypeAlias = Literal[
    "dzk_", "dzs_", "dzr_", "dzv_", "dzp_", "dze_", "dzu_", "dzm_", "dzc_", "dzn_", "dzi_", "dza_"
]
"""What a token is for. It is part of what is digested, so that no token serves two ends.

API key, session, refresh; proof of an address (v), new password (p), confirmation of a new address (e) and its undoing
(u), magic link (m), ticket of a code (c), sign-up to be proved (n), invitation (i), first administrator (a).
"""

TOKEN_LENGTH: Final = 47
DIGEST_LENGTH: Final = 32
_RANDOM_BYTES: Final = 32

# 43 characters of base64url carry 258 bits: the last one has two bits to spare, which are 0 in what we make.
_BODY: Final = re.compile(r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]")


def new_token(prefix: Prefix) -> str:
    """Make a token: `prefix` and 32 random bytes in base64url, 47 characters of ASCII."""
    return prefix + secrets.token_urlsafe(_RANDOM_BYTES)


def make_token(prefix: Prefix, body: bytes) -> str:
    """Make a token of 32 bytes that nobody else can guess, where it has to be made again from what made them."""
    return prefix + base64.urlsafe_b64encode(body).rstrip(b"=").decode()


def digest(token: str) -> bytes:
    """Return the SHA-256 of the whole token, prefix included: what is stored and looked up, 32 bytes.

    A plain hash is enough: 256 random bits leave nothing to guess, so that salt and stretching would add nothing.
    """
    return sha256(token.encode("utf-8", "surrogatepass")).digest()


def looks_like(token: str, prefix: Prefix) -> bool:
    """Tell whether `token` has the form of one made for `prefix`. It says nothing about whether it was ever made."""
    return len(token) == TOKEN_LENGTH and token.startswith(prefix) and _BODY.fullmatch(token, 4) is not None
