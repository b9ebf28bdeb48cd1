"""Acts on invitations: asking people in, and their coming."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.accounts import Accounts
from denizen.core.auth import BeyondCaller, Caller, NotWhileImpersonating, covered
from denizen.core.database import Reader
from denizen.core.events import record
from denizen.core.hashing import Lane
from denizen.core.identifiers import Identity, clean_email, email_key
from denizen.core.paging import CursorSigner
from denizen.core.profiles import new_profile
from denizen.core.tokens import digest, looks_like, new_token
from denizen.invitations import crud
from denizen.invitations.errors import (
    InvitationBeyondInviter,
    InvitationEmailFixed,
    InvitationExpiryInvalid,
    InvitationUsed,
)
from denizen.invitations.events import InvitationAccepted, InvitationCreated, InvitationRevoked, InvitationSentAgain
from denizen.invitations.models import Invitation
from denizen.invitations.schemas import READ_FIELDS, InvitationAccept, InvitationQuery
from denizen.mail.service import post
from denizen.onetime.errors import LinkInvalid
from denizen.roles.crud import can_sign_in
from denizen.roles.errors import RoleNotFound
from denizen.roles.service import check_grantable, grant_roles, permissions_of
from denizen.sessions.crud import lock_owners
from denizen.sessions.service import Opened, open_session
from denizen.users.crud import get_user
from denizen.users.errors import UserNotFound
from denizen.users.service import judge_account, store_account

KEPT_AFTER: Final = timedelta(days=30)
LONGEST: Final = timedelta(days=366)
_LISTING: Final = "invitations order=id"
_INVALID: Final = "This invitation is not valid: it is unknown, has been used, taken back, or has expired."


# -- asking people in -------------------------------------------------------------------------------------------------


def invitation_link(accounts: Accounts, token: str) -> str:
    """Give the link of an invitation."""
    return accounts.public_url(f"/auth/accept-invitation?token={token}")


async def invite(
    accounts: Accounts,
    db: AsyncSession,
    *,
    email: str | None,
    roles: Sequence[str],
    expires_at: datetime | None,
    caller: Caller | None,
    at: datetime,
    token: str | None = None,
) -> tuple[Invitation, str]:
    """Ask somebody in; where there is an address, by mail.

    Args:
        accounts: where.
        db: a writing session; it is not committed.
        email: where to send it.
        roles: names of those that accepting it gives.
        expires_at: when it ends; `None` for the usual time from now.
        caller: who asks; `None` for the operator at the command line, who may give anything.
        at: now.
        token: that opens it, where it has to be made again later; 256 bits that nobody can guess.

    Returns:
        The stored invitation, and its token, which nobody will see again.

    Raises:
        EmailInvalid: as `core` judges it.
        InvitationExpiryInvalid: it would have ended already, or only after a year.
        RoleNotFound, BeyondCaller: there is no such role, or it allows what the caller may not do.
        NotWhileImpersonating: the caller acts in somebody else's place.
    """
    token = token or new_token("dzi_")
    address = None if email is None else clean_email(email)
    ends = _within_a_year(expires_at or at + timedelta(seconds=accounts.settings.invitation_lifetime), at=at)
    names = await _grantable(db, caller, roles)
    invitation = Invitation(
        token_digest=digest(token),
        roles=names,
        created_at=at,
        expires_at=ends,
        email=address,
        email_key=None if address is None else email_key(address),
        inviter_id=None if caller is None else caller.user_id,
        inviter_key_id=_key_of(caller),
    )
    await crud.create_invitation(db, invitation)
    await record(db, InvitationCreated(invitation.id, tuple(names)))
    await _send(accounts, db, invitation, token, at=at)
    return invitation, token


def _key_of(caller: Caller | None) -> UUID | None:
    return caller.id if caller is not None and caller.kind == "key" else None


def _within_a_year(ends: datetime, *, at: datetime) -> datetime:
    if ends <= at:
        raise InvitationExpiryInvalid("expires_at lies in the past.", field="expires_at")
    if ends > at + LONGEST:
        raise InvitationExpiryInvalid("An invitation lives for a year at most.", field="expires_at")
    return ends


async def _grantable(db: AsyncSession, caller: Caller | None, roles: Sequence[str]) -> list[str]:
    if caller is not None and caller.impersonator_id is not None:
        raise NotWhileImpersonating("Whoever acts in somebody else's place invites nobody.")
    return [role.name for role in await check_grantable(db, caller, roles)]


async def _name_of(db: AsyncSession, inviter_id: UUID | None) -> str | None:
    """Give what an inviter is called, where that is anybody who has a name."""
    if inviter_id is None:
        return None
    with suppress(UserNotFound):  # he was deleted just now
        inviter = await get_user(db, inviter_id)
        return inviter.full_name or inviter.username
    return None


async def _send(accounts: Accounts, db: AsyncSession, invitation: Invitation, token: str, *, at: datetime) -> None:
    if invitation.email is None:
        return
    values = {
        "link": invitation_link(accounts, token),
        "minutes": int((invitation.expires_at - at).total_seconds() // 60),
        "inviter": await _name_of(db, invitation.inviter_id),
    }
    await post(accounts, db, "invitation", to=invitation.email, at=at, values=values)


async def send_again(
    accounts: Accounts, db: AsyncSession, invitation_id: UUID, *, caller: Caller | None, at: datetime
) -> tuple[Invitation, str]:
    """Make another link for an invitation, expired or not, for the usual time; the one before opens nothing any more.

    Whoever does so is the inviter from now on.

    Raises:
        InvitationNotFound: there is none, or it was taken back.
        InvitationUsed: it was accepted.
        RoleNotFound, BeyondCaller, NotWhileImpersonating: as `invite`.
    """
    invitation = await crud.get_invitation(db, invitation_id)
    if invitation.accepted_at is not None or invitation.revoked_at is not None:
        raise InvitationUsed("This invitation was accepted or taken back. Make a new one.")
    await _grantable(db, caller, invitation.roles)
    token = new_token("dzi_")
    invitation.token_digest = digest(token)
    invitation.expires_at = at + timedelta(seconds=accounts.settings.invitation_lifetime)
    invitation.inviter_id = None if caller is None else caller.user_id
    invitation.inviter_key_id = _key_of(caller)
    await db.flush()
    await record(db, InvitationSentAgain(invitation.id))
    await _send(accounts, db, invitation, token, at=at)
    return invitation, token


async def revoke_invitation(db: AsyncSession, invitation_id: UUID, *, at: datetime) -> None:
    """Take an invitation back; one that was taken back already stays so.

    Raises:
        InvitationNotFound: there is none.
        InvitationUsed: it was accepted.
    """
    invitation = await crud.get_invitation(db, invitation_id)
    if invitation.accepted_at is not None:
        raise InvitationUsed("This invitation was accepted. Suspend or delete the account instead.")
    if invitation.revoked_at is None:
        await crud.update_invitation(db, invitation_id, {"revoked_at": at})
        await record(db, InvitationRevoked(invitation_id))


@dataclass(frozen=True, slots=True)
class Page:
    """A part of the list of invitations.

    Attributes:
        rows: in the order of `READ_FIELDS`.
        next_cursor: where it goes on; `None` at the end.
    """

    rows: list[crud.Row]
    next_cursor: str | None


async def list_invitations(reads: Reader, cursors: CursorSigner, query: InvitationQuery) -> Page:
    """Serve a page of the list of invitations, in the order of their making, those that have ended too.

    Raises:
        CursorInvalid: the cursor is not one of this list.
    """
    after = None if query.cursor is None else UUID(cursors.read(_LISTING, query.cursor)[0])
    rows = await crud.list_invitations(reads, limit=query.limit + 1, after=after)
    more = len(rows) > query.limit
    rows = rows[: query.limit]
    last = str(rows[-1][READ_FIELDS.index("id")]) if more else None
    return Page(rows, None if last is None else cursors.make(_LISTING, [last]))


# -- their coming -----------------------------------------------------------------------------------------------------


async def find_invitation(accounts: Accounts, token: str, *, at: datetime) -> Invitation:
    """Look which invitation a token opens, without using it up.

    Raises:
        LinkInvalid: none; why is not said.
    """
    found = None
    if looks_like(token, "dzi_"):
        async with accounts.database.read.session() as db:
            found = await crud.find_open_invitation(db, digest(token), at=at)
    if found is None:
        raise LinkInvalid(_INVALID)
    return found


async def accept_invitation(
    accounts: Accounts, db: AsyncSession, data: InvitationAccept, *, at: datetime, instead_of: str | None = None
) -> Opened:
    """Open an account for somebody who was asked in, give it the roles, and sign him in.

    Args:
        accounts: where.
        db: a writing session that has not begun; it is not committed.
        at: now.
        instead_of: as of `sessions.service.sign_in`.

    Returns:
        The sign-in, and the token that opens it, which nobody will see again.

    Raises:
        LinkInvalid: the invitation is not valid any more; also for all but one of those who accept it at once.
        InvitationEmailFixed: it names another address.
        InvitationBeyondInviter: whoever invited may not give its roles any more, or did so with a key that has ended.
        EmailInvalid, UsernameInvalid, PasswordRefused, ProfileInvalid: as `core` judges them.
        EmailTaken, UsernameTaken, UsernameTooSimilar: as the database decides; the invitation stays valid.
        HashingBusy: too many passwords wait.
    """
    found = await find_invitation(accounts, data.token, at=at)
    email = found.email or data.email
    if found.email and data.email and email_key(clean_email(data.email)) != found.email_key:
        raise InvitationEmailFixed("This invitation was sent to another address.", field="email")
    # He may leave it for later: the page that the letter leads to does not ask for it.
    own = new_profile(accounts.profile, data.profile or None, by_owner=True)
    identity, hashed = await _prepare(accounts, data.username, email, data.full_name, data.password)
    await lock_owners(db, instead_of)
    spent = await crud.spend_invitation(db, digest(data.token), at=at)
    if spent is None:
        raise LinkInvalid(_INVALID)
    inviter = await _inviter(db, spent.inviter_id, spent.inviter_key_id, at=at)
    user = await store_account(
        db,
        identity,
        full_name=data.full_name,
        hashed_password=hashed,
        profile=own,
        email_verified_at=at if spent.email else None,
        at=at,
    )
    await crud.update_invitation(db, spent.id, {"user_id": user.id})
    await _grant(db, user.id, spent.roles, inviter, at=at)
    await record(db, InvitationAccepted(spent.id, user.id))
    return await open_session(accounts, db, user.id, method="invitation", at=at, instead_of=instead_of)


async def _prepare(
    accounts: Accounts, username: str, email: str | None, full_name: str | None, password: str
) -> tuple[Identity, str]:
    """Judge a new account and hash its password: both before the first statement that writes."""
    identity = judge_account(accounts, username, email, full_name, password=password)
    return identity, await accounts.hashing.hash(password, lane=Lane.PUBLIC)


async def _inviter(db: AsyncSession, inviter_id: UUID | None, key_id: UUID | None, *, at: datetime) -> Caller | None:
    """Give whoever invited, with what he may do now; `None` for the operator at the command line.

    Raises:
        InvitationBeyondInviter: he did so with a key that was revoked or has expired.
    """
    may = None if inviter_id is None else await _permissions_of(db, inviter_id, at=at)
    if key_id is None:
        return None if inviter_id is None else Caller("session", inviter_id, may or frozenset(), user_id=inviter_id)
    scopes = await crud.find_scopes(db, key_id, at=at)
    if scopes is None:
        raise InvitationBeyondInviter("The API key that you were invited with has ended. Ask for another invitation.")
    return Caller("key", key_id, scopes if may is None else covered(may, scopes), user_id=inviter_id)


async def _permissions_of(db: AsyncSession, user_id: UUID, *, at: datetime) -> frozenset[str]:
    if not await crud.is_open(db, user_id, can_sign_in(at)):
        return frozenset()
    return (await permissions_of(db, [user_id]))[user_id]


async def _grant(
    db: AsyncSession, user_id: UUID, roles: Sequence[str], inviter: Caller | None, *, at: datetime
) -> None:
    if not roles:
        return
    try:
        await grant_roles(db, user_id, roles, caller=inviter, at=at)
    except (BeyondCaller, RoleNotFound) as error:
        raise InvitationBeyondInviter(
            "Whoever invited you may not give what this invitation promises any more. Ask for another one."
        ) from error
