"""Moves a database's schema up and down. Everything here is synchronous: use `asyncio.to_thread` from async code.

from denizen.migrations import runner

runner.create("sqlite:///fresh.db")                     # a fresh file, ready for use; leaves one that is in use alone
runner.upgrade("postgresql://user:password@host/name")  # any database, to the newest revision
state = runner.status("sqlite:///fresh.db")             # state.kind, state.ready, state.sentence
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, Literal

from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection
from sqlalchemy.engine import URL, make_url

from denizen.core.database import NoDatabase
from denizen.core.sqlite.backend import path_of
from denizen.migrations.connections import MigrationOptions, looking, migrating
from denizen.migrations.copies import copy_before
from denizen.migrations.differences import broken_references, differences
from denizen.migrations.environment import run
from denizen.migrations.errors import MigrationRefused, SchemaNotReady
from denizen.migrations.history import SHIPPED, History
from denizen.migrations.models import VERSION_TABLE
from denizen.migrations.offline import write_sql
from denizen.migrations.records import LABEL
from denizen.migrations.references import guarded
from denizen.migrations.schema import SchemaKind, SchemaState, read_state

_ONE_AT_A_TIME = threading.Lock()
"""Alembic's `op` is one for the whole process."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a migration did.

    Attributes:
        steps: ids of the revisions applied or taken back, in the order of doing.
        copy: where the SQLite file was copied to before.
    """

    steps: tuple[str, ...] = ()
    copy: Path | None = None


def scripts_of(history: History = SHIPPED) -> ScriptDirectory:
    """Give the revisions as Alembic has them."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", "\n".join(str(folder) for folder in history.folders).replace("%", "%%"))
    return ScriptDirectory.from_config(config)


def create(url: str | URL, options: MigrationOptions | None = None, history: History = SHIPPED) -> bool:
    """Make a SQLite database, ready for use, where there is none or an empty file.

    Two processes may do it at once: one makes it, the other waits until it is ready.

    Returns:
        Whether this call made it. A database that is in use, of whatever release, is left as it is.

    Raises:
        NoDatabase: the folder is not there.
        ValueError: the URL is not SQLite's.
    """
    if make_url(url).get_backend_name() != "sqlite":
        raise ValueError("only a SQLite database is made by a program; on PostgreSQL its owner does it")
    if status(url, history).kind not in {SchemaKind.MISSING, SchemaKind.EMPTY}:
        return False
    with _ONE_AT_A_TIME, migrating(url, options, create=True) as connection:
        if read_state(connection, history).kind is not SchemaKind.EMPTY:
            return False
        scripts = scripts_of(history)
        run(connection, scripts, _steps(scripts, "head", up=True))
    return True


def upgrade(
    url: str | URL, revision: str = "head", options: MigrationOptions | None = None, history: History = SHIPPED
) -> Outcome:
    """Bring the schema up to `revision`. A SQLite file with anything in it is copied first.

    Raises:
        NoDatabase: no SQLite file there.
        MigrationRefused: no such revision, or the database's schema is not of this release's line.
        MigrationBlocked, MigrationFailed, StorageFull, Unavailable: nothing was changed.
    """
    return _move(url, revision, options or MigrationOptions(), history, up=True)


def downgrade(
    url: str | URL, revision: str, options: MigrationOptions | None = None, history: History = SHIPPED
) -> Outcome:
    """Take the schema back to `revision`; `base` for nothing at all. What only newer revisions can hold is lost.

    Raises:
        As `upgrade` does.
    """
    return _move(url, revision, options or MigrationOptions(), history, up=False)


def status(url: str | URL, history: History = SHIPPED) -> SchemaState:
    """Say how the database's schema stands to this release's.

    Raises:
        Unavailable: nobody answers.
    """
    try:
        with looking(url) as connection:
            return read_state(connection, history)
    except NoDatabase:
        return SchemaState(SchemaKind.MISSING)


