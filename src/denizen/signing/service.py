"""Keys that sign access tokens: one that signs, those that did or will, and the tokens themselves.

The times are such that nobody who caches the set of public keys ever lacks one:

| a key | from | until |
| --- | --- | --- |
| is published | it is made | `KEPT` after it has ceased to sign |
| signs | `ANNOUNCED` after it is made | the next one signs |
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from denizen.core.accounts import MAX_TOKEN_LENGTH, Accounts
from denizen.core.events import record
from denizen.core.ids import new_id
from denizen.signing import crud
from denizen.signing.events import SigningKeyMade
from denizen.signing.models import NOBODY, SigningKey

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

    from denizen.core.database import Reader
    from denizen.core.secret import Secret

ALGORITHM: Final = "ES256"
TOKEN_TYPE: Final = "at+jwt"  # noqa: S105  (a media type, and no password)
MAX_AGE: Final = timedelta(minutes=5)
"""For how long clients may keep the set of public keys."""
ANNOUNCED: Final = 2 * MAX_AGE
"""How long a key is published before it signs: a shared cache may keep the set for `MAX_AGE`, and a client that knows
nothing of that cache for as long again."""
LONGEST_LIFE: Final = timedelta(hours=1)
"""What `DENIZEN_ACCESS_TOKEN_LIFETIME` can be at most."""
KEPT: Final = LONGEST_LIFE + timedelta(minutes=5)
"""How long a key is published after its last token: until that one is over, by a clock that is five minutes late."""
REFRESHED: Final = timedelta(seconds=10)
"""After which a process looks at the stored keys anew."""
CLOCKS_DIFFER: Final = timedelta(minutes=1)
"""By how much a token may come from the future: another process signed it."""
_ROOM: Final = "signing"
_SEALED: Final = "signing key"
_CLAIMS: Final = ("iss", "sub", "aud", "iat", "exp", "jti", "sid")


@dataclass(frozen=True, slots=True)
class Signer:
    """The key that signs at this moment.

    Attributes:
        key_id: its `kid`.
    """

    key_id: UUID
    _private: EllipticCurvePrivateKey = field(repr=False)

    def sign(self, claims: dict[str, Any]) -> str:
        """Make an access token of `claims`: a JWT with the header of RFC 9068."""
        import jwt

        headers = {"kid": str(self.key_id), "typ": TOKEN_TYPE}
        return jwt.encode(claims, self._private, algorithm=ALGORITHM, headers=headers)


@dataclass(slots=True)
class _Memory:
    """The keys as this process has read them, and those halves of them that it has used."""

    read_at: datetime
    keys: list[crud.Known] = field(repr=False)
    signers: dict[UUID, Signer] = field(default_factory=dict, repr=False)
    public: dict[UUID, Any] = field(default_factory=dict, repr=False)

    def signing(self, at: datetime) -> crud.Known | None:
        """Give the key that signs at `at`: the last that has begun to. Where the clock went back before all of them
        it is the first.
        """
        begun = [key for key in self.keys if key.signs_from <= at]
        return begun[-1] if begun else next(iter(self.keys), None)


async def current_key(accounts: Accounts, *, at: datetime) -> Signer:
    """Give the key that signs at `at`. The first one of an install is made here.

    It is kept in memory for `REFRESHED`; else it costs one statement. Never called while a transaction that writes is
    open, since it may open one.

    Raises:
        Unreadable: it was sealed under another secret than this install has.
    """
    memory = await _memory(accounts, at=at)
    key = memory.signing(at)
    if key is None:
        memory = await _make_first(accounts, at=at)
        key = memory.signing(at)
        assert key is not None  # noqa: S101  (its transaction has seen one)
    signer = memory.signers.get(key.id)
    if signer is None:
        signer = memory.signers[key.id] = Signer(key.id, _unseal(accounts, key.private))
    return signer


async def _memory(accounts: Accounts, *, at: datetime, newer_than: timedelta = REFRESHED) -> _Memory:
    memory: _Memory | None = accounts.kept.get(_ROOM)
    if memory is None or not memory.keys or abs(at - memory.read_at) >= newer_than:
        memory = _Memory(at, await crud.list_known(accounts.database.read, at=at))
        accounts.kept[_ROOM] = memory
    return memory


async def _make_first(accounts: Accounts, *, at: datetime) -> _Memory:
    """Make the first key, which signs at once: nobody can have kept a set that lacks it, since empty ones are not to
    be kept.
    """
    key = _new_key(accounts, NOBODY, signs_from=at, at=at)
    async with accounts.writing() as db:
        if await crud.create_key(db, key):
            await record(db, SigningKeyMade(key.id, at_once=True))
        memory = _Memory(at, await crud.list_known_here(db, at=at))
    accounts.kept[_ROOM] = memory
    return memory


async def rotate_keys(accounts: Accounts, *, at: datetime, at_once: bool = False) -> SigningKey:
    """Make the next key, published from now and signing after `ANNOUNCED`; or give the one that already waits to sign.

    Args:
        accounts: where.
        at: now.
        at_once: for a key that leaked, or that nobody can unseal any more: the new one signs from now, and all others
            are withdrawn, so that what they signed is not valid any more. Clients that keep the set of public keys
            refuse what the new one signs until they look again.

    Returns:
        The newest key.
    """
    async with accounts.writing() as db:
        while True:
            newest = await crud.find_newest(db)
            if newest is not None and newest.signs_from > at and not at_once:
                return newest
            signs_from = at if at_once or newest is None else at + ANNOUNCED
            key = _new_key(accounts, NOBODY if newest is None else newest.id, signs_from=signs_from, at=at)
            if await crud.create_key(db, key):
                break  # else somebody was faster, and the newest is his
        if at_once:
            await crud.withdraw_keys(db, but=key.id, at=at)
        elif newest is not None:
            await crud.retire_key(db, newest.id, signs_until=signs_from, published_until=signs_from + KEPT)
        await record(db, SigningKeyMade(key.id, at_once=signs_from == at))
    accounts.kept.pop(_ROOM, None)
    return key


async def rotate_when_due(accounts: Accounts) -> None:
    """Make the next key once the newest has signed for `DENIZEN_SIGNING_KEY_LIFETIME`. Of several processes one does.

    Without a key nothing is made: whoever signs no tokens needs none.
    """
    at = accounts.clock()
    keys = await crud.list_known(accounts.database.read, at=at)
    if keys and at - keys[-1].signs_from >= timedelta(seconds=accounts.settings.signing_key_lifetime):
        await rotate_keys(accounts, at=at)


# -------------------------------------------------------------------------------------------------------------- tokens


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A token for other services.

    Attributes:
        token: a JWT.
        expires_in: whole seconds.
    """

    token: str = field(repr=False)
    expires_in: int


