"""`denizen users list | edit`: who is found, and changes of one or of all who match."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any, Final
from uuid import UUID

import typer

from denizen.core.accounts import Accounts
from denizen.core.commands import Json, Output, command, confirm, open_accounts, progress
from denizen.core.errors import Invalid
from denizen.core.ids import parse_id
from denizen.core.output import write_line
from denizen.core.profiles import FILTER
from denizen.directory import crud, service
from denizen.directory.schemas import MAX_IDS, UserFilter, UserQuery
from denizen.users.cli import (
    COLUMNS,
    OwnFields,
    OwnFilter,
    facts,
    named,
    own_fields,
    own_filters,
    own_texts,
    require_own,
)
from denizen.users.crud import find_user
from denizen.users.schemas import UserUpdate
from denizen.users.service import change_user

app = typer.Typer()


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
    profile: OwnFilter = None,
    count: Annotated[bool, typer.Option("--count", help="Also say how many there are in all.")] = False,
    deleted: Annotated[
        bool, typer.Option("--deleted", help="Those that are deleted and not yet erased; goes with --limit alone.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List accounts, a page at a time. With --json, standard error tells where the list goes on, as JSON too.

    Example: denizen users list --order-by=-created_at --limit 50

    Example: denizen users list --inactive --count

    Example: denizen users list --q lovel

    Example: denizen users list --profile department=sales
    """
    asked: dict[str, Any] = {
        "q": q,
        "limit": limit,
        "cursor": cursor,
        "is_active": active,
        "email": email,
        "username": username,
        "external_id": external_id,
    }
    asked |= {"count": "exact" if count else None, "order_by": order_by, **own_filters(profile)}
    # What was not said is not asked for: a search goes with few things.
    query = UserQuery.model_validate({name: value for name, value in asked.items() if value is not None})
    if deleted:
        await _list_deleted(query, Output(as_json))
        return
    async with open_accounts() as accounts:
        require_own(accounts.profile, query.own_fields)
        page = await service.list_users(accounts.database.read, accounts.cursors, query, accounts.profile)
    out = Output(as_json)
    out.table([facts(row) for row in page.rows], columns=COLUMNS, empty="No accounts.")
    if as_json and (page.total is not None or page.next_cursor is not None or page.cut):
        write_line({"next_cursor": page.next_cursor, "total": page.total, "cut": page.cut}, err=True)
    if page.total is not None:
        out.say(f"{page.total:,} in all.")
    if page.next_cursor is not None:
        out.say(f"More: --cursor {page.next_cursor}")
    if page.cut:
        out.say("More were found: type more, or say --limit.")


async def _list_deleted(query: UserQuery, out: Output) -> None:
    if query.model_fields_set - {"limit"}:
        raise Invalid("--deleted goes with --limit alone.")
    async with open_accounts() as accounts:
        rows = await crud.list_deleted(accounts.database.read, limit=query.limit)
    found = [dict(zip(crud.DELETED_FIELDS, row, strict=True)) for row in rows]
    out.table(found, columns=("id", "username", "email", "deleted_at", "erase_at"), empty="No deleted accounts.")


