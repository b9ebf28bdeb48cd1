"""Foreign keys of a host's tables that lead to ours, and what they keep from being taken back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from denizen.migrations.environment import run
from denizen.migrations.errors import MigrationRefused
from denizen.migrations.offline import scratch
from denizen.migrations.records import LABEL, is_ours

_ON_SQLITE = r"""
SELECT DISTINCT found.name, keys."table"
  FROM sqlite_master AS found JOIN pragma_foreign_key_list(found.name) AS keys
 WHERE found.type = 'table'
   AND found.name NOT LIKE 'denizen\_%' ESCAPE '\'
   AND keys."table" LIKE 'denizen\_%' ESCAPE '\'
 ORDER BY 1, 2
"""

_ON_POSTGRESQL = r"""
SELECT conrelid::regclass::text, theirs.conname, ours.relname
  FROM pg_catalog.pg_constraint AS theirs
  JOIN pg_catalog.pg_class AS ours ON ours.oid = confrelid
  JOIN pg_catalog.pg_class AS host ON host.oid = conrelid
 WHERE contype = 'f'
   AND conparentid = 0
   AND host.relname NOT LIKE 'denizen\_%'
   AND ours.relname LIKE 'denizen\_%'
   AND pg_catalog.pg_table_is_visible(confrelid)
 ORDER BY 1, 2
"""


@dataclass(frozen=True, slots=True)
class Reference:
    """A foreign key from outside.

    Attributes:
        table: the host's.
        constraint: its name, or its columns in parentheses where it has none, as on SQLite it may.
        target: the table of ours.
    """

    table: str
    constraint: str
    target: str


def references(connection: Connection) -> list[Reference]:
    """Find the foreign keys of others' tables that lead to ours."""
    if connection.dialect.name == "postgresql":
        return [Reference(*row) for row in connection.execute(text(_ON_POSTGRESQL))]
    inspector = inspect(connection)
    return [
        Reference(table, str(key["name"] or f"({', '.join(key['constrained_columns'])})"), target)
        for table, target in connection.execute(text(_ON_SQLITE)).all()
        for key in inspector.get_foreign_keys(table)
        if key["referred_table"] == target
    ]


def guarded(steps: Iterable[Any], context: MigrationContext) -> Iterator[Any]:
    """Give the steps on, until one would drop a table of ours that somebody else's points at.

    Looked at just before each step, since the host's own steps, which may come first, drop what they made. PostgreSQL
    would refuse by itself; SQLite would leave the host's rows pointing at nothing, or delete them.

    Raises:
        MigrationRefused: names the table and the constraint.
    """
    connection, scripts = context.connection, context.script
    made: dict[str, set[str]] = {}
    for step in steps:
        revision = getattr(step, "revision", None)  # a stamp has none
        ours_goes = revision is not None and step.is_downgrade and is_ours(revision)
        if ours_goes and connection is not None and scripts is not None and (found := references(connection)):
            if not made:
                made = _tables_made(scripts)
                Operations(context)._install_proxy()  # noqa: SLF001  (`op` is one for the process, and was used meanwhile)
            name = step.revision.revision
            held = [one for one in found if one.target in made[name]]
            if held:
                raise MigrationRefused(f"{name} cannot be taken back: {_in_words(held)}")
        yield step


def _in_words(held: list[Reference]) -> str:
    shown = "; ".join(f"{one.constraint} of the table {one.table} points at {one.target}" for one in held)
    return f"{shown}. Drop such foreign keys first, in a revision of the application's own. Nothing was changed."


def _tables_made(scripts: ScriptDirectory) -> dict[str, set[str]]:
    """Find which revision of ours makes which tables, by taking them on a database in memory."""
    made: dict[str, set[str]] = {}
    with scratch(scripts, "base") as connection:

        def noted(heads: Any, context: MigrationContext) -> Iterator[Any]:
            before: set[str] = set()
            for step in scripts._upgrade_revs(f"{LABEL}@head", heads):  # noqa: SLF001  (see runner)
                yield step
                there = set(inspect(connection).get_table_names())
                made[step.revision.revision] = there - before
                before = there

        run(connection, scripts, noted)
    return made
