"""Our history as a branch of a host's, under the host's own `env.py`: what is done around the steps, and beside them.

A host's `version_locations` includes our revisions, and its Alembic runs them. Its `alembic_version` then holds the
heads of both, and `denizen_alembic_version` is not there. Whoever kept our history apart before is taken over as the
steps begin: our head is written into the host's table, and our own table goes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from alembic.runtime.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from alembic.util import CommandError, to_tuple
from sqlalchemy import Connection, text

from denizen.core.errors import DenizenError
from denizen.migrations.connections import ADVISORY_LOCK, check_foreign_keys
from denizen.migrations.environment import Steps
from denizen.migrations.errors import MigrationRefused
from denizen.migrations.history import VERSIONS
from denizen.migrations.models import VERSION_TABLE
from denizen.migrations.records import LABEL, has_branch, implied, is_ours, mend_records, recorded
from denizen.migrations.references import guarded

log = logging.getLogger("alembic.runtime.migration")
"""Alembic's own, so that what happens stands between its lines."""

LOCATION = "denizen:migrations/versions"
"""What a host's `version_locations` names."""

Before = Callable[[Connection, list[Any]], None]

_FOREIGN_KEYS_ON = (
    "SQLite's foreign keys are on, in a transaction that has begun, where nothing switches them off; rebuilding a "
    "table would delete the rows that refer to it. Let denizen.alembic.run_migrations() open the connection, or run "
    "PRAGMA foreign_keys=OFF on yours before it begins a transaction."
)


def watched(steps: Steps, before: Before | None = None) -> Steps:
    """Wrap the steps of `upgrade` and `downgrade`: one migrator at a time, nobody's rows lost, our records true.

    Args:
        steps: Alembic's own.
        before: told of the steps before the first is taken.

    Raises:
        CommandError: a sentence of ours, which Alembic prints; the transaction is to be rolled back.
    """

    def taken(heads: Any, context: MigrationContext) -> Iterator[Any]:
        try:
            yield from _take(steps, heads, context, before)
        except DenizenError as error:
            raise CommandError(str(error)) from error

    return taken


def _take(steps: Steps, heads: Any, context: MigrationContext, before: Before | None) -> Iterator[Any]:
    connection, scripts = context.connection, context.script
    if context.as_sql or connection is None or scripts is None:
        yield from steps(heads, context)
        return
    _prepare(connection)
    if set(heads) != set(context.get_current_heads()):
        raise MigrationRefused("Another migration ran at the same time, to its end. Run the command again.")
    for adoption in _adoption(context, heads):
        yield adoption
        heads = context.get_current_heads()
    planned = list(steps(heads, context))
    _refuse_a_guess(context, planned)
    if planned and before is not None:
        before(connection, planned)
    yield from guarded(planned, context)
    if has_branch(scripts):
        mend_records(context)
    if planned and connection.dialect.name == "sqlite":
        check_foreign_keys(connection)


def _refuse_a_guess(context: MigrationContext, planned: Sequence[Any]) -> None:
    """Refuse `downgrade -1` where it would take back a revision of ours: of several heads Alembic takes one, with no
    more than a warning, and rows go with it.
    """
    target = context.opts.get("destination_rev")
    relative = isinstance(target, str) and target.startswith("-")
    taken_back = [getattr(each, "revision", None) for each in planned if each.is_downgrade]
    ours = [revision for revision in taken_back if revision is not None and is_ours(revision)]
    if relative and ours:
        raise MigrationRefused(
            f"{target} would take back {ours[0].revision}, which is Denizen's. Say which branch is meant: "
            f"`{LABEL}@{target}`, or that of your own. Nothing was changed."
        )


