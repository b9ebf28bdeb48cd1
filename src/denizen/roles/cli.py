"""`denizen roles ...`, and the two commands about accounts that tell of roles: `denizen users create | show`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from denizen.core.auth import SCOPES
from denizen.core.commands import Json, Output, ask_password, command, confirm, open_accounts
from denizen.core.errors import Invalid
from denizen.roles import crud, service
from denizen.roles.models import ADMIN, Role
from denizen.roles.schemas import READ_FIELDS, RoleCreate, RoleUpdate
from denizen.users.cli import OwnFields, Who, facts, named, own_fields, own_texts, states_of
from denizen.users.crud import find_user
from denizen.users.service import create_account

app = typer.Typer(help="Define roles, give and take them.")
users = typer.Typer()

COLUMNS = ("name", "permissions", "description", "is_built_in")

Name = Annotated[str, typer.Argument(metavar="ROLE", help="Its name.", show_default=False)]
May = Annotated[
    list[str] | None,
    typer.Option(help=f"What it allows: {', '.join(SCOPES)}, one of your own (notes:write), or *. Can be repeated."),
]


def _shown(role: Role | crud.Row) -> dict[str, Any]:
    row = crud.row_of(role) if isinstance(role, Role) else role
    return dict(zip(READ_FIELDS, row, strict=True))


def _permissions(given: Sequence[str] | None) -> set[str]:
    return {name for text in given or () for name in text.replace(",", " ").split()}


# --- Roles --------------------------------------------------------------------------------------------


@app.command("list")
@command
async def list_(as_json: Json = False) -> None:
    """List the roles there are, with what they allow.

    Example: denizen roles list
    """
    async with open_accounts() as accounts:
        rows = [_shown(row) for row in await crud.list_roles(accounts.database.read)]
    Output(as_json).table(rows, columns=COLUMNS, empty="No roles.")


@app.command()
@command
async def create(
    name: Annotated[str, typer.Argument(help="Lower-case: support.", show_default=False)],
    may: May = None,
    description: Annotated[str, typer.Option(help="For people.")] = "",
    as_json: Json = False,
) -> None:
    """Define a role: a name for a bundle of permissions.

    Example: denizen roles create support --may users:read --may users:write --description "Helps people out."
    """
    data = RoleCreate.model_validate({"name": name, "description": description, "permissions": _permissions(may)})
    async with open_accounts() as accounts:
        async with accounts.writing() as db:
            role = await service.define_role(db, data, caller=None, at=accounts.clock())
        Output(as_json).row(_shown(role), title="Created")


@app.command()
@command
async def edit(
    role: Name,
    may: May = None,
    may_nothing: Annotated[bool, typer.Option("--may-nothing", help="It allows nothing any more.")] = False,
    name: Annotated[str | None, typer.Option(help="New name.")] = None,
    description: Annotated[str | None, typer.Option(help="New description.")] = None,
    as_json: Json = False,
) -> None:
    """Change a role, at once for all who have it; where it allows less than before their sign-ins end.

    Example: denizen roles edit support --may users:read --may audit:read
    """
    if may and may_nothing:
        raise Invalid("Either --may or --may-nothing.")
    given: dict[str, Any] = {"name": name, "description": description}
    given["permissions"] = set[str]() if may_nothing else _permissions(may) or None
    data = RoleUpdate.model_validate({name: value for name, value in given.items() if value is not None})
    if not data.model_fields_set:
        raise Invalid("Nothing to change: say --may, --may-nothing, --name or --description.")
    async with open_accounts() as accounts:
        async with accounts.writing() as db:
            changed = await service.change_role(db, role, data, caller=None, at=accounts.clock())
        Output(as_json).row(_shown(changed), title="Changed")


@app.command()
@command
async def delete(
    role: Name, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False, as_json: Json = False
) -> None:
    """Delete a role: nobody has it any more, and the sign-ins of those who had it end.

    Example: denizen roles delete support
    """
    async with open_accounts() as accounts:
        confirm(f"Delete the role {role}?", yes=yes)
        async with accounts.writing() as db:
            await service.delete_role(db, role, caller=None)
        Output(as_json).row({"name": role, "deleted": True}, title="Deleted")


@app.command()
@command
async def grant(who: Who, role: Name, as_json: Json = False) -> None:
    """Give somebody a role, beside those that he has.

    Example: denizen roles grant ada@example.org support
    """
    async with open_accounts() as accounts:
        async with accounts.writing() as db:
            user = await find_user(db, who)
            held = await service.grant_roles(db, user.id, [role], caller=None, at=accounts.clock())
        Output(as_json).row({"id": user.id, "roles": [each.name for each in held]}, title="Granted")


@app.command()
@command
async def revoke(who: Who, role: Name, as_json: Json = False) -> None:
    """Take a role from somebody; his sign-ins end.

    Example: denizen roles revoke ada@example.org support
    """
    async with open_accounts() as accounts:
        async with accounts.writing() as db:
            user = await find_user(db, who)
            await service.revoke_role(db, user.id, role, caller=None, at=accounts.clock())
            held = await crud.list_held_roles(db, user.id)
        Output(as_json).row({"id": user.id, "roles": [each.name for each in held]}, title="Revoked")


# --- Accounts -----------------------------------------------------------------------------------------


@users.command("create")
@command
async def create_user(
    email: Annotated[str | None, typer.Option(help="E-mail address.")] = None,
    username: Annotated[str | None, typer.Option(help="Username.")] = None,
    full_name: Annotated[str | None, typer.Option(help="Full name.")] = None,
    external_id: Annotated[str | None, typer.Option(help="What another system calls this person.")] = None,
    profile: OwnFields = None,
    role: Annotated[list[str] | None, typer.Option(help="Give this role. Can be repeated.")] = None,
    admin: Annotated[bool, typer.Option("--admin", help="Give the role admin: may do everything.")] = False,
    inactive: Annotated[bool, typer.Option("--inactive", help="Cannot sign in yet.")] = False,
    no_password: Annotated[bool, typer.Option("--no-password", help="Nobody signs in to it with a password.")] = False,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Create an account. Asks for its password, which is never given as an argument.

    Example: denizen users create --username ada --email ada@example.org --full-name "Ada Lovelace"

    Example: denizen users create --email ada@example.org --admin

    Example: denizen users create --email ada@example.org --profile department=sales --profile level=7
    """
    data = named(username=username, email=email, full_name=full_name, external_id=external_id)
    roles, texts = {*(role or ()), *([ADMIN] if admin else ())}, own_texts(profile)
    password = None if no_password else ask_password(stdin=password_stdin)
    async with open_accounts() as accounts:
        async with accounts.writing() as db:
            user = await create_account(
                accounts,
                db,
                username=data.username,
                email=data.email,
                full_name=data.full_name,
                external_id=data.external_id,
                is_active=not inactive,
                password=password,
                profile=own_fields(accounts.profile, texts) if texts else None,
            )
            held = await service.grant_roles(db, user.id, roles, caller=None, at=accounts.clock())
        Output(as_json).row({**facts(user), "roles": [each.name for each in held]}, title="Created")


@users.command("show")
@command
async def show_user(
    who: Who,
    deleted: Annotated[bool, typer.Option("--deleted", help="Also one that is deleted and not yet erased.")] = False,
    as_json: Json = False,
) -> None:
    """Show one account: its fields and your own, what roles it has, whether it is suspended and why.

    Example: denizen users show ada@example.org
    """
    async with open_accounts() as accounts, accounts.database.read.session() as db:
        user = await find_user(db, who, deleted=deleted)
        held = await crud.list_held_roles(db, user.id)
        Output(as_json).row({**facts(user), **states_of(user), "roles": [each.name for each in held]})
