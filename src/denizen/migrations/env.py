"""What Alembic runs for `alembic upgrade`, `revision`, `check` and the rest; `denizen migrate` goes by `runner`.

The database is the one that `DENIZEN_DATABASE_URL` names. Migrations run as the runner's do: one at a time, in one
transaction, with what each database needs to be safe. Commands that only compare (`revision --autogenerate`, `check`)
take a database in memory where there is no SQLite file yet, so that they work in a fresh clone.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from logging.config import fileConfig
from typing import Any

from alembic import context
from sqlalchemy import Connection

from denizen.core.errors import DenizenError
from denizen.migrations.connections import looking, migrating
from denizen.migrations.environment import Steps, next_revision, options
from denizen.migrations.offline import scratch, write_sql
from denizen.migrations.references import guarded
from denizen.migrations.runner import status
from denizen.migrations.schema import SchemaKind
from denizen.settings import Settings, SettingsError

given: dict[str, Any] = context._proxy.context_opts  # type: ignore[attr-defined]  # noqa: SLF001  (which command this is)
moves = "destination_rev" in given
revision = given.get("revision_context")


def run_migrations_offline(settings: Settings) -> None:
    """Write SQL instead of running it (`--sql`), for the database that the settings name."""
    write_sql(
        context.script,
        given["fn"],
        dialect=settings.database_kind,
        start=given.get("starting_rev"),
        output=context.config.output_buffer or sys.stdout,
    )


def run_migrations_online(settings: Settings) -> None:
    """Run the command against the database, or against one in memory where it needs none."""
    guard: dict[str, Any] = {"fn": _guarded(given["fn"])} if moves else {}
    with connected(settings) as connection:
        context.configure(
            connection=connection,
            process_revision_directives=next_revision,
            dont_mutate=not moves,
            **options(),
            **guard,
        )
        context.run_migrations()


def _guarded(steps: Steps) -> Steps:
    return lambda heads, migration: guarded(steps(heads, migration), migration)


@contextmanager
def connected(settings: Settings) -> Iterator[Connection]:
    """Open what the command works on."""
    if moves:
        is_upgrade = given["fn"].__name__ == "upgrade"
        with migrating(settings.database_url, create=is_upgrade) as connection:
            yield connection
    elif needs_no_database(settings):
        with scratch(context.script, "head" if revision else "base") as connection:
            yield connection
    else:
        with looking(settings.database_url) as connection:
            yield connection


def needs_no_database(settings: Settings) -> bool:
    """Whether the command compares nothing, or there is nothing yet to compare with."""
    if revision is not None and not revision.command_args["autogenerate"]:
        return True
    absent = {SchemaKind.MISSING, SchemaKind.EMPTY}
    return settings.database_kind == "sqlite" and status(settings.database_url).kind in absent


if context.config.config_file_name is not None:
    fileConfig(context.config.config_file_name, disable_existing_loggers=False)
try:
    loaded = Settings.load()
    if context.is_offline_mode():
        run_migrations_offline(loaded)
    else:
        run_migrations_online(loaded)
except (DenizenError, SettingsError) as error:
    sys.exit(f"FAILED: {error}")
