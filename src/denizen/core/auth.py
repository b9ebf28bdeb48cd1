"""Who is calling, and what may they do.

Rooms that issue credentials contribute an `Authenticator` (`Feature.authenticators`); everybody else asks
`Caller.may`. So `users` knows nothing of keys or sign-ins, and a new kind of credential changes no route.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal
from uuid import UUID

from denizen.core.errors import Forbidden, Unauthorized


class Scope(StrEnum):
    """A right that a caller may hold."""

    USERS_READ = "users:read"
    USERS_WRITE = "users:write"
    USERS_IMPORT = "users:import"
    USERS_EXPORT = "users:export"
    USERS_HASHES = "users:hashes"
    KEYS_WRITE = "keys:write"


SCOPES: dict[Scope, str] = {
    Scope.USERS_READ: "see every account",
    Scope.USERS_WRITE: "create, change and delete accounts",
    Scope.USERS_IMPORT: "bring in accounts in bulk",
    Scope.USERS_EXPORT: "take out accounts in bulk",
    Scope.USERS_HASHES: "bring in and take out password hashes",
    Scope.KEYS_WRITE: "make, list and revoke API keys",
}
"""Every scope with what it lets its holder do."""


def known_scopes(names: Iterable[str]) -> frozenset[Scope]:
    """Read stored scopes. What a newer release has added is left out: it is not known what it allows."""
    return frozenset(scope for scope in Scope if scope.value in frozenset(names))


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


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever makes a request, as recognised once.

    Attributes:
        kind: what recognised them.
        id: of the credential (an API key's id).
        scopes: what they may do.
        expires_at: when the credential ends; `None` for never.
    """

    kind: Literal["key"]
    id: UUID
    scopes: frozenset[Scope]
    expires_at: datetime | None = None

    def may(self, scope: Scope) -> bool:
        """Whether the caller holds `scope`."""
        return scope in self.scopes

    def must(self, *scopes: Scope) -> None:
        """Raise `ScopeMissing` unless the caller holds all of `scopes`."""
        missing = [scope for scope in scopes if scope not in self.scopes]
        if missing:
            raise ScopeMissing(f"This needs {_listed(missing)}.")


def _listed(scopes: Iterable[Scope]) -> str:
    names = sorted(scope.value for scope in scopes)
    return f"the scope{'s' if len(names) > 1 else ''} {', '.join(names)}"
