"""Access tokens for other services: given to whoever has signed in, renewed by refresh tokens, explained on request.

A refresh token is 32 bytes: 12 that its whole family has in common, and 20 of its own. The first of a family is random;
each next one is derived from the one before, under the secret of the install (ADR 0026). So whoever asks twice at once
gets the same one twice, and of what has been spent only the last minute needs to be stored.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.accounts import Accounts
from denizen.core.auth import EVERYTHING, Caller, CredentialsInvalid
from denizen.core.events import record
from denizen.core.tokens import digest, looks_like, make_token, new_token
from denizen.refresh import crud
from denizen.refresh.crud import Held
from denizen.refresh.errors import RefreshFailed
from denizen.refresh.events import RefreshIssued, RefreshReused
from denizen.refresh.models import RefreshToken
from denizen.sessions.service import NOTICE_AFTER, idle_since_of
from denizen.sessions.states import end_session
from denizen.signing import service as signing

REPEATED: Final = timedelta(seconds=10)
"""For how long a spent token is answered with its successor: honest clients race, and lose answers."""
MOST_FAMILIES: Final = 20
"""Refresh tokens of one sign-in that can be exchanged; one more ends the one that was not for longest."""
_KEPT: Final = timedelta(minutes=1)
"""For how long a spent token is stored: longer than `REPEATED`, since the clocks of processes differ."""
_FAMILY_LENGTH: Final = 20
"""Characters of a token that its family has in common: `dzr_`, and 12 bytes in base64url."""
_OWN_BYTES: Final = 20
_AMR: Final[dict[str, list[str]]] = {
    "password": ["pwd"],
    "code": ["otp"],
    "magic_link": ["otp"],
    "invitation": ["otp"],
    "first_admin": ["otp"],
}
"""What RFC 8176 calls the ways in. A link opens once and is sent to its owner alone, as a code is: it has no other name
there. Of a way that is a host's own nothing is said."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a client is given.

    Attributes:
        access_token: a JWT for other services.
        expires_in: seconds.
        refresh_token: what renews it; `None` for who acts in somebody else's place.
        refresh_expires_in: seconds after which that renews nothing, unless it is used before.
    """

    access_token: str = field(repr=False)
    expires_in: int
    refresh_token: str | None = field(default=None, repr=False)
    refresh_expires_in: int | None = None


async def issue_tokens(accounts: Accounts, caller: Caller, *, at: datetime) -> Tokens:
    """Give an access token and the first refresh token of a new family to whoever has signed in.

    Who acts in somebody else's place gets the access token alone.

    Args:
        accounts: where. The transaction is one of its own.
        caller: a session.
        at: now.

    Raises:
        CredentialsInvalid: the session has ended meanwhile.
        Unreadable: the signing key was sealed under another secret.
    """
    assert caller.user_id is not None  # noqa: S101  (a session is somebody's)
    signer = await signing.current_key(accounts, at=at)
    access = signing.sign_access_token(
        accounts,
        signer,
        user_id=caller.user_id,
        session_id=caller.id,
        permissions=caller.scopes,
        at=at,
        ends_at=caller.expires_at,
        further=_proof_of(caller),
    )
    if caller.impersonator_id is not None:
        return Tokens(access.token, access.expires_in)
    token = new_token("dzr_")
    async with accounts.writing() as db:
        held = await crud.hold_session(
            db, caller.id, user_id=caller.user_id, at=at, idle_since=idle_since_of(accounts, at)
        )
        if held is None:
            raise CredentialsInvalid("This sign-in has ended.")
        await _store(db, token, held, at=at)
        await crud.delete_surplus(db, held.session_id, most=MOST_FAMILIES)
        await record(db, RefreshIssued(held.user_id, held.session_id))
    return Tokens(access.token, access.expires_in, token, _lasts(accounts, held, at))


async def refresh_tokens(accounts: Accounts, token: str, *, at: datetime) -> Tokens:
    """Exchange a refresh token for the next one, and a new access token.

    Within `REPEATED` of its spending a token is exchanged again, for the same. After that it is in two hands, and its
    sign-in is ended, in the transaction that finds out: what raises here is raised after its commit.

    Args:
        accounts: where. The transaction is one of its own.
        token: the refresh token.
        at: now.

    Raises:
        RefreshFailed: it is unknown or spent, or its sign-in is over; which of them is not said.
        Unreadable: the signing key was sealed under another secret; the token is not spent.
    """
    family = digest(token[:_FAMILY_LENGTH])
    found = await crud.find_family(accounts.database.read, family) if looks_like(token, "dzr_") else None
    if found is None:  # found out without the write lock, which strangers should not be able to ask for
        raise _failed()
    signer = await signing.current_key(accounts, at=at)
    async with accounts.writing() as db:
        session_id, user_id = found
        held = await crud.hold_session(db, session_id, user_id=user_id, at=at, idle_since=idle_since_of(accounts, at))
        following = None if held is None else await _exchange(accounts, db, token, held, at=at)
    if held is None or following is None:
        raise _failed()
    access = signing.sign_access_token(
        accounts,
        signer,
        user_id=held.user_id,
        session_id=held.session_id,
        permissions=held.permissions,
        at=at,
        ends_at=held.expires_at,
        further=_proof(held.authenticated_at, held.method),
    )
    return Tokens(access.token, access.expires_in, following, _lasts(accounts, held, at))


def _proof_of(caller: Caller) -> dict[str, Any]:
    """Give the claims about how a session was opened. Where somebody acts in its owner's place it says who (`act` of
    RFC 8693), and nothing of when and how the owner signed in: he did not.
    """
    if caller.impersonator_id is not None:
        return {"act": {"sub": str(caller.impersonator_id)}}
    return _proof(caller.authenticated_at, caller.method)


def _proof(authenticated_at: datetime | None, method: str | None) -> dict[str, Any]:
    """Give when somebody last proved who he is, and the way by which he signed in."""
    told: dict[str, Any] = {}
    if authenticated_at is not None:  # a host's own authenticator may not know it
        told["auth_time"] = int(authenticated_at.timestamp())
    if method in _AMR:
        told["amr"] = _AMR[method]
    return told


def _failed() -> RefreshFailed:
    return RefreshFailed("This refresh token is unknown or has been used, or its sign-in has ended.")


async def _exchange(accounts: Accounts, db: AsyncSession, token: str, held: Held, *, at: datetime) -> str | None:
    """Give the token that follows, or `None`; where the token had been spent, there is no sign-in any more either."""
    family = digest(token[:_FAMILY_LENGTH])
    if await crud.spend_token(db, digest(token), session_id=held.session_id, at=at):
        following = _successor(accounts, token)
        await _store(db, following, held, at=at)
        await crud.delete_spent(db, family, before=at - _KEPT)
        if at - held.last_used_at >= NOTICE_AFTER:
            await crud.note_use(db, held.session_id, at=at)
        return following
    kept = await crud.list_family(db, family)
    if not kept:
        return None  # one family too many, and forgotten a moment ago
    spent_at = kept.get(digest(token))
    if spent_at is not None and at - spent_at <= REPEATED:
        return _newest(accounts, token, kept)
    await record(db, RefreshReused(held.user_id, held.session_id))
    await end_session(db, held.user_id, held.session_id, reason="refresh token used twice")
    return None


def _newest(accounts: Accounts, token: str, kept: dict[bytes, datetime | None]) -> str:
    """Give the token at the end of the chain that begins with a spent one.

    That is its successor, unless that was spent meanwhile, which can only have been after this one was, and so no
    longer ago: to hand out a spent one would lead an honest client into being taken for a thief a minute later.
    """
    following = _successor(accounts, token)
    while kept.get(digest(following)) is not None:
        following = _successor(accounts, following)
    return following


def _successor(accounts: Accounts, token: str) -> str:
    """Derive the token that `token` is exchanged for: nobody else can, and it need not be stored."""
    own = accounts.secret.digest("refresh token 1", token.encode())[:_OWN_BYTES]
    return make_token("dzr_", base64.urlsafe_b64decode(token[4:_FAMILY_LENGTH]) + own)


async def _store(db: AsyncSession, token: str, held: Held, *, at: datetime) -> None:
    made = RefreshToken(
        token_digest=digest(token),
        family_digest=digest(token[:_FAMILY_LENGTH]),
        session_id=held.session_id,
        issued_at=at,
    )
    await crud.create_token(db, made)


def _lasts(accounts: Accounts, held: Held, at: datetime) -> int:
    idle = timedelta(seconds=accounts.settings.session_idle_timeout)
    return int(min(held.expires_at - at, idle).total_seconds())


# ------------------------------------------------------------------------------------------------------- introspection


INACTIVE: Final[dict[str, Any]] = {"active": False}


async def introspect_token(accounts: Accounts, token: str, *, at: datetime) -> dict[str, Any]:
    """Tell what a token is good for (RFC 7662): of a session, an API key, or an access token whose session goes on.

    Whatever opens nothing, or opens nothing but a place of its own, is not active, and no more is said: a refresh
    token or a link is nothing that a service may let somebody in by.
    """
    if signing.looks_like_jwt(token):
        return await _introspect_access(accounts, token, at=at)
    try:
        caller = await accounts.recognise(f"Bearer {token}", at)
    except CredentialsInvalid:
        caller = None
    return INACTIVE if caller is None else _described(accounts, caller)


async def _introspect_access(accounts: Accounts, token: str, *, at: datetime) -> dict[str, Any]:
    claims = await signing.read_access_token(accounts, token, at=at)
    if claims is None:
        return INACTIVE
    idle_since = idle_since_of(accounts, at)
    held = await crud.find_session(accounts.database.read, UUID(claims["sid"]), at=at, idle_since=idle_since)
    if held is None:
        return INACTIVE
    still = [each for each in claims["scope"].split() if each in held.permissions or EVERYTHING in held.permissions]
    return {"active": True, "kind": "access_token", "token_type": "Bearer", **claims, "scope": " ".join(still)}


def _described(accounts: Accounts, caller: Caller) -> dict[str, Any]:
    told: dict[str, Any] = {
        "active": True,
        "kind": caller.kind,
        "token_type": "Bearer",
        "iss": signing.issuer(accounts),
        "scope": " ".join(sorted(caller.scopes)),
        "client_id": str(caller.id) if caller.kind == "key" else signing.issuer(accounts),
    }
    if caller.expires_at is not None:
        told["exp"] = int(caller.expires_at.timestamp())
    if caller.user_id is not None:
        told["sub"] = str(caller.user_id)
    if caller.kind == "session":
        told["sid"] = str(caller.id)
        told |= _proof_of(caller)
    return told


async def refuse_others(accounts: Accounts, token: str, at: datetime) -> Caller | None:
    """Say what to send instead of a token that is ours and opens nothing here; `None` for any other.

    Raises:
        CredentialsInvalid: an access token or a refresh token.
    """
    if token.startswith("dzr_"):
        raise CredentialsInvalid("A refresh token opens nothing here: exchange it at POST /auth/refresh.")
    if signing.looks_like_jwt(token):
        raise CredentialsInvalid("Access tokens are for other services. Here, send the token of the session.")
    return None
