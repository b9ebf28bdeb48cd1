"""Acts on API keys: recognising their bearers, making and revoking them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.accounts import Accounts
from denizen.core.auth import Caller, CredentialsInvalid, Scope, known_scopes
from denizen.core.database import Reader
from denizen.core.events import record
from denizen.core.paging import CursorSigner
from denizen.core.tokens import digest, looks_like, new_token
from denizen.keys import crud
from denizen.keys.errors import KeyBeyondMaker, KeyExpiryInvalid
from denizen.keys.events import KeyCreated, KeyRevoked
from denizen.keys.models import Key
from denizen.keys.schemas import READ_FIELDS, KeyQuery

HINT_LENGTH = 8
NOTICE_AFTER = timedelta(minutes=1)
_LISTING = "keys order=id"
"""What cursors of this list are bound to; there is one list of keys."""


async def recognise(accounts: Accounts, token: str, at: datetime) -> Caller | None:
    """Recognise the bearer of an API key, by one statement; `None` for a token of another kind.

    Raises:
        CredentialsInvalid: a key that is unknown, expired or revoked; which of them is not said.
    """
    if not token.startswith("dzk_"):
        return None
    found = (
        await crud.find_open_key(accounts.database.read, digest(token), at=at) if looks_like(token, "dzk_") else None
    )
    if found is None:
        raise CredentialsInvalid("This API key is unknown, expired or revoked.")
    key_id, scopes, expires_at, last_used_at = found
    if last_used_at is None or at - last_used_at >= NOTICE_AFTER:
        accounts.noticed["key"][key_id] = at
    return Caller("key", key_id, known_scopes(scopes), expires_at)


async def write_last_uses(accounts: Accounts) -> None:
    """Store the last uses that requests noticed, off their way: a read is no write."""
    await accounts.write_noticed("key", crud.note_last_uses)


@dataclass(frozen=True, slots=True)
class Page:
    """A part of the list of keys.

    Attributes:
        rows: in the order of `READ_FIELDS`.
        next_cursor: where it goes on; `None` at the end.
    """

    rows: list[crud.Row]
    next_cursor: str | None


async def list_keys(reads: Reader, cursors: CursorSigner, query: KeyQuery) -> Page:
    """Serve a page of the list of keys, in the order of their making, ended ones too.

    Raises:
        CursorInvalid: the cursor is not one of this list.
    """
    after = None if query.cursor is None else UUID(cursors.read(_LISTING, query.cursor)[0])
    rows = await crud.list_keys(reads, limit=query.limit + 1, after=after)
    more = len(rows) > query.limit
    rows = rows[: query.limit]
    last = str(rows[-1][READ_FIELDS.index("id")]) if more else None
    return Page(rows, None if last is None else cursors.make(_LISTING, [last]))


async def issue_key(
    db: AsyncSession,
    *,
    name: str,
    scopes: Iterable[Scope],
    maker: Caller | None,
    expires_at: datetime | None,
    at: datetime,
    token: str | None = None,
) -> tuple[Key, str]:
    """Make a key.

    Args:
        db: a writing session; it is not committed.
        name: for people.
        scopes: what its holder may do.
        maker: whose key makes it; `None` for the operator at the command line, who may give anything.
        expires_at: when it ends; `None` for when its maker ends, or never.
        at: now.
        token: that opens it, where it has to be made again later; 256 bits that nobody can guess.

    Returns:
        The stored key, and the token that opens it, which nobody will see again.

    Raises:
        KeyBeyondMaker: it would have a scope that its maker lacks, or outlive it.
        KeyExpiryInvalid: it would have ended already.
        CredentialsInvalid: its maker has been revoked meanwhile.
    """
    wanted = frozenset(scopes)
    if expires_at is not None and expires_at <= at:
        raise KeyExpiryInvalid("expires_at lies in the past.", field="expires_at")
    if maker is not None:
        expires_at = await _within_maker(db, maker, wanted, expires_at, at=at)
    token = token or new_token("dzk_")
    key = Key(
        name=name,
        hint=token[:HINT_LENGTH],
        token_digest=digest(token),
        maker_id=maker.id if maker is not None else None,
        scopes=sorted(scope.value for scope in wanted),
        created_at=at,
        expires_at=expires_at,
    )
    await crud.create_key(db, key)
    await record(db, KeyCreated(key.id))
    return key, token


async def _within_maker(
    db: AsyncSession, maker: Caller, wanted: frozenset[Scope], expires_at: datetime | None, *, at: datetime
) -> datetime | None:
    """Give the latest expiry that the maker allows; its row is held, so that nobody revokes it before the insert."""
    made_with = await crud.get_key(db, maker.id, for_update=True)
    if made_with.revoked_at is not None:
        raise CredentialsInvalid("This API key is unknown, expired or revoked.")
    missing = sorted(scope.value for scope in wanted - known_scopes(made_with.scopes))
    if missing:
        raise KeyBeyondMaker(f"The key you make it with does not have {', '.join(missing)}.", field="scopes")
    if made_with.expires_at is None:
        return expires_at
    if expires_at is not None and expires_at > made_with.expires_at:
        raise KeyBeyondMaker("It would outlive the key you make it with.", field="expires_at")
    return expires_at or made_with.expires_at


async def revoke_keys_of(db: AsyncSession, user_id: UUID, *, at: datetime) -> None:
    """End all keys of one person, and all that were made with them; whether he may is for the caller of this to know.

    Args:
        db: a writing session; it is not committed.
        user_id: whose.
        at: now.
    """
    for key_id in await crud.list_open_keys_of(db, user_id):
        await revoke_key(db, key_id, by=None, at=at)


async def revoke_key(db: AsyncSession, key_id: UUID, *, by: Caller | None, at: datetime) -> int:
    """End a key, and with it all that were made with it.

    Args:
        db: a writing session; it is not committed.
        key_id: which.
        by: who asks; `None` for the operator. A key may end itself, and others that have no scope it lacks, but never
            the key it was made with: a leaked child must not be able to take the whole tree down.
        at: now.

    Returns:
        How many keys ended; 0 when it had ended before.

    Raises:
        KeyNotFound: there is none.
        KeyBeyondMaker: it has a scope that the caller lacks, or the caller descends from it.
    """
    key = await crud.get_key(db, key_id)
    if by is not None and by.id != key_id:
        if not known_scopes(key.scopes) <= by.scopes:
            raise KeyBeyondMaker("That key has scopes that yours lacks.")
        if by.id in {each.id for each in await crud.list_descendants(db, key_id)}:
            raise KeyBeyondMaker("Your key was made with that key, or with one made with it.")
    ended = 0
    # Whoever makes a key holds the row of its maker. The statement that waited for such a row cannot see the key that
    # was made meanwhile; the next one can, and with all makers revoked and held there come no more.
    while family := await crud.list_descendants(db, key_id):
        await crud.revoke_keys(db, [each.id for each in family], at=at)
        ended += len(family)
    if ended:
        await record(db, KeyRevoked(key_id, ended))
    return ended
