"""`denizen users password-link`."""

from __future__ import annotations

from typing import Annotated

import typer

from denizen.account import service
from denizen.core.commands import Json, Output, command, open_accounts
from denizen.users import crud

app = typer.Typer(help="Create, find, change and delete accounts; bring them in and take them out.")


@app.command("password-link")
@command
async def password_link(
    who: Annotated[str, typer.Argument(metavar="WHO", help="Id, e-mail address or username.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Send the owner of an account a link for a new password. Nobody else gets to see it.

    Example: denizen users password-link ada@example.org
    """
    async with open_accounts() as accounts:
        async with accounts.database.read.session() as db:
            user = await crud.find_user(db, who)
        async with accounts.writing() as db:
            await service.send_password_link(accounts, db, user.id, caller=None, at=accounts.clock())
        Output(as_json).row({"id": user.id, "email": user.email, "sent": True}, title="Password link")
