"""Acts on API keys: recognising their bearers, making and revoking them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.accounts import Accounts
from denizen.core.auth import Caller, CredentialsInvalid, ReauthenticationNeeded, Scope, covered, covers
from denizen.core.database import Reader
from denizen.core.events import guard, record
from denizen.core.paging import CursorSigner
from denizen.core.tokens import digest, looks_like, new_token
from denizen.keys import crud
from denizen.keys.errors import KeyBeyondMaker, KeyExpiryInvalid, KeyNotFound, KeysTooMany
from denizen.keys.events import KeyCreated, KeyRevoked
from denizen.keys.models import Key
from denizen.keys.schemas import READ_FIELDS, KeyQuery

HINT_LENGTH = 8
NOTICE_AFTER = timedelta(minutes=1)
MOST_KEYS: Final = 100
"""Keys a person that have not ended. Those of the operator are not limited."""

KEPT_AFTER: Final = timedelta(days=90)
"""How long a key is still to be seen after it ended."""

_LISTING = "keys order=id"
"""What cursors of the list of all keys are bound to."""


async def recognise(accounts: Accounts, token: str, at: datetime) -> Caller | None:
    """Recognise the bearer of an API key, by one statement; `None` for a token of another kind.

    A person's key may do as much of what it was given as its owner may do now.

    Raises:
        CredentialsInvalid: a key that is unknown, expired or revoked, or whose owner is suspended, inactive or deleted;
            which of them is not said.
    """
    if not token.startswith("dzk_"):
        return None
    rows = await crud.find_open_key(accounts.database.read, digest(token), at=at) if looks_like(token, "dzk_") else []
    if not rows:
        raise CredentialsInvalid("This API key is unknown, expired or revoked.")
    key_id, stored, expires_at, last_used_at, user_id, _ = rows[0]
    if last_used_at is None or at - last_used_at >= NOTICE_AFTER:
        accounts.noticed["key"][key_id] = at
    scopes = frozenset(stored)
    if user_id is not None:  # what its owner may do no more, it may not
        scopes = covered(frozenset(each for row in rows for each in row[5] or ()), scopes)
    return Caller("key", key_id, scopes, expires_at, user_id)


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


def whose_keys(caller: Caller) -> UUID | None:
    """Tell whose keys somebody may see: `None` for all of them, with `keys:write`; a person's own without.

    Raises:
        ScopeMissing: a key without `keys:write`.
    """
    if caller.kind == "session" and not caller.may(Scope.KEYS_WRITE):
        return caller.user_id
    caller.must(Scope.KEYS_WRITE)
    return None


async def list_keys(reads: Reader, cursors: CursorSigner, query: KeyQuery, *, user_id: UUID | None) -> Page:
    """Serve a page of the list of keys, in the order of their making, ended ones too.

    Args:
        user_id: whose; `None` for all.

    Raises:
        CursorInvalid: the cursor is not one of this list.
    """
    listing = _LISTING if user_id is None else f"{_LISTING}&user_id={user_id}"
    after = None if query.cursor is None else UUID(cursors.read(listing, query.cursor)[0])
    rows = await crud.list_keys(reads, limit=query.limit + 1, after=after, user_id=user_id)
    more = len(rows) > query.limit
    rows = rows[: query.limit]
    last = str(rows[-1][READ_FIELDS.index("id")]) if more else None
    return Page(rows, None if last is None else cursors.make(listing, [last]))


async def read_key(reads: Reader, key_id: UUID, *, caller: Caller) -> crud.Row:
    """Return the row of a key, for its owner, or for somebody with `keys:write`.

    Raises:
        KeyNotFound: it is not there, or not his to see.
    """
    row = await crud.read_key(reads, key_id)
    shown = dict(zip(READ_FIELDS, row, strict=True))
    if not caller.may(Scope.KEYS_WRITE) and not _is_own(caller, shown["user_id"]) and shown["id"] != caller.id:
        raise _hidden(caller, shown["user_id"])
    return row


def _hidden(caller: Caller, owner_id: UUID | None) -> KeyNotFound:
    """Give what somebody is told of a key that he may not know of; what he lacks, and whose it is, is for the audit."""
    missing = caller.lacks(Scope.KEYS_WRITE)
    missing.user_id = owner_id
    hidden = KeyNotFound("API key not found")
    hidden.__cause__ = missing
    return hidden


def _is_own(caller: Caller, owner_id: UUID | None) -> bool:
    """Whether a key belongs to the person who calls, himself: another key of his, which somebody may have found, sees
    none but itself.
    """
    return caller.kind == "session" and owner_id is not None and caller.is_self(owner_id)


async def issue_key(
    db: AsyncSession,
    *,
    name: str,
    scopes: Iterable[str],
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
        maker: who makes it: a person, whose key it is then, or a key, whose owner's it is; `None` for the operator at
            the command line, who may give anything.
        expires_at: when it ends; `None` for when the key it is made with ends, or never.
        at: now.
        token: that opens it, where it has to be made again later; 256 bits that nobody can guess.

    Returns:
        The stored key, and the token that opens it, which nobody will see again.

    Raises:
        KeyBeyondMaker: it would have a scope that its maker lacks, or outlive it.
        KeyExpiryInvalid: it would have ended already.
        KeysTooMany: the person has as many as anybody may have.
        CredentialsInvalid: its maker has been revoked meanwhile, or its owner deleted.
        ReauthenticationNeeded: the person's address was proved after he last proved who he is.
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
        user_id=maker.user_id if maker is not None else None,
        maker_id=maker.id if maker is not None and maker.kind == "key" else None,
        scopes=sorted(map(str, wanted)),
        created_at=at,
        expires_at=expires_at,
    )
    await crud.create_key(db, key)
    await record(db, KeyCreated(key.id, key.user_id, tuple(key.scopes)))
    return key, token


async def _within_maker(
    db: AsyncSession, maker: Caller, wanted: frozenset[str], expires_at: datetime | None, *, at: datetime
) -> datetime | None:
    """Give the latest expiry that the maker allows; his row is held, so that nobody revokes it before the insert."""
    if maker.user_id is not None:
        await _hold_owner(db, maker.user_id, maker)
        await _make_room(db, maker.user_id, at=at)
    if not covers(maker.scopes, wanted):
        missing = ", ".join(sorted(wanted - maker.scopes))
        lacks = "You do not have" if maker.kind == "session" else "The key you make it with does not have"
        raise KeyBeyondMaker(f"{lacks} {missing}.", field="scopes")
    if maker.kind == "session":
        return expires_at
    made_with = await crud.get_key(db, maker.id, for_update=True)
    if made_with.revoked_at is not None:
        raise CredentialsInvalid("This API key is unknown, expired or revoked.")
    if made_with.expires_at is None:
        return expires_at
    if expires_at is not None and expires_at > made_with.expires_at:
        raise KeyBeyondMaker("It would outlive the key you make it with.", field="expires_at")
    return expires_at or made_with.expires_at


async def _hold_owner(db: AsyncSession, user_id: UUID, maker: Caller) -> None:
    """Let nobody end the owner's keys before the new one is there, and make none where that has happened already: what
    the first proof of an address ends must not come back through a request that had begun before.
    """
    held = await crud.hold_owner(db, user_id)
    if held is None:
        raise CredentialsInvalid("This account is gone.")
    proved_at = held[0]
    if proved_at is not None and maker.authenticated_at is not None and maker.authenticated_at < proved_at:
        raise ReauthenticationNeeded("Your address was proved since you signed in. Prove once more who you are.")


async def _make_room(db: AsyncSession, user_id: UUID, *, at: datetime) -> None:
    """Let nobody fill the table: as many keys a person, and as many that have ended. His account is held."""
    if await crud.count_open_keys(db, user_id, at=at) >= MOST_KEYS:
        raise KeysTooMany(f"Nobody has more than {MOST_KEYS} API keys at a time. Revoke one that is not used any more.")
    await crud.delete_surplus(db, user_id, at=at, most=MOST_KEYS)


async def revoke_keys_of(db: AsyncSession, user_id: UUID, *, at: datetime) -> int:
    """End all keys of a person, those made with them included; give how many that were.

    Args:
        db: a writing session; it is not committed.
        at: now.
    """
    await crud.hold_owner(db, user_id, deleted=True)
    return sum([await _end(db, key_id, at=at) for key_id in await crud.list_open_keys_of(db, user_id)])


async def revoke_key(db: AsyncSession, key_id: UUID, *, by: Caller | None, at: datetime) -> int:
    """End a key, and with it all that were made with it.

    Args:
        db: a writing session; it is not committed.
        key_id: which.
        by: who asks; `None` for the operator. A person may end his own keys, and a key itself. With `keys:write` he and
            it may end others that may do no more, of people who may do no more; but a key never the one it was made
            with: a leaked child must not be able to take the whole tree down.
        at: now.

    Returns:
        How many keys ended; 0 when it had ended before.

    Raises:
        KeyNotFound: there is none, or none that the caller may know of.
        KeyBeyondMaker: it has a scope that the caller lacks, or the caller descends from it.
        BeyondCaller: its owner may do what the caller may not.
    """
    key = await crud.get_key(db, key_id)
    if by is not None and by.id != key_id and not _is_own(by, key.user_id):
        await _check_revocable(db, key, by)
    return await _end(db, key_id, at=at)


async def _check_revocable(db: AsyncSession, key: Key, by: Caller) -> None:
    if not by.may(Scope.KEYS_WRITE):
        raise _hidden(by, key.user_id)
    if key.user_id is not None:
        await guard(db, by, [key.user_id])
    if not covers(by.scopes, frozenset(key.scopes)):
        raise KeyBeyondMaker("That key may do what you may not.")
    if by.id in {each.id for each in await crud.list_descendants(db, key.id)}:
        raise KeyBeyondMaker("Your key was made with that key, or with one made with it.")


async def _end(db: AsyncSession, key_id: UUID, *, at: datetime) -> int:
    ended = 0
    # Whoever makes a key holds the row of its maker. The statement that waited for such a row cannot see the key that
    # was made meanwhile; the next one can, and with all makers revoked and held there come no more.
    while family := await crud.list_descendants(db, key_id):
        await crud.revoke_keys(db, [each.id for each in family], at=at)
        ended += len(family)
    if ended:
        await record(db, KeyRevoked(key_id, ended))
    return ended
