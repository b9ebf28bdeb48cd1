"""Calls about who may do what: sign-ins, tokens, API keys, roles, invitations; and what happened."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from denizen.audit.schemas import AuditRead
from denizen.client.calls import Call, Id, Page, get, make, nothing, part, reads, reads_page, send
from denizen.founder.schemas import FirstAdministrator
from denizen.invitations.schemas import InvitationAccept, InvitationCreate, InvitationMade, InvitationRead
from denizen.keys.schemas import KeyCreate, KeyCreated, KeyRead
from denizen.passwordless.schemas import CodeAsked, LinkAsked, SignInAsk
from denizen.refresh.schemas import IntrospectRead, TokensRead
from denizen.roles.schemas import PermissionRead, RoleCreate, RoleRead, RoleUpdate
from denizen.sessions.schemas import SessionRead, SignInRead
from denizen.signing.schemas import PublicKeys

_signed_in = reads(SignInRead)
_sessions = reads(list[SessionRead])
_tokens = reads(TokensRead)
_roles = reads(list[RoleRead])
_role = reads(RoleRead)
_key = reads(KeyRead)


# ------------------------------------------------------------------------------------------------------------- sign-ins


def sign_in(username: str, password: str) -> Call[SignInRead]:
    """Sign in by username or e-mail address, and password. `Client.with_token` takes the token."""
    return send("POST", "/auth/login", _signed_in, {"username": username, "password": password})


def sign_out() -> Call[None]:
    """End the sign-in that this client carries."""
    return send("POST", "/auth/logout", nothing)


def reauthenticate_session(password: str) -> Call[SignInRead]:
    """Prove anew who one is; gives another token for the same sign-in."""
    return send("POST", "/auth/reauthenticate", _signed_in, {"password": password})


def impersonate_user(user_id: Id) -> Call[SignInRead]:
    """Act in somebody's place for a quarter of an hour."""
    return send("POST", f"/users/{part(user_id)}/impersonate", _signed_in)


def list_sessions() -> Call[list[SessionRead]]:
    """Give one's own sign-ins."""
    return get("/auth/sessions", _sessions)


def get_current_session() -> Call[SessionRead]:
    """Read the sign-in that this client carries."""
    return get("/auth/sessions/current", reads(SessionRead))


def delete_session(session_id: Id) -> Call[None]:
    """End one of one's own sign-ins."""
    return send("DELETE", f"/auth/sessions/{part(session_id)}", nothing)


def delete_other_sessions() -> Call[None]:
    """End all of one's own sign-ins but this one."""
    return send("DELETE", "/auth/sessions", nothing)


def list_user_sessions(user_id: Id) -> Call[list[SessionRead]]:
    """Give somebody's sign-ins."""
    return get(f"/users/{part(user_id)}/sessions", _sessions)


def delete_user_sessions(user_id: Id) -> Call[None]:
    """End all of somebody's sign-ins."""
    return send("DELETE", f"/users/{part(user_id)}/sessions", nothing)


def ask_for_magic_link(email: str) -> Call[LinkAsked]:
    """Ask for a letter with a link that signs in."""
    return send("POST", "/auth/magic-link", reads(LinkAsked), SignInAsk(email=email))


def sign_in_by_link(token: str) -> Call[SignInRead]:
    """Sign in by the token of such a letter."""
    return send("POST", "/auth/magic-link/sign-in", _signed_in, {"token": token})


def ask_for_code(email: str) -> Call[CodeAsked]:
    """Ask for a letter with a code; gives the ticket that goes with it."""
    return send("POST", "/auth/code", reads(CodeAsked), SignInAsk(email=email))


def sign_in_by_code(ticket: str, code: str) -> Call[SignInRead]:
    """Sign in by the code of such a letter."""
    return send("POST", "/auth/code/sign-in", _signed_in, {"ticket": ticket, "code": code})


def create_first_administrator(data: FirstAdministrator) -> Call[SignInRead]:
    """Become the first administrator, by the token of the link that `denizen serve` gives."""
    return send("POST", "/auth/first-administrator", _signed_in, data)


# --------------------------------------------------------------------------------------------------------------- tokens


def create_tokens() -> Call[TokensRead]:
    """Get an access token for other services, and a refresh token."""
    return send("POST", "/auth/tokens", _tokens)


def refresh_tokens(refresh_token: str) -> Call[TokensRead]:
    """Exchange a refresh token; sent again at once, it gives the same."""
    return send("POST", "/auth/refresh", _tokens, {"refresh_token": refresh_token}, again=True)


def introspect_token(token: str) -> Call[IntrospectRead]:
    """Ask what a token is good for."""
    return send("POST", "/auth/introspect", reads(IntrospectRead), {"token": token}, again=True)


