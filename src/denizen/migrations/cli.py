"""`denizen migrate up | down | status | check | sql`: the schema, for operators."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import Annotated, Any

import typer

from denizen.core.commands import REFUSED, Json, Output, command, confirm, open_accounts, progress
from denizen.migrations import runner
from denizen.migrations.connections import MigrationOptions
from denizen.migrations.history import SHIPPED
from denizen.migrations.schema import SchemaState
from denizen.settings import Settings

app = typer.Typer(help="Bring the database to this release's schema, and back.")

_RELATIVE = {"ignore_unknown_options": True}  # `-1` is a revision: one back

Wait = Annotated[float, typer.Option(min=0, help="Seconds to wait for another migration, or for a writer on SQLite.")]
LockTimeout = Annotated[
    float | None,
    typer.Option(
        min=0.1,
        help="PostgreSQL: seconds that one statement may wait for a table in use.",
        show_default="DENIZEN_MIGRATION_LOCK_TIMEOUT",
    ),
]
NoCopy = Annotated[bool, typer.Option("--no-copy", help="SQLite: do not copy the file first.")]


class Dialect(StrEnum):
    """The two databases."""

    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"


def _options(
    settings: Settings, out: Output, *, wait: float, lock_timeout: float | None, copy: bool
) -> MigrationOptions:
    limit = settings.migration_lock_timeout if lock_timeout is None else lock_timeout
    return MigrationOptions(wait=wait, lock_timeout=limit, copy=copy, say=out.say)


def _tell(out: Output, outcome: runner.Outcome, state: SchemaState) -> None:
    if out.json:
        out.row({"steps": outcome.steps, "copy": outcome.copy, "state": state.kind, "revisions": state.applied})
        return
    if not outcome.steps:
        out.say("There was nothing to do.")
    out.say(state.sentence)


@app.command(context_settings=_RELATIVE)
@command
def up(
    revision: Annotated[str, typer.Argument(help="Where to go: a revision, +1, or head for the newest.")] = "head",
    wait: Wait = 600.0,
    lock_timeout: LockTimeout = None,
    no_copy: NoCopy = False,
    as_json: Json = False,
) -> None:
    """Bring the database up to date. All of it is done or nothing; a SQLite file is copied first, and the copy named.

    Example: denizen migrate up
    """
    settings, out = Settings.load(), Output(as_json)
    options = _options(settings, out, wait=wait, lock_timeout=lock_timeout, copy=not no_copy)
    outcome = runner.upgrade(settings.database_url, revision, options)
    state = runner.status(settings.database_url)
    _tell(out, outcome, state)
    if state.ready:
        asyncio.run(_fill_indexes(settings, out))


async def _fill_indexes(settings: Settings, out: Output) -> None:
    """Index the accounts of a database from before there was an index, for search and by own fields. Not in the
    migration, which would keep everybody from writing meanwhile; where this is cut off, the next `up` or
    `denizen search rebuild` and `denizen profiles rebuild` go on.
    """
    from denizen.profiles.service import glance_at_values, rebuild_values
    from denizen.search.service import glance_at_index, rebuild_index

    async with open_accounts(settings) as accounts:
        if (await glance_at_index(accounts.database, most=1)).missing:
            with progress("Indexing for search", unit="accounts", quiet=out.json) as done:
                await rebuild_index(accounts, done)
        if (await glance_at_values(accounts.database, most=1)).stale:
            with progress("Indexing own fields", unit="accounts", quiet=out.json) as done:
                await rebuild_values(accounts, done)


@app.command(context_settings=_RELATIVE)
@command
def down(
    revision: Annotated[
        str, typer.Argument(help="Where to go: a revision, -1, or base for nothing at all.", show_default=False)
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    wait: Wait = 600.0,
    lock_timeout: LockTimeout = None,
    no_copy: NoCopy = False,
    as_json: Json = False,
) -> None:
    """Take the database back to an earlier revision. What only the later ones can hold is lost.

    Example: denizen migrate down denizen_0001
    """
    settings, out = Settings.load(), Output(as_json)
    confirm(f"Take {settings.database_shown} back to {revision}? Data may be lost.", yes=yes)
    options = _options(settings, out, wait=wait, lock_timeout=lock_timeout, copy=not no_copy)
    outcome = runner.downgrade(settings.database_url, revision, options)
    _tell(out, outcome, runner.status(settings.database_url))


@app.command()
@command
def status(as_json: Json = False) -> None:
    """Say how the database stands to this release, and list the revisions. Exits with 1 when the release cannot use it.

    Example: denizen migrate status
    """
    settings, out = Settings.load(), Output(as_json)
    state = runner.status(settings.database_url)
    if as_json:
        out.row(_facts(settings, state))
    else:
        out.table(_revisions(state), columns=["revision", "applied", "breaking", "summary"])
        out.say(f"{settings.database_shown}: {state.sentence}")
        if state.together:
            out.say("The Alembic of an application migrates it, together with the application's own tables.")
    if not state.ready:
        raise typer.Exit(REFUSED)


def _facts(settings: Settings, state: SchemaState) -> dict[str, Any]:
    return {
        "database": settings.database_shown,
        "state": state.kind,
        "ready": state.ready,
        "together": state.together,
        "detail": state.sentence,
        "revisions": _revisions(state),
    }


def _revisions(state: SchemaState) -> list[dict[str, Any]]:
    known = [
        {"revision": one.id, "applied": one.id in state.applied, "breaking": one.breaking, "summary": one.summary}
        for one in SHIPPED.revisions
    ]
    later = "(of another release)"
    return known + [
        {"revision": name, "applied": True, "breaking": name in state.breaking, "summary": later}
        for name in state.unknown
    ]


@app.command()
@command
def check(as_json: Json = False) -> None:
    """Compare the tables themselves with what this release expects. Exits with 1 when anything differs.

    Example: denizen migrate check
    """
    settings, out = Settings.load(), Output(as_json)
    found = runner.check(settings.database_url)
    if as_json:
        out.row({"database": settings.database_shown, "differences": found})
    else:
        for sentence in found:
            out.line(sentence)
        out.say(
            "Nothing differs." if not found else f"{settings.database_shown} differs from what this release expects."
        )
    if found:
        raise typer.Exit(REFUSED)


@app.command()
@command
def sql(
    start: Annotated[str, typer.Option("--from", help="The revision that the database has; base for none.")] = "base",
    end: Annotated[str, typer.Option("--to", help="The revision to bring it to.")] = "head",
    dialect: Annotated[
        Dialect | None, typer.Option(help="For which database.", show_default="that of DENIZEN_DATABASE_URL")
    ] = None,
) -> None:
    """Print a migration as SQL, for those who run it by hand. Needs no database and touches none.

    Example: denizen migrate sql --dialect postgresql | psql --set ON_ERROR_STOP=1 accounts
    """
    chosen = dialect.value if dialect else Settings.load().database_kind
    Output().line(runner.sql(start, end, chosen).rstrip())
