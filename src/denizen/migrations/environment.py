"""How Alembic is set up here, for `env.py` and for `runner` alike."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from importlib.metadata import version
from typing import Any, Literal

from alembic.autogenerate.api import AutogenContext
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, delete, insert, inspect, literal_column, type_coerce
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.types import TypeDecorator

from denizen.audit import models as audit_models
from denizen.core.base import Base
from denizen.housekeeping import models as housekeeping_models
from denizen.idempotency import models as idempotency_models
from denizen.invitations import models as invitations_models
from denizen.jobs import models as jobs_models
from denizen.keys import models as keys_models
from denizen.limits import models as limits_models
from denizen.mail import models as mail_models
from denizen.migrations.models import VERSION_TABLE, AppliedRevision
from denizen.onetime import models as onetime_models
from denizen.refresh import models as refresh_models
from denizen.roles import models as roles_models
from denizen.search import models as search_models
from denizen.sessions import models as sessions_models
from denizen.signing import models as signing_models
from denizen.users import models as users_models

ROOMS = (
    users_models,
    search_models,
    idempotency_models,
    limits_models,
    housekeeping_models,
    jobs_models,
    mail_models,
    roles_models,
    onetime_models,
    signing_models,
    sessions_models,
    refresh_models,
    keys_models,
    invitations_models,
    audit_models,
)
"""The rooms with tables. To import them is what puts them into the metadata (a test looks that none is missing)."""

METADATA: MetaData = Base.metadata

_NOW = {
    "sqlite": "strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')",  # as `core.types.format_utc` writes; to the millisecond
    "postgresql": "now()",
}

_NUMBERED = re.compile(r"denizen_(\d{4})")

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
    """Leave a host's tables in the same database alone, and of ours those that SQLAlchemy cannot describe: FTS5's, and
    the index that needs an extension.
    """
    if kind == "index":
        return name != search_models.TRIGRAMS
    return kind != "table" or ((name or "").startswith("denizen_") and not (name or "").startswith(search_models.INDEX))


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
    if step.is_stamp:
        _record_anew(ctx, heads)
    elif step.is_upgrade:
        for script in step.up_revisions:
            _insert(ctx, script)
    elif heads:  # else the table itself is gone
        for script in step.up_revisions:
            ctx.execute(delete(AppliedRevision).where(AppliedRevision.revision == script.revision))


def _record_anew(context: MigrationContext, heads: set[str]) -> None:
    """After `alembic stamp`: what the heads stand for, whatever stood there."""
    connection = context.connection
    if context.script is None or connection is None:
        return
    if not context.as_sql and not inspect(connection).has_table(AppliedRevision.__tablename__):
        return
    context.execute(delete(AppliedRevision))
    for script in reversed(list(context.script.iterate_revisions(tuple(heads), "base"))):
        _insert(context, script)


def _insert(context: MigrationContext, script: Any) -> None:
    if hasattr(script.module, "breaking"):  # a host's own revisions have none
        context.execute(_recorded(script, context.dialect.name))


def _recorded(script: Any, dialect: str) -> Any:
    return insert(AppliedRevision).values(
        revision=script.revision,
        breaking=script.module.breaking,
        release=version("denizen"),
        applied_at=type_coerce(literal_column(_NOW[dialect]), AppliedRevision.applied_at.type),
    )


def next_revision(context: MigrationContext, heads: Any, directives: list[Any]) -> None:
    """Number a new revision, and write none when autogenerate finds that nothing has changed."""
    script = directives[0]
    config = context.config
    chosen = config.cmd_opts if config is not None else None
    if config is not None and getattr(chosen, "autogenerate", False) and script.upgrade_ops.is_empty():
        directives.clear()
        config.print_stdout("The models and the revisions agree; no file was written.")
    elif getattr(chosen, "rev_id", None) is None and context.script is not None:
        numbers = [
            int(found[1]) for one in context.script.walk_revisions() if (found := _NUMBERED.fullmatch(one.revision))
        ]
        script.rev_id = f"denizen_{max(numbers, default=0) + 1:04}"
