"""The `denizen` command: its own commands, and those that the rooms contribute."""

from __future__ import annotations

import asyncio
import gc
import json
import platform
import secrets
import sqlite3
import sys
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from denizen.core.commands import (
    MISUSED,
    REFUSED,
    Json,
    Output,
    command,
    compose,
    exit_codes,
    reach,
    refuse_passwords,
)

if TYPE_CHECKING:
    from denizen.settings import Settings

SHARED: dict[str, Any] = {
    "no_args_is_help": True,
    "rich_markup_mode": "rich",
    "context_settings": {"help_option_names": ["-h", "--help"]},
    "pretty_exceptions_enable": False,  # they would print local variables, passwords among them
}


GROUPS = {
    "users": "Create, find, change and delete accounts; bring them in and take them out.",
    "roles": "Define roles, give and take them.",
    "search": "Check the search index, and rebuild it.",
    "profiles": "Check what accounts are found by of their own fields, and mend it.",
    "keys": "Make, list and revoke API keys.",
    "invitations": "Invite people, look at invitations, take them back.",
    "sessions": "Look at sign-ins, and end them.",
    "jobs": "Look at long work: imports.",
    "mail": "Look at mails, and send them.",
    "audit": "Look at what happened.",
    "signing-keys": "Look at the keys that sign access tokens, and change them.",
    "housekeeping": "Delete what has expired.",
    "migrate": "Bring the database to this release's schema, and back.",
}
"""The groups of the rooms with their lines of help; written out, so that help need not load what they stand on."""


def main() -> None:
    """Run the command line of this process, and end the process with the exit code."""
    gc.disable()  # modules are no garbage, and to look for some among them takes a tenth of the time of loading them
    arguments = sys.argv[1:]
    try:
        with exit_codes():
            refuse_passwords(arguments)
            program = build(*wanted(arguments))
    except typer.Exit as ended:
        sys.exit(MISUSED if ended.exit_code == REFUSED else ended.exit_code)
    gc.freeze()
    gc.enable()
    program(prog_name="denizen")


def wanted(arguments: Sequence[str]) -> tuple[AbstractSet[str], str]:
    """The groups that a command line needs, and the command if it is named right after one: loading takes long.

    Without arguments it is all of them, since that is how a shell asks for completions.
    """
    if not arguments:
        return GROUPS.keys(), ""
    place = next((place for place, argument in enumerate(arguments) if not argument.startswith("-")), len(arguments))
    group, named, *_ = (*arguments[place : place + 2], "", "")
    return GROUPS.keys() & {group}, named


def build(load: AbstractSet[str] = frozenset(GROUPS), named: str = "") -> typer.Typer:
    """Assemble the program from its own commands and the rooms' groups; those not in `load` are there by name alone.

    Where a command is named, those of other rooms in its group may be missing.
    """
    program = typer.Typer(**SHARED, help=_HELP)
    program.callback()(_options)
    for function in (serve, init, settings, doctor, openapi, version):
        program.command()(function)
    loaded = _merge(load, named) if load else {}
    for name, line in GROUPS.items():
        program.add_typer(loaded.get(name) or typer.Typer(help=line), name=name)
    return program


def _merge(names: AbstractSet[str], named: str) -> dict[str, typer.Typer]:
    """Load groups, and make one of those with the same name: `users import` and `users list` are of two rooms."""
    from denizen.features import FEATURES
    from denizen.migrations.feature import FEATURE as MIGRATIONS

    compose(FEATURES)
    merged: dict[str, typer.Typer] = {}
    groups = [group for feature in (*FEATURES, MIGRATIONS) for group in feature.commands if group.name in names]
    for group in [group for group in groups if named in group.commands] or groups:
        merged.setdefault(group.name, typer.Typer(**SHARED, help=GROUPS[group.name]))
        merged[group.name].registered_commands += group.load().registered_commands
    return merged


_HELP = """Accounts for your applications, on SQLite or PostgreSQL.

Begin with: denizen serve

What is set by DENIZEN_* in the environment or in the file .env: denizen settings
"""


def _show_version(wanted: bool) -> None:
    from importlib.metadata import version as version_of

    if wanted:
        typer.echo(f"denizen {version_of('denizen')}")
        raise typer.Exit


