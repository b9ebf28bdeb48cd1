"""`denizen audit list`."""

from __future__ import annotations

from typing import Annotated, Any, Final
from uuid import UUID

import typer

from denizen.audit import service
from denizen.audit.schemas import AuditQuery
from denizen.core.accounts import Accounts
from denizen.core.commands import Json, Output, command, open_accounts
from denizen.core.ids import parse_id
from denizen.users import crud as users

app = typer.Typer(help="Look at what happened.")

COLUMNS: Final = ("at", "action", "outcome", "actor", "subject", "count", "facts")


@app.command("list")
@command
async def list_(
    user: Annotated[str | None, typer.Option(help="Done to this account: an id, e-mail address or username.")] = None,
    by: Annotated[str | None, typer.Option(help="Done by this account, likewise.")] = None,
    action: Annotated[str | None, typer.Option(help="What was done, such as user.updated.")] = None,
    refused: Annotated[bool, typer.Option("--refused", help="What was refused alone.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, the newest first.")] = 20,
    as_json: Json = False,
) -> None:
    """Show what happened and what was refused, the newest first.

    Example: denizen audit list --user ada@example.org

    Example: denizen audit list --refused --limit 100 --json
    """
    async with open_accounts() as accounts:
        query = AuditQuery(
            limit=limit,
            action=action,
            outcome="refused" if refused else None,
            subject_id=await _id_of(accounts, user),
            actor_id=await _id_of(accounts, by),
        )
        page = await service.list_entries(accounts, query)
    rows = page.rows if as_json else [_for_people(row) for row in page.rows]
    Output(as_json).table(rows, columns=COLUMNS, empty="Nothing of the kind has happened.")


async def _id_of(accounts: Accounts, who: str | None) -> UUID | None:
    """Give the id of somebody, hidden or not; of whoever has been erased, nobody knows more than that."""
    if who is None or (user_id := parse_id(who)) is not None:
        return None if who is None else user_id
    async with accounts.database.read.session() as db:
        return (await users.find_user(db, who, deleted=True)).id


def _for_people(row: dict[str, Any]) -> dict[str, Any]:
    actor = f"{row['actor_kind']} {row['actor_id'] or ''}".strip()
    subject = f"{row['subject_kind'] or ''} {row['subject_id'] or ''}".strip()
    return row | {"actor": actor, "subject": subject, "facts": row["facts"] | row["personal"]}
