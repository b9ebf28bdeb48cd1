"""How Alembic is set up here, for `env.py` and for `runner` alike."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Literal

from alembic.autogenerate.api import AutogenContext
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData
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
from denizen.migrations.models import VERSION_TABLE
from denizen.migrations.records import record_step
from denizen.onetime import models as onetime_models
from denizen.profiles import models as profiles_models
from denizen.refresh import models as refresh_models
from denizen.roles import models as roles_models
from denizen.search import models as search_models
from denizen.sessions import models as sessions_models
from denizen.signing import models as signing_models
from denizen.users import models as users_models

ROOMS = (
    users_models,
    search_models,
    profiles_models,
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
        "render_item": render_type,
        "on_version_apply": (record_step,),
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
    the index that needs an extension, and the one that SQLite has not.
    """
    if kind == "index":
        return name not in {search_models.TRIGRAMS, profiles_models.PROFILE_INDEX}
    return kind != "table" or ((name or "").startswith("denizen_") and not (name or "").startswith(search_models.INDEX))


def render_type(kind: str, item: Any, context: AutogenContext) -> str | Literal[False]:
    """Write our column types as the plain ones they stand for, so that old revisions never change with our code."""
    if kind != "type" or not isinstance(item, TypeDecorator) or not type(item).__module__.startswith("denizen."):
        return False
    plain = []
    for name in ("sqlite", "postgresql"):
        dialect = DefaultDialect()
        dialect.name = name
        plain.append(f"sa.{item.load_dialect_impl(dialect)!r}")
    return plain[0] if plain[0] == plain[1] else f"{plain[0]}.with_variant({plain[1]}, 'postgresql')"


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
