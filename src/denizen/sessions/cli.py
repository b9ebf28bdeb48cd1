"""`denizen sessions list | end`."""

from __future__ import annotations

from typing import Annotated, Any, Final
from uuid import UUID

import typer

from denizen.core.commands import Json, Output, command, open_accounts
from denizen.core.ids import parse_id
from denizen.sessions import crud, service, states
from denizen.sessions.errors import SessionNotFound
from denizen.sessions.schemas import show_session
from denizen.users.crud import find_user

app = typer.Typer(help="Look at sign-ins, and end them.")

COLUMNS: Final = ("id", "method", "device", "address", "created_at", "last_used_at", "expires_at")
Who = Annotated[str, typer.Argument(metavar="WHO", help="Id, e-mail address or username.", show_default=False)]


@app.command("list")
@command
async def list_(who: Who, as_json: Json = False) -> None:
    """List the open sign-ins of one person.

    Example: denizen sessions list ada@example.org
    """
    async with open_accounts() as accounts:
        at, reads = accounts.clock(), accounts.database.read
        async with reads.session() as db:
            user = await find_user(db, who)
        rows = await crud.list_sessions(reads, user.id, at=at, idle_since=service.idle_since_of(accounts, at))
    Output(as_json).table(map(_facts, rows), columns=COLUMNS, empty="No open sign-ins.")


def _facts(row: crud.Row) -> dict[str, Any]:
    return {name: value for name, value in show_session(row, current=None).items() if name != "current"}


@app.command()
@command
async def end(
    who: Who,
    session: Annotated[
        str | None, typer.Option("--id", help="Only this one: denizen sessions list.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """End the sign-ins of one person, at once.

    Example: denizen sessions end ada@example.org
    """
    async with open_accounts() as accounts:
        async with accounts.database.read.session() as db:
            user = await find_user(db, who)
        async with accounts.writing() as db:
            if session is None:
                ended = await states.end_sessions_of(db, user.id, caller=None)
            else:
                ended = await states.end_session(db, user.id, _id_of(session), reason="ended by the operator")
        Output(as_json).row({"id": user.id, "ended": ended}, title="Ended")


def _id_of(text: str) -> UUID:
    found = parse_id(text)
    if found is None:
        raise SessionNotFound("There is no sign-in of this id. Look it up: denizen sessions list WHO")
    return found