def check(url: str | URL, history: History = SHIPPED) -> list[str]:
    """Compare the tables that are there with those that this release expects, and look for references to nothing.

    Returns:
        What differs, each in words; nothing when all is well.

    Raises:
        SchemaNotReady: the revisions themselves differ, so that comparing means nothing.
        Unavailable: nobody answers.
    """
    with looking(url) as connection:
        state = read_state(connection, history)
        if state.kind is not SchemaKind.CURRENT:
            raise SchemaNotReady(state.sentence)
        return [*differences(connection), *broken_references(connection)]


def sql(start: str, end: str, dialect: Literal["sqlite", "postgresql"], history: History = SHIPPED) -> str:
    """Write the SQL that brings a database from revision `start` to `end`; `base` is an empty one.

    Raises:
        MigrationRefused: no such revision.
    """
    scripts = scripts_of(history)
    first, last = (_index(scripts, name, history) for name in (start, end))
    output = StringIO()
    with _ONE_AT_A_TIME:
        steps = _steps(scripts, end, up=first <= last)
        write_sql(scripts, steps, dialect=dialect, start=None if first < 0 else start, output=output)
    return output.getvalue()


def _index(scripts: ScriptDirectory, name: str, history: History) -> int:
    """The place of a revision in the history; -1 for `base`."""
    if name == "base":
        return -1
    try:
        found = scripts.get_revision(name)
    except CommandError as error:
        raise MigrationRefused(f"{error}. `denizen migrate status` lists the revisions.") from None
    return [revision.id for revision in history.revisions].index(found.revision)


def _move(url: str | URL, target: str, options: MigrationOptions, history: History, *, up: bool) -> Outcome:
    with _ONE_AT_A_TIME, migrating(url, options) as connection:
        state = read_state(connection, history)
        if up and target in {"head", "heads"} and state.kind is SchemaKind.NEWER:
            return Outcome()
        if up and target in {"head", "heads"} and state.together and state.kind is SchemaKind.CURRENT:
            return Outcome()
        _refuse_foreign(state, up=up)
        scripts = scripts_of(history)
        taken: list[str] = []
        steps = _planned(connection, scripts, target, up=up)
        if not steps:
            return Outcome()
        copy = None
        path = path_of(make_url(url))
        if options.copy and connection.dialect.name == "sqlite" and state.kind is not SchemaKind.EMPTY:
            copy = copy_before(path, target if target == "base" else _destination(steps, up=up))
            options.say(f"The database as it was: {copy}")

        def tell(heads: Any, context: MigrationContext) -> Iterator[Any]:
            for step in guarded(steps, context):
                name = step.revision.revision
                options.say(f"{'Applying' if up else 'Taking back'} {name}: {step.doc.rstrip('.')}")
                taken.append(name)
                yield step

        run(connection, scripts, tell)
    return Outcome(tuple(taken), copy)


def _destination(steps: list[Any], *, up: bool) -> str:
    last = steps[-1]
    return str(last.revision.revision if up else (last.to_revisions or ("base",))[0])


def _refuse_foreign(state: SchemaState, *, up: bool) -> None:
    if state.kind in {SchemaKind.UNKNOWN, SchemaKind.UNRECORDED}:
        raise MigrationRefused(state.sentence)
    if state.together:
        command = "alembic upgrade heads" if up else f"alembic downgrade {LABEL}@REVISION"
        raise MigrationRefused(
            "The Alembic of an application migrates this database, Denizen's part of it too. "
            f"Run `{command}` there. Nothing was changed."
        )
    if state.unknown:
        raise MigrationRefused(
            f"The database has {', '.join(state.unknown)}, which this release does not know; "
            "only a release that does can take it back. Nothing was changed."
        )


def _planned(connection: Connection, scripts: ScriptDirectory, target: str, *, up: bool) -> list[Any]:
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE, "script": scripts})
    return list(_steps(scripts, target, up=up)(context.get_current_heads(), context))


def _steps(scripts: ScriptDirectory, target: str, *, up: bool) -> Any:
    def plan(heads: Any, context: MigrationContext) -> Iterable[Any]:
        find = scripts._upgrade_revs if up else scripts._downgrade_revs  # noqa: SLF001  (what Alembic's own commands call)
        try:
            return find(target, heads)
        except CommandError as error:
            raise MigrationRefused(f"{error}. `denizen migrate status` lists the revisions.") from None

    return plan
