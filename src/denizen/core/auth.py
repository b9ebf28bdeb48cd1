"""Who is calling, and what may they do.

Rooms that issue credentials contribute an `Authenticator` (`Feature.authenticators`); everybody else asks
`Caller.may`. So `users` knows nothing of keys or sign-ins, and a new kind of credential changes no route.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, Literal
from uuid import UUID

from denizen.core.errors import Forbidden, Unauthorized


class Scope(StrEnum):
    """A right that a caller may hold."""

    USERS_READ = "users:read"
    USERS_WRITE = "users:write"
    USERS_IMPORT = "users:import"
    USERS_EXPORT = "users:export"
    USERS_HASHES = "users:hashes"
    USERS_IMPERSONATE = "users:impersonate"
    KEYS_WRITE = "keys:write"
    ROLES_WRITE = "roles:write"
    INVITATIONS_WRITE = "invitations:write"
    AUDIT_READ = "audit:read"
    METRICS_READ = "metrics:read"
    TOKENS_INTROSPECT = "tokens:introspect"


SCOPES: dict[Scope, str] = {
    Scope.USERS_READ: "see every account",
    Scope.USERS_WRITE: "create, change and delete accounts",
    Scope.USERS_IMPORT: "bring in accounts in bulk",
    Scope.USERS_EXPORT: "take out accounts in bulk",
    Scope.USERS_HASHES: "bring in and take out password hashes",
    Scope.USERS_IMPERSONATE: "act in somebody else's place for a quarter of an hour",
    Scope.KEYS_WRITE: "make, list and revoke API keys",
    Scope.ROLES_WRITE: "define roles, give and take them",
    Scope.INVITATIONS_WRITE: "invite people",
    Scope.AUDIT_READ: "read what happened",
    Scope.METRICS_READ: "read the figures of the server",
    Scope.TOKENS_INTROSPECT: "ask whose a token is, and what its holder may do",
}
"""Every scope with what it lets its holder do."""

EVERYTHING: Final = "*"
"""The permission that stands for all there are and will be, a host's own included. Roles may carry it, keys may not."""


def covers(held: AbstractSet[str], wanted: AbstractSet[str]) -> bool:
    """Whether who holds `held` may do all of `wanted`: the rule against take-over compares people so."""
    return EVERYTHING in held or wanted <= held


def covered(held: AbstractSet[str], wanted: AbstractSet[str]) -> frozenset[str]:
    """Give as much of `wanted` as who holds `held` may do."""
    return frozenset(wanted if EVERYTHING in held else wanted & held)


def known_scopes(names: Iterable[str]) -> frozenset[Scope]:
    """Give those of `names` that Denizen itself asks for."""
    return frozenset(scope for scope in Scope if scope.value in frozenset(names))


MAX_PERMISSION_LENGTH: Final = 64
_PERMISSION: Final = re.compile(r"[a-z][a-z0-9_-]*(?::[a-z][a-z0-9_-]*)+")
_OWN_AREAS: Final = frozenset(scope.value.partition(":")[0] for scope in Scope)


def is_permission(name: str) -> bool:
    """Whether `name` can be a permission: one of `Scope`, or one of a host's own, such as `notes:write`.

    In the areas that are ours (`users:`, `keys:` ...) only ours are: a misspelt one would allow nothing, in silence.
    """
    if len(name) > MAX_PERMISSION_LENGTH or _PERMISSION.fullmatch(name) is None:
        return False
    return name.partition(":")[0] not in _OWN_AREAS or name in frozenset(Scope)


class CredentialsMissing(Unauthorized):
    """The request carries no credentials."""

    code = "credentials_missing"
    title = "Not authenticated"


class CredentialsInvalid(Unauthorized):
    """The credentials are unknown, expired or revoked; which of them is not said."""

    code = "credentials_invalid"
    title = "Not authenticated"


class ScopeMissing(Forbidden):
    """The caller is known and lacks a scope."""

    code = "scope_missing"
    title = "Not allowed"


class SessionNeeded(Forbidden):
    """Only people who have signed in can do this: it is about the account of whoever calls, and a key has none."""

    code = "session_needed"
    title = "Sign in for this"


class ReauthenticationNeeded(Forbidden):
    """The caller has to prove anew who he is: `POST /auth/reauthenticate`."""

    code = "reauthentication_needed"
    title = "Prove who you are"


class NotWhileImpersonating(Forbidden):
    """Whoever acts in somebody else's place cannot touch credentials, keys, roles or the account's existence."""

    code = "not_while_impersonating"
    title = "Not while impersonating"


class BeyondCaller(Forbidden):
    """The account holds a permission that the caller lacks, so that changing it could be a way to that permission."""

    code = "beyond_caller"
    title = "Not allowed on this account"


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever makes a request, as recognised once.

    Attributes:
        kind: what recognised them.
        id: of the credential (an API key's id, a session's).
        scopes: what they may do: scopes, permissions of a host's own, and `*` for everything.
        expires_at: when the credential ends at the latest; `None` for never.
        user_id: the person; `None` for an operator's key.
        authenticated_at: when a person last proved who he is; `None` for keys.
        impersonator_id: who acts in the person's place; `None` for the person himself.
        method: how the sign-in was opened: `password`, `magic_link` ...; `None` for keys.
    """

    kind: Literal["key", "session"]
    id: UUID
    scopes: frozenset[str]
    expires_at: datetime | None = None
    user_id: UUID | None = None
    authenticated_at: datetime | None = None
    impersonator_id: UUID | None = None
    method: str | None = None

    def may(self, scope: str) -> bool:
        """Whether the caller holds `scope`."""
        return scope in self.scopes or EVERYTHING in self.scopes

    def must(self, *scopes: str) -> None:
        """Raise `ScopeMissing` unless the caller holds all of `scopes`."""
        missing = [scope for scope in scopes if not self.may(scope)]
        if missing:
            raise self.lacks(*missing)

    @staticmethod
    def lacks(*scopes: str) -> ScopeMissing:
        """Give what whoever lacks `scopes` is refused with; the cause of a 404 for who may not know what there is."""
        return ScopeMissing(f"This needs {_listed(scopes)}.")

    def is_self(self, user_id: UUID) -> bool:
        """Whether the account is the caller's own."""
        return self.user_id == user_id


def _listed(scopes: Iterable[str]) -> str:
    names = sorted(map(str, scopes))
    return f"the scope{'s' if len(names) > 1 else ''} {', '.join(names)}"


AUTH: Final = (CredentialsMissing, CredentialsInvalid, ScopeMissing)
"""What a route documents whose caller has to have a scope."""

PERSON: Final = (CredentialsMissing, CredentialsInvalid, SessionNeeded)
"""What a route documents whose caller has to be a person."""