def sign_access_token(
    accounts: Accounts,
    signer: Signer,
    *,
    user_id: UUID,
    session_id: UUID,
    permissions: Iterable[str],
    at: datetime,
    ends_at: datetime | None = None,
    further: Mapping[str, Any] | None = None,
) -> AccessToken:
    """Make an access token (RFC 9068).

    Args:
        accounts: where.
        signer: from `current_key`.
        user_id: whose it is: `sub`.
        session_id: the sign-in that it comes from: `sid`.
        permissions: what he may do: `scope`.
        at: now.
        ends_at: when the sign-in ends; the token does not outlive it.
        further: claims about how he signed in, and who acts in his place.
    """
    settings = accounts.settings
    issued = int(at.timestamp())
    expires = int((at + timedelta(seconds=settings.access_token_lifetime)).timestamp())
    if ends_at is not None:
        expires = min(expires, int(ends_at.timestamp()))
    audiences = list(settings.access_token_audiences)
    claims: dict[str, Any] = {
        "iss": issuer(accounts),
        "sub": str(user_id),
        "aud": audiences if len(audiences) > 1 else audiences[0],
        "iat": issued,
        "exp": expires,
        "jti": str(new_id()),
        "sid": str(session_id),
        "client_id": issuer(accounts),
        "scope": " ".join(sorted(permissions)),
    }
    return AccessToken(signer.sign(claims | dict(further or {})), expires - issued)