def _prepare(connection: Connection) -> None:
    """Take the locks that `connections.migrating` takes, on a connection of whatever driver and origin."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})
        return
    connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
    if connection.exec_driver_sql("PRAGMA foreign_keys").scalar():
        raise MigrationRefused(_FOREIGN_KEYS_ON)
    if not getattr(connection.connection.driver_connection, "in_transaction", True):
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # sqlite3 by itself begins none before DDL


def _adoption(context: MigrationContext, heads: Any) -> Iterable[Any]:
    """Give the stamps that bring what the database has of ours, and the heads do not say, into the host's table."""
    scripts = context.script
    if scripts is None or context.version_table == VERSION_TABLE or not has_branch(scripts):
        return []
    there = recorded(context)
    known = [script.revision for script in implied(scripts, (f"{LABEL}@head",))]
    if unknown := sorted(there - set(known)):
        raise MigrationRefused(
            f"The database has {', '.join(unknown)}, which this release of Denizen does not know; "
            "only a release that does can take it back. Nothing was changed."
        )
    if there <= {script.revision for script in implied(scripts, heads)}:
        return []
    top = next(name for name in reversed(known) if name in there)
    log.info("Taking over %s, which %s did not say, into %s", top, context.version_table, context.version_table)
    context.execute(f"DROP TABLE IF EXISTS {VERSION_TABLE}")
    return scripts._stamp_revs(top, heads)  # noqa: SLF001  (what `alembic stamp` calls)


def require_branch(scripts: ScriptDirectory) -> None:
    """Refuse a history whose revisions depend on ours without including them, where Alembic would fail with a
    `KeyError`; and one whose revisions follow ours, as a merge of both branches does.

    Raises:
        CommandError: says the line that is missing, or wrong.
    """
    try:
        scripts.get_heads()
    except KeyError as error:
        raise CommandError(
            f"A revision depends on {error}, which is not there. "
            f"Where it is Denizen's, let version_locations name {LOCATION} (and path_separator be newline)."
        ) from None

    for script in scripts.walk_revisions():
        if not is_ours(script):
            _refuse_to_follow_ours(script)


def _refuse_to_follow_ours(script: Script) -> None:
    """Refuse a revision of the host's that is built upon one of ours. The branches would be one, and our next revision
    a second head of it, which neither `heads` nor `denizen@head` of before means.
    """
    follows = to_tuple(script.down_revision, default=())
    ours = [name for name in follows if name.startswith(f"{LABEL}_")]
    if not ours:
        return
    own = [name for name in follows if name not in ours]
    written = (
        repr(own[0] if len(own) == 1 else tuple(own)) if own else "the one before it of your own (None for the first)"
    )
    needs = repr(ours[0] if len(ours) == 1 else tuple(ours))
    advice = "Two heads need no merge: delete it, and run `alembic upgrade heads`. Or let" if own else "Let"
    raise CommandError(
        f"{Path(script.path).name} follows {', '.join(ours)} of Denizen's, and what follows it is Denizen's next "
        f"release. {advice} its down_revision be {written} and its depends_on {needs}."
    )


def place_revision(context: MigrationContext, heads: Any, directives: list[Any]) -> None:
    """Let a new revision follow the host's head unless told otherwise: with ours there are two, and Alembic would ask.

    The host's first one begins a branch, in the first folder that is not ours, and depends on our newest revision.
    """
    scripts = context.script
    asked = context.opts["revision_context"].command_args
    if scripts is None or asked["head"] not in {None, "head"} or not directives or not has_branch(scripts):
        return
    theirs = [name for name in scripts.get_heads() if not is_ours(scripts.get_revision(name))]
    script = directives[0]
    if len(theirs) == 1:
        script.head = theirs[0]
    elif not theirs:
        folders = [folder for folder in scripts._version_locations if folder.resolve() != VERSIONS]  # noqa: SLF001  (resolved)
        script.head = "base"
        script.version_path = asked["version_path"] or next(iter(folders), None)
        script.depends_on = asked["depends_on"] or f"{LABEL}@head"


def is_not_ours(name: str | None, kind: str, parents: Any) -> bool:
    """Leave our tables alone when a host's are compared, those of the search index included."""
    return kind != "table" or not (name or "").startswith("denizen_")


def is_not_of_ours(item: Any, name: str | None, kind: str, reflected: bool, compared: Any) -> bool:
    """Leave our tables alone where a host's `target_metadata` holds them too."""
    return is_not_ours(name, kind, None)
