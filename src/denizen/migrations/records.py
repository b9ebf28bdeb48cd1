"""The rows of `denizen_schema`: what keeps them in step with Alembic's own table, whoever runs it.

Alembic's table is no record of ours once a host's revisions depend on ours: it keeps heads alone, and one that another
revision depends on is none. So what a database has is asked of the graph of revisions, and written down in our table,
which the server reads without having the graph.
"""

from __future__ import annotations

from collections.abc import Collection
from importlib.metadata import version
from typing import Any

from alembic.runtime.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from sqlalchemy import delete, insert, inspect, literal_column, select, type_coerce

from denizen.migrations.models import AppliedRevision

LABEL = "denizen"
"""Our branch of a history: `denizen@head`."""

_NOW = {
    "sqlite": "strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')",  # as `core.types.format_utc` writes; to the millisecond
    "postgresql": "now()",
}


def is_ours(script: Script) -> bool:
    """Whether a revision is Denizen's, and not its host's: by its name, since a host's merge of both branches, and all
    that follows it, inherit the label.
    """
    return script.revision.startswith(f"{LABEL}_")


def has_branch(scripts: ScriptDirectory) -> bool:
    """Whether a history includes ours."""
    return any(is_ours(scripts.get_revision(name)) for name in scripts.get_bases())


def implied(scripts: ScriptDirectory, heads: Collection[str]) -> list[Script]:
    """Give the revisions of ours that a database with these heads has, the oldest first."""
    if not heads:
        return []
    found = scripts.iterate_revisions(tuple(heads), "base", implicit_base=True)
    return [script for script in reversed(list(found)) if is_ours(script)]


def record_step(*, ctx: MigrationContext, step: Any, heads: set[str], **_: Any) -> None:
    """Write down what a step did, for Alembic's `on_version_apply`; written out with `--sql` too."""
    if step.is_stamp:
        _record_stamp(ctx, heads)
        return
    for script in step.up_revisions:
        if not is_ours(script):
            continue
        if step.is_upgrade:
            _insert(ctx, script)
        elif script.down_revision is not None:  # else the table itself is gone
            _delete(ctx, script.revision)


def mend_records(context: MigrationContext) -> None:
    """Let the rows say what the heads imply, whatever stood there: steps may have run without `record_step`."""
    _set(context, context.get_current_heads())


def recorded(context: MigrationContext) -> set[str]:
    """Give the ids in our table; none where there is no table."""
    connection = context.connection
    if connection is None or not inspect(connection).has_table(AppliedRevision.__tablename__):
        return set()
    return set(connection.scalars(select(AppliedRevision.revision)))


def _record_stamp(context: MigrationContext, heads: set[str]) -> None:
    if not context.as_sql:
        _set(context, heads)
    elif context.script is not None:
        context.execute(delete(AppliedRevision))
        for script in implied(context.script, heads):
            _insert(context, script)


def _set(context: MigrationContext, heads: Collection[str]) -> None:
    connection = context.connection
    if context.script is None or connection is None:
        return
    if not inspect(connection).has_table(AppliedRevision.__tablename__):
        return
    wanted = {script.revision: script for script in implied(context.script, heads)}
    found = recorded(context)
    for name in sorted(found - wanted.keys()):
        _delete(context, name)
    for name, script in wanted.items():
        if name not in found:
            _insert(context, script)


def _delete(context: MigrationContext, revision: str) -> None:
    context.execute(delete(AppliedRevision).where(AppliedRevision.revision == revision))


def _insert(context: MigrationContext, script: Script) -> None:
    now: Any = literal_column(_NOW[context.dialect.name])
    values = {
        "revision": script.revision,
        "breaking": script.module.breaking,
        "release": version("denizen"),
        "applied_at": type_coerce(now, AppliedRevision.applied_at.type),
    }
    context.execute(insert(AppliedRevision).values(**values))