def _options(
    _: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


@command
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.", show_default="8000")] = None,
    workers: Annotated[int | None, typer.Option(help="Server processes.", show_default="1")] = None,
    reload: Annotated[bool, typer.Option("--reload", help="Start again when a source file changes.")] = False,
    access_log: Annotated[bool | None, typer.Option("--access-log/--no-access-log", help="Log every request.")] = None,
) -> None:
    """Run the server. It makes the SQLite database if there is none, and while there is no administrator a link.

    Example: denizen serve

    Example: denizen serve --host 0.0.0.0 --port 80 --workers 4
    """
    from denizen.settings import Settings

    chosen = Settings.load(host=host, port=port, workers=workers, access_log=access_log)
    if reload and chosen.workers > 1:
        raise typer.BadParameter("goes with one worker only", param_hint="--reload")
    asyncio.run(_check_start(chosen))
    from denizen.core.protocol import ServerLimits
    from denizen.core.server import run
    from denizen.metrics.values import shared_figures

    limits = ServerLimits(
        max_head=chosen.max_header_size,
        header_timeout=chosen.header_timeout,
        body_timeout=chosen.body_timeout,
        keep_alive=chosen.keep_alive_timeout,
        max_connections=chosen.max_connections,
        open_paths=frozenset({f"{chosen.prefix}/healthz"}),
        grace=chosen.shutdown_timeout,
    )
    chosen.hand_to_children()  # the application reads its settings itself, in this process or in workers
    with shared_figures(chosen) as bury:
        run(
            "denizen.main:app",
            host=chosen.host,
            port=chosen.port,
            workers=chosen.workers,
            reload=reload,
            limits=limits,
            log_level=chosen.log_level.upper(),
            log_format=chosen.log_format,
            docs_path=f"{chosen.prefix}/docs",
            on_death=bury,
        )


async def _check_start(settings: Settings) -> None:
    """Refuse with a sentence what would end a server, or each of its workers, with a traceback."""
    from denizen.core.assembly import find_profile
    from denizen.core.database import Database
    from denizen.core.options import DatabaseOptions
    from denizen.core.secret import load_secret
    from denizen.migrations.schema import require_ready, schema_state

    load_secret(settings)
    find_profile(settings)
    path = settings.sqlite_path
    if path is not None and not path.exists():
        return  # the server makes it
    database = Database(settings.database_url, DatabaseOptions.of(settings))
    try:
        await reach(database)
        require_ready(await schema_state(database))
    finally:
        await database.close()


@command
def init(
    folder: Annotated[Path, typer.Argument(help="The application's project.", show_default="this one")] = Path(),
    models: Annotated[
        str, typer.Option(metavar="MODULE:CLASS", help="The base class of its models, as notes.models:Base.")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing; tell what would be written.")] = False,
    as_json: Json = False,
) -> None:
    """Write what an application needs that has Denizen inside: Alembic for both, settings, a secret. Changes no file.

    Example: denizen init --models notes.models:Base

    Example: denizen init ../notes --dry-run
    """
    from denizen.starter import Did, write_project

    out = Output(as_json)
    pieces = write_project(folder.absolute(), models=models, dry_run=dry_run)
    out.table(pieces, columns=["path", "did"])
    if as_json:
        return
    for piece in pieces:
        if piece.advice:
            out.line(f"\n{piece.path}: {piece.advice}")
    if not any(piece.did is Did.WRITTEN for piece in pieces):
        out.say("There was nothing to write.")
    elif dry_run:
        out.say("Nothing was written.")
    if not any(piece.advice for piece in pieces):
        out.say("Next, in that folder: alembic upgrade heads")


@command
def settings(as_json: Json = False) -> None:
    """Show every setting, and whether it comes from the environment, from .env or is the default. Secrets are masked.

    Example: denizen settings

    Example: denizen settings --json | grep PORT
    """
    from denizen.settings import Settings

    rows = Settings.load().sources()
    Output(as_json).table(rows, columns=["name", "value", "source"])


@command
async def doctor(as_json: Json = False) -> None:
    """Look for what is wrong with this installation, and say what to do. Exits with 1 when something has to be done.

    Example: denizen doctor

    Example: denizen doctor --json
    """
    from denizen.core.database import Database
    from denizen.core.options import DatabaseOptions
    from denizen.doctor import State, examine
    from denizen.settings import Settings

    chosen = Settings.load()
    database = Database(chosen.database_url, DatabaseOptions.of(chosen))
    try:
        findings = [finding async for finding in examine(chosen, database)]
    finally:
        await database.close()
    Output(as_json).table(findings, columns=["state", "check", "found", "advice"])
    if any(finding.state is State.FAIL for finding in findings):
        raise typer.Exit(REFUSED)


@command
def openapi(
    output: Annotated[Path | None, typer.Option(help="File to write instead of standard output.")] = None,
) -> None:
    """Print the OpenAPI document of the HTTP API, for makers of clients. Needs no database.

    Example: denizen openapi --output openapi.json
    """
    from denizen.app import create_app
    from denizen.settings import Settings

    # The secret signs nothing here; with one of its own no file is made, and none is missed on PostgreSQL.
    app = create_app(Settings.load(secret_key=secrets.token_urlsafe(32)))
    document = json.dumps(app.openapi(), indent=2, ensure_ascii=False)
    if output is None:
        typer.echo(document)
    else:
        output.write_text(document + "\n", encoding="utf-8")


@command
def version(as_json: Json = False) -> None:
    """Print the versions of Denizen and of what it stands on.

    Example: denizen version --json
    """
    from importlib.metadata import version as version_of

    packages = ("denizen", "fastapi", "sqlalchemy", "psycopg", "pydantic", "uvicorn")
    facts = {name: version_of(name) for name in packages}
    Output(as_json).row(facts | {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version})
