"""Migrations written out as SQL, for those who run it by hand.

Alembic cannot write down how a table is rebuilt on SQLite, since it has to look at the table first. So for SQLite the
steps are taken for real, on a database in memory, and what they run is noted down.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any, Literal, TextIO

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, NullPool, create_engine

from denizen.migrations.connections import ADVISORY_LOCK
from denizen.migrations.environment import Steps, options, run

_LOOKING = ("SELECT", "PRAGMA", "BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "--")
"""What statements begin with that only look, or that belong to the scratch database alone."""


def write_sql(
    scripts: ScriptDirectory,
    steps: Steps,
    *,
    dialect: Literal["sqlite", "postgresql"],
    start: str | None,
    output: TextIO,
    opts: Mapping[str, Any] | None = None,
) -> None:
    """Write the SQL of some steps, in one transaction.

    Args:
        scripts: where the steps are from.
        steps: as for `environment.run`.
        dialect: for which database.
        start: the revision that the database has; none for an empty one.
        output: where to write.
        opts: for `MigrationContext`, where they are not our own.
    """
    if dialect == "sqlite":
        _write_for_sqlite(scripts, steps, start, output, opts or {})
    else:
        _write_for_postgresql(scripts, steps, start, output, opts or {})


def _write_for_postgresql(
    scripts: ScriptDirectory, steps: Steps, start: str | None, output: TextIO, opts: Mapping[str, Any]
) -> None:
    context = MigrationContext.configure(
        dialect_name="postgresql",
        dialect_opts={"paramstyle": "named"},  # else every % is doubled
        opts={
            **options(),
            **opts,
            "script": scripts,
            "fn": steps,
            "as_sql": True,
            "literal_binds": True,
            "output_buffer": output,
            "starting_rev": start,
        },
    )
    with context.begin_transaction(), Operations.context(context):
        context.execute("SET LOCAL statement_timeout = 0")
        context.execute("SET LOCAL lock_timeout = '5s'")
        context.execute(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})")
        context.run_migrations()


def _write_for_sqlite(
    scripts: ScriptDirectory, steps: Steps, start: str | None, output: TextIO, opts: Mapping[str, Any]
) -> None:
    with scratch(scripts, start or "base", **opts) as connection:
        noted: list[str] = []

        def note(statement: str) -> None:
            if not statement.lstrip().upper().startswith(_LOOKING):
                noted.append(f"{statement.strip()};")

        def announced(heads: Any, context: MigrationContext) -> Iterator[Any]:
            for step in steps(heads, context):
                noted.append(f"-- Running {step.short_log}")
                yield step

        driver: sqlite3.Connection = connection.connection.driver_connection  # type: ignore[assignment]  # ours is sqlite3
        driver.set_trace_callback(note)
        run(connection, scripts, announced, **opts)
        driver.set_trace_callback(None)
    before = ["PRAGMA foreign_keys=OFF;", "BEGIN IMMEDIATE;"]
    after = ["COMMIT;", "PRAGMA foreign_key_check;", "PRAGMA foreign_keys=ON;"]
    output.write("\n\n".join([*before, *noted, *after]) + "\n")


@contextmanager
def scratch(scripts: ScriptDirectory, revision: str, **opts: Any) -> Iterator[Connection]:
    """Give a SQLite database in memory that is at `revision`, in a transaction; `base` for an empty one."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as driver:
        engine = create_engine("sqlite://", creator=lambda: driver, poolclass=NullPool)
        with engine.connect() as connection, connection.begin():
            connection.exec_driver_sql("BEGIN")
            if revision != "base":
                run(connection, scripts, lambda heads, _: scripts._upgrade_revs(revision, heads), **opts)  # noqa: SLF001  (see runner)
            yield connection