def issuer(accounts: Accounts) -> str:
    """Name the install as `iss` does: `DENIZEN_BASE_URL`, and the prefix where there is one."""
    return accounts.public_url("")


def looks_like_jwt(token: str) -> bool:
    """Tell whether `token` has the form of a signed JWT: three parts, the first of which begins with `{"`."""
    return token.startswith("eyJ") and token.count(".") == 2 and token.isascii()


async def read_access_token(accounts: Accounts, token: str, *, at: datetime) -> dict[str, Any] | None:
    """Give the claims of an access token of this install that is valid at `at`, or `None`.

    Algorithm, type, issuer and audience are those that we sign with, whatever the token says of itself. Whether the
    sign-in still goes on is not looked at.
    """
    import jwt

    if not looks_like_jwt(token) or len(token) > MAX_TOKEN_LENGTH:
        return None
    try:
        header = jwt.get_unverified_header(token)
        key = await _public_key(accounts, header.get("kid"), at=at) if header.get("typ") == TOKEN_TYPE else None
        if key is None:
            return None
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=[ALGORITHM],
            issuer=issuer(accounts),
            audience=list(accounts.settings.access_token_audiences),
            # By our own clock, below.
            options={"require": list(_CLAIMS), "verify_exp": False, "verify_iat": False, "verify_nbf": False},
        )
    except (jwt.PyJWTError, ValueError, RecursionError):
        return None
    now = at.timestamp()
    return claims if claims["iat"] - CLOCKS_DIFFER.total_seconds() <= now < claims["exp"] else None


async def _public_key(accounts: Accounts, kid: Any, *, at: datetime) -> Any:
    """Find the public half of a published key. An unknown one is looked for anew once a second at most."""
    try:
        key_id = UUID(kid)
    except (AttributeError, TypeError, ValueError):
        return None
    memory = await _memory(accounts, at=at)
    if all(key.id != key_id for key in memory.keys):
        memory = await _memory(accounts, at=at, newer_than=timedelta(seconds=1))
    if key_id not in memory.public:
        import jwt

        memory.public |= {key.id: jwt.PyJWK.from_json(key.public).key for key in memory.keys}
    return memory.public.get(key_id)


# ---------------------------------------------------------------------------------------------------------------- keys


async def check_readable(reads: Reader, secret: Callable[[], Secret], *, at: datetime) -> int:
    """Try to unseal the keys that are published; give how many those are.

    Args:
        reads: where.
        secret: of the install; not asked for where there is no key.
        at: now.

    Raises:
        Unreadable: one was sealed under another secret.
    """
    keys = await crud.list_known(reads, at=at)
    for key in keys:
        secret().unseal(_SEALED, key.private)
    return len(keys)


def _new_key(accounts: Accounts, predecessor_id: UUID, *, signs_from: datetime, at: datetime) -> SigningKey:
    """Make a pair of keys: 0.1 ms."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from jwt.algorithms import ECAlgorithm

    private = ec.generate_private_key(ec.SECP256R1())
    plain = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    key = SigningKey(
        predecessor_id=predecessor_id,
        algorithm=ALGORITHM,
        public="",
        private=accounts.secret.seal(_SEALED, plain),
        created_at=at,
        signs_from=signs_from,
    )
    half = ECAlgorithm.to_jwk(private.public_key(), as_dict=True)
    key.public = json.dumps({**half, "kid": str(key.id), "use": "sig", "alg": ALGORITHM}, separators=(",", ":"))
    return key


def _unseal(accounts: Accounts, sealed: bytes) -> EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_der_private_key

    key = load_der_private_key(accounts.secret.unseal(_SEALED, sealed), password=None)
    assert isinstance(key, EllipticCurvePrivateKey)  # noqa: S101  (nothing else is sealed for this purpose)
    return key