def list_public_keys() -> Call[PublicKeys]:
    """Get the keys that access tokens are signed by."""
    return get("/.well-known/jwks.json", reads(PublicKeys))


# ----------------------------------------------------------------------------------------------------------------- keys


def create_key(data: KeyCreate, *, idempotency_key: str | None = None) -> Call[KeyCreated]:
    """Make an API key; its token is in the answer, and nowhere else."""
    return make("/keys/", reads(KeyCreated), data, key=idempotency_key)


def list_keys(*, limit: int = 100) -> Call[Page[KeyRead]]:
    """Give all API keys, or one's own. `limit` is how many are asked for at a time."""
    return get("/keys/", reads_page(KeyRead), limit=limit)


def get_key(key_id: Id) -> Call[KeyRead]:
    """Read an API key."""
    return get(f"/keys/{part(key_id)}", _key)


def get_current_key() -> Call[KeyRead]:
    """Read the API key that this client carries."""
    return get("/keys/current", _key)


def revoke_key(key_id: Id) -> Call[None]:
    """End an API key, and those that were made with it."""
    return send("DELETE", f"/keys/{part(key_id)}", nothing)


# ---------------------------------------------------------------------------------------------------------------- roles


def list_permissions() -> Call[list[PermissionRead]]:
    """Give the permissions that Denizen itself asks for."""
    return get("/permissions", reads(list[PermissionRead]))


def list_roles() -> Call[list[RoleRead]]:
    """Give all roles."""
    return get("/roles/", _roles)


def create_role(data: RoleCreate, *, idempotency_key: str | None = None) -> Call[RoleRead]:
    """Define a role."""
    return make("/roles/", _role, data, key=idempotency_key)


def get_role(role: Id) -> Call[RoleRead]:
    """Read a role, by its name or id."""
    return get(f"/roles/{part(role)}", _role)


def update_role(role: Id, data: RoleUpdate) -> Call[RoleRead]:
    """Set what `data` names of a role."""
    return send("PATCH", f"/roles/{part(role)}", _role, data)


def delete_role(role: Id) -> Call[None]:
    """Delete a role, and take it from all who have it."""
    return send("DELETE", f"/roles/{part(role)}", nothing)


def list_user_roles(user_id: Id) -> Call[list[RoleRead]]:
    """Give somebody's roles."""
    return get(f"/users/{part(user_id)}/roles", _roles)


def set_user_roles(user_id: Id, roles: Iterable[str]) -> Call[list[RoleRead]]:
    """Give somebody these roles and no others."""
    return send("PUT", f"/users/{part(user_id)}/roles", _roles, {"roles": sorted(roles)})


def grant_role(user_id: Id, role: str) -> Call[list[RoleRead]]:
    """Give somebody a role; gives all of his."""
    return send("PUT", f"/users/{part(user_id)}/roles/{part(role)}", _roles)


def revoke_role(user_id: Id, role: str) -> Call[None]:
    """Take a role from somebody."""
    return send("DELETE", f"/users/{part(user_id)}/roles/{part(role)}", nothing)


# ------------------------------------------------------------------------------------------------- invitations, audit


def create_invitation(data: InvitationCreate, *, idempotency_key: str | None = None) -> Call[InvitationMade]:
    """Ask somebody in."""
    return make("/invitations/", reads(InvitationMade), data, key=idempotency_key)


def list_invitations(*, limit: int = 100) -> Call[Page[InvitationRead]]:
    """Give all invitations. `limit` is how many are asked for at a time."""
    return get("/invitations/", reads_page(InvitationRead), limit=limit)


def get_invitation(invitation_id: Id) -> Call[InvitationRead]:
    """Read an invitation."""
    return get(f"/invitations/{part(invitation_id)}", reads(InvitationRead))


def resend_invitation(invitation_id: Id) -> Call[InvitationMade]:
    """Send an invitation again, with another link."""
    return send("POST", f"/invitations/{part(invitation_id)}/resend", reads(InvitationMade))


def revoke_invitation(invitation_id: Id) -> Call[None]:
    """Take an invitation back."""
    return send("DELETE", f"/invitations/{part(invitation_id)}", nothing)


def accept_invitation(data: InvitationAccept) -> Call[SignInRead]:
    """Open the account that somebody was asked in for, and sign in to it."""
    return send("POST", "/auth/accept-invitation", _signed_in, data)


def list_audit(
    *,
    limit: int = 100,
    actor_id: UUID | None = None,
    subject_id: UUID | None = None,
    action: str | None = None,
    outcome: Literal["done", "refused"] | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Call[Page[AuditRead]]:
    """Give what happened, the newest first. `limit` is how many are asked for at a time."""
    params: dict[str, Any] = {"actor_id": actor_id, "subject_id": subject_id, "action": action, "outcome": outcome}
    return get("/audit", reads_page(AuditRead), limit=limit, **params, since=since, until=until)
