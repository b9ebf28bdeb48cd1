"""`denizen users suspend | unsuspend | delete | restore`; what tells of roles too is in the room of roles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import typer

from denizen.core.accounts import Accounts
from denizen.core.commands import Json, Output, command, confirm, open_accounts
from denizen.core.errors import Invalid
from denizen.core.profiles import FILTER, NO_PROFILE, Profile, ProfileInvalid, fault
from denizen.users import crud, states
from denizen.users.models import User
from denizen.users.schemas import READ_FIELDS, Suspension, UserUpdate

app = typer.Typer(help="Create, find, change and delete accounts; bring them in and take them out.")

Who = Annotated[str, typer.Argument(metavar="WHO", help="Id, e-mail address or username.", show_default=False)]
COLUMNS = ("id", "username", "email", "full_name", "is_active", "created_at")

OwnFields = Annotated[
    list[str] | None,
    typer.Option(
        "--profile",
        metavar="NAME=VALUE",
        help="Set a field of your own (DENIZEN_PROFILE); NAME= empties it. Can be repeated.",
    ),
]
OwnFilter = Annotated[
    list[str] | None,
    typer.Option(
        "--profile", metavar="NAME=VALUE", help="Only those with this value in a field of your own. Can be repeated."
    ),
]


def facts(user: User | crud.Row) -> dict[str, Any]:
    """Give an account by the names of its fields, for `Output`."""
    row = crud.row_of(user) if isinstance(user, User) else user
    return dict(zip(READ_FIELDS, row, strict=True))


def named(cleared: Iterable[str] = (), **options: Any) -> UserUpdate:
    """Check the options that were given, as the API checks a body."""
    given = {name: value for name, value in options.items() if value is not None}
    return UserUpdate.model_validate(given | dict.fromkeys(cleared))


def own_texts(given: Iterable[str] | None) -> dict[str, str]:
    """Read `NAME=VALUE` texts as values by name, whatever fields there are.

    Raises:
        Invalid: one is not of that form, or a name is there twice.
    """
    texts: dict[str, str] = {}
    for each in given or ():
        name, said, text = each.partition("=")
        if not said or not name.strip():
            raise Invalid("A field of your own is given as NAME=VALUE, such as department=sales.", field="profile")
        if texts.setdefault(name.strip(), text) != text:
            raise Invalid("A field of your own is given twice.", field="profile")
    return texts


def own_filters(given: Iterable[str] | None) -> dict[str, str]:
    """Read such texts as the parameters of a list."""
    return {f"{FILTER}{name}": text for name, text in own_texts(given).items()}


def own_fields(profile: Profile | None, texts: Mapping[str, str]) -> dict[str, Any]:
    """Give the values that texts mean as a change; an empty one empties its field.

    Raises:
        ProfileInvalid: see `require_own`; or one cannot be a value of its field.
    """
    known = require_own(profile, texts)
    return {name: known.read(name, text) if text else None for name, text in texts.items()} if known else {}


def require_own(profile: Profile | None, names: Iterable[str]) -> Profile | None:
    """Refuse fields that accounts do not have, naming those that they have.

    Raises:
        ProfileInvalid: there is no such field, or none at all.
    """
    asked = list(names)
    if profile is None and asked:
        raise ProfileInvalid(NO_PROFILE, field="profile")
    if profile is None or profile.takes_others:
        return profile
    if unknown := [name for name in asked if name not in profile.fields]:
        told = f"Accounts have no such field here; they have {', '.join(profile.fields)}."
        raise ProfileInvalid(told, field=fault(unknown[0], "", "").field)
    return profile


def states_of(user: User) -> dict[str, Any]:
    """Give what only those who look after accounts see, where there is something."""
    names = ("suspension_reason", "deleted_at", "erase_at")
    return {name: value for name in names if (value := getattr(user, name)) is not None}


@app.command()
@command
async def suspend(
    who: Who,
    reason: Annotated[str | None, typer.Option(help="Why; for administrators.")] = None,
    until: Annotated[str | None, typer.Option(help="When it ends by itself: 2026-03-01T00:00:00Z.")] = None,
    as_json: Json = False,
) -> None:
    """Suspend an account: nobody signs in to it, and its sign-ins end.

    Example: denizen users suspend ada --reason "Chargeback under review" --until 2026-03-01T00:00:00Z
    """
    given = {name: value for name, value in (("reason", reason), ("until", until)) if value is not None}
    said = Suspension.model_validate(given)
    async with open_accounts() as accounts:
        async with accounts.writing() as db:
            user = await crud.find_user(db, who)
            row = await states.suspend_user(db, user.id, reason=said.reason, until=said.until, at=accounts.clock())
        Output(as_json).row(facts(row), title="Suspended")


@app.command()
@command
async def unsuspend(who: Who, as_json: Json = False) -> None:
    """End a suspension.

    Example: denizen users unsuspend ada
    """
    async with open_accounts() as accounts:
        async with accounts.writing() as db:
            user = await crud.find_user(db, who)
            row = await states.unsuspend_user(db, user.id, at=accounts.clock())
        Output(as_json).row(facts(row), title="Not suspended")


@app.command()
@command
async def delete(
    who: Who,
    erase: Annotated[bool, typer.Option("--erase", help="For good, and at once.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show which rows of which tables it reaches.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Delete an account: it is hidden at once, and erased once DENIZEN_DELETE_GRACE (30 days) is over.

    With --erase it is erased now, one that waits for that too.

    Example: denizen users delete ada@example.org

    Example: denizen users delete ada --dry-run
    """
    async with open_accounts() as accounts:
        async with accounts.database.read.session() as db:
            user = await crud.find_user(db, who, deleted=erase)
        if dry_run:
            await _show_deletion(accounts, user, Output(as_json), erase=erase)
            return
        for_good = erase or not accounts.settings.delete_grace
        confirm(f"{'Erase' if for_good else 'Delete'} {user.username or user.email} ({user.id})?", yes=yes)
        async with accounts.writing() as db:
            at = await states.delete_user(accounts, db, user.id, versions=None, at=accounts.clock(), erase=erase)
        Output(as_json).row({"id": user.id, "deleted": True, "erase_at": at}, title="Erased" if for_good else "Deleted")


async def _show_deletion(accounts: Accounts, user: User, out: Output, *, erase: bool) -> None:
    """Print what deleting an account would do, a line for each table; with `--json` the whole as one line."""
    async with accounts.database.read.slow() as db:
        accounts.adopt(db)
        plan = await states.plan_deletion(accounts, db, user.id, versions=None, at=accounts.clock(), erase=erase)
    if out.json:
        out.row(plan)
        return
    rows = [
        {
            "table": each.table,
            "rows": f"{each.rows} or more" if each.more else each.rows,
            "action": each.action,
            "via": [f"({', '.join(way.columns)}) to {way.references}, ON DELETE {way.on_delete}" for way in each.via],
        }
        for each in plan.tables
    ]
    out.table(rows, columns=("table", "rows", "action", "via"))
    when = f"It would be erased at {plan.erased_at:%Y-%m-%d %H:%M:%S}Z."
    out.say("It would be refused: rows of other tables keep the account." if plan.refused else when)


@app.command()
@command
async def restore(who: Who, as_json: Json = False) -> None:
    """Restore an account that is deleted and not yet erased.

    Example: denizen users restore ada@example.org
    """
    async with open_accounts() as accounts:
        async with accounts.writing() as db:
            user = await crud.find_user(db, who, deleted=True)
            row = await states.restore_user(db, user.id, at=accounts.clock())
        Output(as_json).row(facts(row), title="Restored")
