"""How Alembic is set up here, for `env.py` and for `runner` alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.metadata import version
from typing import Any, Literal

from alembic.autogenerate.api import AutogenContext
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, delete, insert, literal_column, type_coerce
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.types import TypeDecorator

from denizen.core.base import Base
from denizen.keys import models as keys_models
from denizen.migrations.models import VERSION_TABLE, AppliedRevision
from denizen.users import models as users_models

ROOMS = (users_models, keys_models)
"""The rooms with tables. To import their models is what puts them into the metadata (a test looks that none is missing)."""

METADATA: MetaData = Base.metadata

_NOW = {
    "sqlite": "strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')",  # as `core.types.format_utc` writes; to the millisecond
    "postgresql": "now()",
}

Steps = Callable[[Any, MigrationContext], Iterable[Any]]


def options() -> dict[str, Any]:
    """What `MigrationContext` and `EnvironmentContext.configure` are told, apart from the connection."""
    return {
        "target_metadata": METADATA,
        "version_table": VERSION_TABLE,
        "transactional_ddl": True,  # on SQLite too: its driver's own BEGIN is off (see `connections`)
        "render_as_batch": True,  # one history: what was generated on PostgreSQL must run on SQLite
        "compare_type": True,
        "include_name": _is_ours,
        "render_item": _render_type,
        "on_version_apply": (_record,),
    }


def run(connection: Connection, scripts: ScriptDirectory, steps: Steps, **more: Any) -> None:
    """Run migration steps on `connection`, whose transaction stays the caller's.

    Args:
        connection: with a transaction open.
        scripts: where the steps are from.
        steps: gives them, told the current heads; it may watch them being taken by giving a generator.
        more: for `MigrationContext`.
    """
    context = MigrationContext.configure(connection, opts={**options(), "script": scripts, "fn": steps, **more})
    with Operations.context(context):
        context.run_migrations()


def _is_ours(name: str | None, kind: str, parents: Any) -> bool:
    """Leave a host's tables in the same database alone."""
    return kind != "table" or (name or "").startswith("denizen_")


def _render_type(kind: str, item: Any, context: AutogenContext) -> str | Literal[False]:
    """Write our column types as the plain ones they stand for, so that old revisions never change with our code."""
    if kind != "type" or not isinstance(item, TypeDecorator):
        return False
    plain = []
    for name in ("sqlite", "postgresql"):
        dialect = DefaultDialect()
        dialect.name = name
        plain.append(f"sa.{item.load_dialect_impl(dialect)!r}")
    return plain[0] if plain[0] == plain[1] else f"{plain[0]}.with_variant({plain[1]}, 'postgresql')"


def _record(*, ctx: MigrationContext, step: Any, heads: set[str], **_: Any) -> None:
    """Keep `denizen_schema` in step with Alembic's own table; written out with `--sql` too."""
    if step.is_upgrade:
        for script in step.up_revisions:
            if hasattr(script.module, "breaking"):  # a host's revisions have none
                ctx.impl._exec(_recorded(script, ctx.dialect.name))  # noqa: SLF001  (as Alembic does, online and offline)
    elif heads:  # else the table itself is gone
        gone = [script.revision for script in step.up_revisions]
        for name in gone:
            ctx.impl._exec(delete(AppliedRevision).where(AppliedRevision.revision == name))  # noqa: SLF001


def _recorded(script: Any, dialect: str) -> Any:
    return insert(AppliedRevision).values(
        revision=script.revision,
        breaking=script.module.breaking,
        release=version("denizen"),
        applied_at=type_coerce(literal_column(_NOW[dialect]), AppliedRevision.applied_at.type),
    )
