"""`denizen users create | list | show | edit | delete`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import typer

from denizen.core.commands import Json, Output, ask_password, command, confirm, open_accounts
from denizen.core.errors import Invalid
from denizen.core.output import write_line
from denizen.users import crud, service
from denizen.users.models import User
from denizen.users.schemas import READ_FIELDS, UserQuery, UserUpdate

app = typer.Typer(help="Create, find, change and delete accounts; bring them in and take them out.")

Who = Annotated[str, typer.Argument(metavar="WHO", help="Id, e-mail address or username.", show_default=False)]
COLUMNS = ("id", "username", "email", "full_name", "is_active", "created_at")


def _facts(user: User | crud.Row) -> dict[str, Any]:
    row = crud.row_of(user) if isinstance(user, User) else user
    return dict(zip(READ_FIELDS, row, strict=True))


def _named(cleared: Iterable[str] = (), **options: Any) -> UserUpdate:
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
    data = _named(username=username, email=email, full_name=full_name, external_id=external_id)
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
        Output(as_json).row(_facts(user), title="Created")


@app.command("list")
@command
async def list_(
    q: Annotated[
        str | None, typer.Option("--q", help="Search: parts of names, in any script; the best come first.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 20,
    cursor: Annotated[str | None, typer.Option(help="Where the last page ended.")] = None,
    order_by: Annotated[
        str | None,
        typer.Option(help="id, created_at, updated_at, username or email; - for descending.", show_default="id"),
    ] = None,
    active: Annotated[bool | None, typer.Option("--active/--inactive", help="Only those.", show_default=False)] = None,
    email: Annotated[str | None, typer.Option(help="Only this e-mail address, in any case.")] = None,
    username: Annotated[str | None, typer.Option(help="Only this username, in any case.")] = None,
    external_id: Annotated[str | None, typer.Option(help="Only this external id.")] = None,
    count: Annotated[bool, typer.Option("--count", help="Also say how many there are in all.")] = False,
    as_json: Json = False,
) -> None:
    """List accounts, a page at a time. With --json, standard error tells where the list goes on, as JSON too.

    Example: denizen users list --order-by=-created_at --limit 50

    Example: denizen users list --inactive --count

    Example: denizen users list --q lovel
    """
    asked = {
        "q": q,
        "limit": limit,
        "cursor": cursor,
        "is_active": active,
        "email": email,
        "username": username,
        "external_id": external_id,
    }
    asked |= {"count": "exact" if count else None, "order_by": order_by}
    # What was not said is not asked for: a search goes with few things.
    query = UserQuery.model_validate({name: value for name, value in asked.items() if value is not None})
    async with open_accounts() as accounts:
        page = await service.list_users(accounts.database.read, accounts.cursors, query)
    out = Output(as_json)
    out.table([_facts(row) for row in page.rows], columns=COLUMNS, empty="No accounts.")
    if as_json and (page.total is not None or page.next_cursor is not None or page.cut):
        write_line({"next_cursor": page.next_cursor, "total": page.total, "cut": page.cut}, err=True)
    if page.total is not None:
        out.say(f"{page.total:,} in all.")
    if page.next_cursor is not None:
        out.say(f"More: --cursor {page.next_cursor}")
    if page.cut:
        out.say("More were found: type more, or say --limit.")


@app.command()
@command
async def show(who: Who, as_json: Json = False) -> None:
    """Show one account.

    Example: denizen users show ada@example.org
    """
    async with open_accounts() as accounts, accounts.database.read.session() as db:
        Output(as_json).row(_facts(await crud.find_user(db, who)))


@app.command()
@command
async def edit(
    who: Who,
    email: Annotated[str | None, typer.Option(help="New e-mail address.")] = None,
    username: Annotated[str | None, typer.Option(help="New username.")] = None,
    full_name: Annotated[str | None, typer.Option(help="New full name.")] = None,
    external_id: Annotated[str | None, typer.Option(help="New external id.")] = None,
    active: Annotated[
        bool | None, typer.Option("--activate/--deactivate", help="May sign in, or not.", show_default=False)
    ] = None,
    clear: Annotated[
        list[str] | None,
        typer.Option(help="Empty a field: username, email, full_name or external_id. Can be repeated."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Change an account: what is given is set, the rest stays.

    Example: denizen users edit ada --full-name "Augusta Ada King" --clear external_id
    """
    if unknown := set(clear or ()) - {"username", "email", "full_name", "external_id"}:
        raise Invalid(f"--clear takes username, email, full_name or external_id, not {min(unknown)}.")
    data = _named(
        clear or (), username=username, email=email, full_name=full_name, external_id=external_id, is_active=active
    )
    if not data.model_fields_set:
        raise Invalid("Nothing to change: name a field, for example --full-name.")
    async with open_accounts() as accounts:
        async with accounts.writing() as db:
            user = await crud.find_user(db, who)
            row = await service.change_user(db, user.id, data, versions=None, at=accounts.clock())
        Output(as_json).row(_facts(row), title="Changed")


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
