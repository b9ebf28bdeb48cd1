"""`denizen users create | show | delete`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import typer

from denizen.core.commands import Json, Output, ask_password, command, confirm, open_accounts
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
async def create(
    email: Annotated[str | None, typer.Option(help="E-mail address.")] = None,
    username: Annotated[str | None, typer.Option(help="Username.")] = None,
    full_name: Annotated[str | None, typer.Option(help="Full name.")] = None,
    external_id: Annotated[str | None, typer.Option(help="What another system calls this person.")] = None,
    inactive: Annotated[bool, typer.Option("--inactive", help="Cannot sign in yet.")] = False,
    no_password: Annotated[bool, typer.Option("--no-password", help="Nobody signs in to it with a password.")] = False,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Create an account. Asks for its password, which is never given as an argument.

    Example: denizen users create --username ada --email ada@example.org --full-name "Ada Lovelace"
    """
    data = named(username=username, email=email, full_name=full_name, external_id=external_id)
    password = None if no_password else ask_password(stdin=password_stdin)
    async with open_accounts() as accounts:
        async with accounts.writing() as db:
            user = await service.create_account(
                accounts,
                db,
                username=data.username,
                email=data.email,
                full_name=data.full_name,
                external_id=data.external_id,
                is_active=not inactive,
                password=password,
            )
        Output(as_json).row(facts(user), title="Created")


@app.command()
@command
async def show(who: Who, as_json: Json = False) -> None:
    """Show one account.

    Example: denizen users show ada@example.org
    """
    async with open_accounts() as accounts, accounts.database.read.session() as db:
        Output(as_json).row(facts(await crud.find_user(db, who)))


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