@app.command()
@command
async def edit(
    who: Annotated[
        str | None,
        typer.Argument(
            metavar="[WHO]", help="Id, e-mail address or username; nobody with --all-matching.", show_default=False
        ),
    ] = None,
    email: Annotated[str | None, typer.Option(help="New e-mail address.")] = None,
    username: Annotated[str | None, typer.Option(help="New username.")] = None,
    full_name: Annotated[str | None, typer.Option(help="New full name.")] = None,
    external_id: Annotated[str | None, typer.Option(help="New external id.")] = None,
    active: Annotated[
        bool | None, typer.Option("--activate/--deactivate", help="May sign in, or not.", show_default=False)
    ] = None,
    profile: OwnFields = None,
    clear: Annotated[
        list[str] | None,
        typer.Option(help="Empty a field: username, email, full_name or external_id. Can be repeated."),
    ] = None,
    all_matching: Annotated[
        bool, typer.Option("--all-matching", help="Change every account that --where-... matches.")
    ] = False,
    where_active: Annotated[
        bool | None,
        typer.Option("--where-active/--where-inactive", help="Match only those.", show_default=False),
    ] = None,
    where_created_from: Annotated[
        str | None, typer.Option(help="Match those created then or later: 2026-01-31T00:00:00Z.")
    ] = None,
    where_created_before: Annotated[str | None, typer.Option(help="Match those created earlier.")] = None,
    where_profile: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Match those with this value in a field of your own. Can be repeated."),
    ] = None,
    where_id: Annotated[list[str] | None, typer.Option(help="Match only this id. Can be repeated.")] = None,
    everybody: Annotated[bool, typer.Option("--everybody", help="Match all there are.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be changed.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Change an account, or all that match: what is given is set, the rest stays.

    Example: denizen users edit ada --full-name "Augusta Ada King" --clear external_id

    Example: denizen users edit ada --profile department=sales --profile level=

    Example: denizen users edit --all-matching --where-active --where-created-before 2020-01-01T00:00:00Z --deactivate

    Example: denizen users edit --all-matching --where-profile department=sales --profile department=revenue
    """
    if unknown := set(clear or ()) - {"username", "email", "full_name", "external_id"}:
        raise Invalid(f"--clear takes username, email, full_name or external_id, not {min(unknown)}.")
    texts = own_texts(profile)
    new = {"username": username, "email": email, "full_name": full_name, "external_id": external_id}
    data = named(clear or (), **new, is_active=active, profile=texts or None)
    if not data.model_fields_set:
        raise Invalid("Nothing to change: name a field, for example --full-name.")
    where = {
        "is_active": where_active,
        "created_at__gte": where_created_from,
        "created_at__lt": where_created_before,
        "id__in": _ids(where_id),
        **own_filters(where_profile),
    }
    where = {name: value for name, value in where.items() if value is not None}
    _check_aim(who, data, all_matching=all_matching, where=where, everybody=everybody, dry_run=dry_run)
    matching = UserFilter.model_validate(where)
    async with open_accounts() as accounts:
        if texts:
            data.profile = own_fields(accounts.profile, texts)
        if who is None:
            await _edit_all(accounts, matching, data, Output(as_json), dry_run=dry_run, yes=yes)
            return
        async with accounts.writing() as db:
            user = await find_user(db, who)
            row = await change_user(db, user.id, data, versions=None, at=accounts.clock())
        Output(as_json).row(facts(row), title="Changed")


# --- Many at once --------------------------------------------------------------------------------------

_SHOWN: Final = 10


def _ids(given: Sequence[str] | None) -> tuple[UUID, ...] | None:
    if not given:
        return None
    found = [parse_id(text) for text in given]
    if None in found:
        raise Invalid("--where-id takes an id, a UUIDv7. Look it up: denizen users show WHO", field="where_id")
    if len(found) > MAX_IDS:
        raise Invalid(f"--where-id can be repeated {MAX_IDS} times.", field="where_id")
    return tuple(user_id for user_id in found if user_id is not None)


def _check_aim(
    who: str | None,
    data: UserUpdate,
    *,
    all_matching: bool,
    where: Mapping[str, Any],
    everybody: bool,
    dry_run: bool,
) -> None:
    """Refuse what could change other accounts than were meant.

    Raises:
        Invalid: with a sentence.
    """
    if not all_matching:
        if where or everybody or dry_run:
            raise Invalid("--where-..., --everybody and --dry-run go with --all-matching.")
        if who is None:
            raise typer.BadParameter("Say whom to change: WHO, or --all-matching with --where-...")
        return
    if who is not None:
        raise Invalid("Either WHO is changed, or --all-matching: not both.")
    if everybody == bool(where):
        raise Invalid("--all-matching takes --where-... to say which accounts, or --everybody for all of them.")
    alike = data.model_fields_set - {"full_name", "is_active", "profile"}
    if alike - {"external_id"} or data.external_id is not None:
        raise Invalid(
            "No two accounts have the same username, e-mail address or external id, and none goes without both names: "
            "--all-matching takes --activate, --deactivate, --profile, --full-name, --clear full_name and --clear "
            "external_id."
        )


async def _edit_all(
    accounts: Accounts, matching: UserFilter, data: UserUpdate, out: Output, *, dry_run: bool, yes: bool
) -> None:
    """Show what would be changed, ask, and change it."""
    require_own(accounts.profile, matching.own_fields)
    change = service.ChangeOfMany(accounts, service.values_of(matching, accounts.profile), data)
    tally = await change.count()
    if tally.matched and not out.json:
        first = await change.first(_SHOWN)
        new = _flat(data.model_dump(include=data.model_fields_set))
        out.table([_preview(_flat(row), new) for row in first], columns=("id", "username", "email", *sorted(new)))
    out.say(f"{tally.matched:,} accounts match." if tally.matched else "No account matches.")
    if tally.matched and not dry_run:
        confirm(f"Change {tally.matched:,} accounts?", yes=yes)
        with progress("Changing", total=tally.matched, unit="accounts", quiet=out.json) as done:
            async for looked_at, refused in change.steps():
                for sentence in refused:
                    out.warn(sentence)
                done(looked_at)
    out.row({**asdict(tally), "dry_run": dry_run}, title=None if out.json else "Would change" if dry_run else "Changed")
    if tally.failed:
        raise typer.Exit(1)


def _flat(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Give own fields by themselves: `profile.department`."""
    own = {f"{FILTER}{name}": value for name, value in facts.get("profile", {}).items()}
    return {name: value for name, value in facts.items() if name != "profile"} | own


def _preview(row: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    changes = {
        name: f"{_word(row.get(name))} -> {_word(value)}" for name, value in new.items() if row.get(name) != value
    }
    return {**row, **changes}


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
