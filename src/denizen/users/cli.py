"""`denizen users delete`; what tells of roles too is in the room of roles."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import typer

from denizen.core.commands import Json, Output, command, confirm, open_accounts
from denizen.users import crud, service
from denizen.users.models import User
from denizen.users.schemas import READ_FIELDS, UserUpdate

app = typer.Typer(help="Create, find, change and delete accounts; bring them in and take them out.")

Who = Annotated[str, typer.Argument(metavar="WHO", help="Id, e-mail address or username.", show_default=False)]
COLUMNS = ("id", "username", "email", "full_name", "is_active", "created_at")


def facts(user: User | crud.Row) -> dict[str, Any]:
    """Give an account by the names of its fields, for `Output`."""
    row = crud.row_of(user) if isinstance(user, User) else user
    return dict(zip(READ_FIELDS, row, strict=True))


def named(cleared: Iterable[str] = (), **options: Any) -> UserUpdate:
    """Check the options that were given, as the API checks a body."""
    given = {name: value for name, value in options.items() if value is not None}
    return UserUpdate.model_validate(given | dict.fromkeys(cleared))


@app.command()
@command
async def delete(
    who: Who,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Erase an account, at once and for good.

    Example: denizen users delete ada@example.org
    """
    async with open_accounts() as accounts:
        async with accounts.database.read.session() as db:
            user = await crud.find_user(db, who)
        confirm(f"Erase {user.username or user.email} ({user.id})?", yes=yes)
        async with accounts.writing() as db:
            await service.erase_user(db, user.id, versions=None)
        Output(as_json).row({"id": user.id, "deleted": True}, title="Deleted")
