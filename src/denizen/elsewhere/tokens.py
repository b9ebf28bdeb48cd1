"""Access tokens (RFC 9068), checked with the public keys of the server that signs them.

Algorithm, type, issuer and audience are those of the configuration, whatever a token says of itself; nothing is fetched
from where a token points.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import jwt
from pydantic import ValidationError

from denizen.client.calls import Answer, Call, get
from denizen.core.accounts import MAX_TOKEN_LENGTH
from denizen.core.auth import Caller, CredentialsInvalid
from denizen.core.errors import Unavailable
from denizen.core.ids import parse_id
from denizen.elsewhere.memory import Asking
from denizen.signing.schemas import PublicKey

ALGORITHM: Final = "ES256"
TOKEN_TYPE: Final = "at+jwt"  # noqa: S105  (a media type, and no password)
LONGEST_LIFE: Final = timedelta(hours=1)
"""What a Denizen lets an access token live at most; one of longer life is none of its."""
KEPT: Final = timedelta(minutes=5)
"""For how long public keys are good without a look at the server: what its `Cache-Control` says."""
LOOKED_AGAIN: Final = timedelta(minutes=1)
"""How often at most the server is asked because of a key id that is not known: anybody can make up ids."""
TRIED_AGAIN: Final = timedelta(seconds=1)
"""How often at most a server that does not answer is asked for its keys."""
CLOCKS_DIFFER: Final = timedelta(minutes=1)
_MOST_KEYS: Final = 100
_CLAIMS: Final = ("iss", "sub", "aud", "iat", "exp", "jti", "sid")


def looks_like_jwt(token: str) -> bool:
    """Tell whether `token` has the form of a signed JWT: three parts, the first of which begins with `{"`."""
    return token.startswith("eyJ") and token.count(".") == 2 and token.isascii()


def read_keys(answer: Answer) -> dict[str, Any]:
    """Read a JWK set: by `kid` the keys that are for signing by `ALGORITHM`; others are left alone.

    Raises:
        Unavailable: it is no set of keys.
    """
    try:
        listed = json.loads(answer.content)["keys"]
        return {each["kid"]: _key_of(each) for each in listed[:_MOST_KEYS] if _is_ours(each)}
    except (ValueError, KeyError, TypeError, RecursionError, jwt.PyJWTError):
        raise Unavailable("The keys of access tokens cannot be read.") from None


def _is_ours(told: Any) -> bool:
    try:
        PublicKey.model_validate(told, strict=True)
    except ValidationError:
        return False
    return True


def _key_of(told: Mapping[str, str]) -> Any:
    return jwt.PyJWK.from_dict({name: told[name] for name in ("kty", "crv", "x", "y")}, algorithm=ALGORITHM).key


FETCH: Final[Call[dict[str, Any]]] = get("/.well-known/jwks.json", read_keys)


@dataclass(slots=True, eq=False)
class Keys:
    """The public keys of a server, as they were seen last.

    Attributes:
        fetch: asks the server for them.
        clock: gives the present, in UTC.
    """

    fetch: Callable[[], Awaitable[dict[str, Any]]]
    clock: Callable[[], datetime]
    _known: dict[str, Any] = field(default_factory=dict, repr=False)
    _read_at: datetime | None = None
    _looked_at: datetime | None = None
    _failed_at: datetime | None = None
    _asking: Asking = field(default_factory=Asking, repr=False)

    async def find(self, kid: Any) -> Any:
        """Give the key of an id, or `None`.

        Raises:
            Unavailable: the server has to be asked, and cannot be.
        """
        at = self.clock()
        on_its_way = self._asking.asks("keys")
        if not _within(self._read_at, KEPT, at):
            if not on_its_way and _within(self._failed_at, TRIED_AGAIN, at):
                raise Unavailable("Who calls cannot be found out just now.", retry_after=1)
            await self._asking.once("keys", self._look)
        elif kid not in self._known and (on_its_way or not _within(self._looked_at, LOOKED_AGAIN, at)):
            await self._asking.once("keys", self._look)
        return self._known.get(kid)

    async def _look(self) -> None:
        self._looked_at = self.clock()
        try:
            self._known = await self.fetch()
        except Unavailable:
            self._failed_at = self.clock()
            raise
        self._read_at = self.clock()


def _within(since: datetime | None, span: timedelta, at: datetime) -> bool:
    return since is not None and timedelta() <= at - since < span


@dataclass(frozen=True, slots=True)
class Checker:
    """Judges access tokens.

    Attributes:
        issuer: that signs them: `iss`.
        audience: that they have to be for: `aud`.
    """

    keys: Keys
    issuer: str
    audience: str

    async def check(self, token: str, at: datetime) -> tuple[Caller, datetime]:
        """Give whose an access token is, and when it was issued.

        Raises:
            CredentialsInvalid: it is none of this issuer for this audience, or over.
            Unavailable: the server has to be asked for its keys, and cannot be.
        """
        key = await self.keys.find(_key_id(token))
        if key is None:
            raise invalid()
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                issuer=self.issuer,
                audience=self.audience,
                # By the clock of this home, below.
                options={"require": list(_CLAIMS), "verify_exp": False, "verify_iat": False, "verify_nbf": False},
            )
        except (jwt.InvalidAudienceError, jwt.InvalidIssuerError):
            raise CredentialsInvalid("This access token is for another service, or of another issuer.") from None
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise invalid() from None
        return _judge(claims, at)


def _key_id(token: str) -> str:
    """Give the `kid` of a token that says it is one of ours.

    Raises:
        CredentialsInvalid: it says otherwise.
    """
    try:
        header = jwt.get_unverified_header(token) if len(token) <= MAX_TOKEN_LENGTH else {}
    except (jwt.PyJWTError, ValueError, RecursionError):
        header = {}
    kid = header.get("kid")
    if header.get("typ") != TOKEN_TYPE or header.get("alg") != ALGORITHM or not isinstance(kid, str):
        raise invalid()
    return kid


def _judge(claims: Mapping[str, Any], at: datetime) -> tuple[Caller, datetime]:
    """Read claims whose signature holds.

    Raises:
        CredentialsInvalid: it is over, or not yet, or its claims are not those of an access token.
    """
    issued, expires = claims["iat"], claims["exp"]
    if type(issued) is not int or type(expires) is not int or not 0 < expires - issued <= LONGEST_LIFE.total_seconds():
        raise invalid()
    if not issued - CLOCKS_DIFFER.total_seconds() <= at.timestamp() < expires:
        raise invalid()
    caller = caller_of(claims)
    if caller is None or caller.kind != "session" or caller.user_id is None:
        raise invalid()
    return caller, datetime.fromtimestamp(issued, UTC)


def caller_of(told: Mapping[str, Any]) -> Caller | None:
    """Give the caller that claims, or the answer of an introspection, name; `None` where they name nobody."""
    is_key = told.get("kind") == "key"
    credential = _id(told.get("client_id" if is_key else "sid"))
    act = told.get("act")
    impersonator = _id(act.get("sub")) if isinstance(act, dict) else None
    user_id = _id(told.get("sub"))
    if credential is None or (user_id is None and not is_key) or (act is not None and impersonator is None):
        return None
    return Caller(
        kind="key" if is_key else "session",
        id=credential,
        scopes=frozenset(str(told.get("scope") or "").split()),
        expires_at=_instant(told.get("exp")),
        user_id=user_id,
        authenticated_at=_instant(told.get("auth_time")),
        impersonator_id=impersonator,
        method="password" if told.get("amr") == ["pwd"] else None,
    )


def _id(told: Any) -> UUID | None:
    return parse_id(told) if isinstance(told, str) else None


def _instant(told: Any) -> datetime | None:
    return datetime.fromtimestamp(told, UTC) if type(told) is int and 0 <= told < 2**33 else None


def invalid() -> CredentialsInvalid:
    """Give what credentials that open nothing are refused with; why is not said."""
    return CredentialsInvalid("These credentials are unknown, expired or revoked.")
