"""`denizen invitations create | list | revoke`."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Annotated, Any

import typer

from denizen.core.commands import Json, Output, command, open_accounts
from denizen.core.database import Reader
from denizen.core.errors import Invalid
from denizen.core.ids import parse_id
from denizen.invitations import crud, service
from denizen.invitations.errors import InvitationNotFound
from denizen.invitations.models import Invitation
from denizen.invitations.schemas import MAX_LIMIT, READ_FIELDS, InvitationCreate, InvitationRead

app = typer.Typer(help="Invite people, look at invitations, take them back.")

COLUMNS = ("id", "email", "roles", "created_at", "expires_at", "accepted_at", "revoked_at")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def _shown(row: Invitation | crud.Row) -> dict[str, Any]:
    return dict(zip(READ_FIELDS, crud.row_of(row) if isinstance(row, Invitation) else row, strict=True))


def _lifetime(text: str | None) -> timedelta | None:
    """Read `7d`, `12h`, `30m` or `2w`."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,6})([mhdw])", text)
    if found is None:
        raise Invalid("--expires takes a time like 30m, 12h, 7d or 2w.", field="expires")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


@app.command()
@command
async def create(
    email: Annotated[
        str | None, typer.Option(help="Where to send it; without one the link is printed, to be handed over.")
    ] = None,
    role: Annotated[list[str] | None, typer.Option(help="Of a role that accepting it gives. Can be repeated.")] = None,
    expires: Annotated[
        str | None, typer.Option(help="How long it lives: 30m, 12h, 7d or 2w.", show_default="7d")
    ] = None,
    as_json: Json = False,
) -> None:
    """Invite somebody: by mail, or by a link to hand over.

    Example: denizen invitations create --email grace@example.org --role support
    """
    data, life = InvitationCreate(email=email, roles=role or []), _lifetime(expires)
    async with open_accounts() as accounts:
        at = accounts.clock()
        ends = at + life if life is not None else None
        async with accounts.writing() as db:
            made, token = await service.invite(
                accounts, db, email=data.email, roles=data.roles, expires_at=ends, caller=None, at=at
            )
        link = None if made.email else service.invitation_link(accounts, token)
        Output(as_json).row({**_shown(made), "link": link}, title="Invited")


@app.command("list")
@command
async def list_(
    ended: Annotated[bool, typer.Option("--ended", help="Show used, expired and revoked ones too.")] = False,
    as_json: Json = False,
) -> None:
    """List invitations. Their links are not stored and cannot be shown.

    Example: denizen invitations list --ended
    """
    async with open_accounts() as accounts:
        at = accounts.clock()
        rows = [
            row
            async for row in _every_invitation(accounts.database.read)
            if ended or (row["accepted_at"] is None and row["revoked_at"] is None and row["expires_at"] > at)
        ]
    Output(as_json).table(rows, columns=COLUMNS, empty="No invitations. Make one: denizen invitations create --help")


async def _every_invitation(reads: Reader) -> AsyncIterator[dict[str, Any]]:
    after = None
    while rows := await crud.list_invitations(reads, limit=MAX_LIMIT, after=after):
        for row in rows:
            invitation = InvitationRead.model_validate(_shown(row)).model_dump()
            after = invitation["id"]
            yield invitation


@app.command()
@command
async def revoke(
    invitation: Annotated[
        str, typer.Argument(metavar="ID", help="Of the invitation: denizen invitations list.", show_default=False)
    ],
    as_json: Json = False,
) -> None:
    """Take an invitation back, at once.

    Example: denizen invitations revoke 019a5c1e-7f00-7a11-8b22-3c33d44e55f6
    """
    invitation_id = parse_id(invitation)
    if invitation_id is None:
        raise InvitationNotFound("There is no invitation of this id. Look it up: denizen invitations list")
    async with open_accounts() as accounts:
        async with accounts.writing() as db:
            await service.revoke_invitation(db, invitation_id, at=accounts.clock())
        Output(as_json).row({"id": invitation_id, "revoked": True}, title="Revoked")
