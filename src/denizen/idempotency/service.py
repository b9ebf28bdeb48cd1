"""Requests that may be sent again: claimed before the work, answered with it (ADR 0018)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.accounts import Accounts
from denizen.core.auth import Caller
from denizen.core.errors import Unavailable
from denizen.core.ids import new_id
from denizen.core.rates import address_key
from denizen.core.tokens import Prefix, make_token
from denizen.idempotency import crud
from denizen.idempotency.errors import IdempotencyKeyInFlight, IdempotencyKeyInvalid, IdempotencyKeyReused

LEASE: Final = timedelta(minutes=1)
"""How long a request may be at it before another may take over: far longer than one takes, or waits for its turn."""

LONG_LEASE: Final = timedelta(minutes=5)
"""The same for one that hashes many passwords and queues behind others of its kind."""

KEPT: Final = timedelta(hours=24)
_TRIES: Final = 3
_KEY: Final = re.compile(r"[\x20-\x7e]{1,255}")


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as it is kept, without secrets."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Sent:
    """A request under an Idempotency-Key, as this install alone can tell it from others.

    Attributes:
        key: as it was sent; it is not stored.
        digest: of the caller, the route and the key.
        body_digest: of the body. It is keyed too: bodies have passwords in them, and a plain hash beside the account
            would be tried out a million times faster than the slow one.
    """

    key: str = field(repr=False)
    digest: bytes
    body_digest: bytes


def read_key(sent: Sequence[str]) -> str | None:
    """Read the key from all values of the header `Idempotency-Key`; `None` where it was not sent.

    Raises:
        IdempotencyKeyInvalid: not 1 to 255 printable characters of ASCII, or sent twice.
    """
    if not sent:
        return None
    if len(sent) > 1 or not _KEY.fullmatch(sent[0]):
        raise IdempotencyKeyInvalid("Send one Idempotency-Key, of 1 to 255 printable characters of ASCII.")
    return sent[0]


def digest_of(accounts: Accounts, caller: Caller | None, address: str | None, *, route: str, key: str) -> bytes:
    """Give what stands for one caller's key at one route, 32 bytes: nobody meets another's keys.

    Args:
        accounts: where.
        caller: who asks; `None` for somebody who signs up, who is then known by his address.
        address: where the request comes from.
        route: method and path as it is documented, `POST /users/`.
        key: as `read_key` gives it.
    """
    who = f"address {address_key(address)}" if caller is None else f"{caller.kind} {caller.id}"
    return accounts.secret.digest("idempotency 1", who.encode(), route.encode(), key.encode())


def sent_by(
    accounts: Accounts, caller: Caller | None, address: str | None, *, route: str, key: str, body: bytes
) -> Sent:
    """Give what stands for a request: see `digest_of`."""
    digest = digest_of(accounts, caller, address, route=route, key=key)
    return Sent(key, digest, accounts.secret.digest("idempotency body 1", digest, body))


async def begin(accounts: Accounts, sent: Sent, claim: UUID, *, lease: timedelta = LEASE) -> tuple[UUID, Answer | None]:
    """Claim the key for the attempt `claim`, in a transaction of its own that others see.

    Args:
        accounts: where.
        sent: the request.
        claim: names this attempt.
        lease: after which another attempt may take over.

    Returns:
        The claim under which the key is held, and the answer where there is one; then that claim is the first one's.

    Raises:
        IdempotencyKeyInFlight: somebody else is at it.
        IdempotencyKeyReused: the key was sent with another body.
    """
    for _ in range(_TRIES):
        at = accounts.clock()
        async with accounts.writing() as db:
            if await crud.claim_key(
                db, sent.digest, body_digest=sent.body_digest, claim=claim, at=at, until=at + lease
            ):
                return claim, None
            kept = await crud.find_kept(db, sent.digest)
        if kept is not None:
            return kept.claim, _answer_of(kept, sent)
        # Whoever held it has let go between the two statements.
    raise _in_flight()


def _answer_of(kept: crud.Kept, sent: Sent) -> Answer:
    if kept.body_digest != sent.body_digest:
        raise IdempotencyKeyReused("This Idempotency-Key was sent before with another body. Take a new key.")
    if kept.status is None:
        raise _in_flight()
    return Answer(kept.status, json.loads(kept.headers or "{}"), kept.body or b"")


def _in_flight() -> IdempotencyKeyInFlight:
    return IdempotencyKeyInFlight(
        "A request with this Idempotency-Key is being worked on. Send it again in a moment.", retry_after=1
    )


async def keep(
    accounts: Accounts, db: AsyncSession, sent: Sent, claim: UUID, answer: Answer, *, user_id: UUID | None
) -> None:
    """Keep the answer for 24 hours, in the transaction of the work: both are there, or neither.

    Args:
        user_id: whom it tells of; it is erased with that account.

    Raises:
        IdempotencyKeyInFlight: another attempt has taken over, so that this one has to be undone.
    """
    if not await crud.keep_answer(
        db,
        sent.digest,
        claim,
        expires_at=accounts.clock() + KEPT,
        status=answer.status,
        headers=json.dumps(dict(answer.headers)),
        body=answer.body,
        user_id=user_id,
    ):
        raise _in_flight()


async def let_go(accounts: Accounts, sent: Sent, claim: UUID) -> None:
    """Free the key of an attempt that came to nothing. Where the database is away, the lease does it."""
    with suppress(Unavailable):
        async with accounts.writing() as db:
            await crud.let_go(db, sent.digest, claim)


def new_claim() -> UUID:
    """Name a new attempt."""
    return new_id()


def derive_token(accounts: Accounts, sent: Sent, claim: UUID, prefix: Prefix) -> str:
    """Make the token of an attempt, which its repetition makes again: so it need not be stored.

    It takes the secret of the install, the key as the client sent it, which is not stored, and the claim, which is new
    once the answer has been forgotten.
    """
    parts = (prefix.encode(), sent.digest, sent.key.encode(), sent.body_digest, claim.bytes)
    return make_token(prefix, accounts.secret.digest("idempotency token 1", *parts))
