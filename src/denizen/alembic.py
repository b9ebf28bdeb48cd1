"""For the `env.py` of an application whose Alembic history includes Denizen's.

    from denizen.alembic import run_migrations
    from notes.models import Base

    run_migrations(target_metadata=Base.metadata)

That is all of it, on SQLite and PostgreSQL, with `--sql` too. An `env.py` with a connection of its own, synchronous or
under `run_sync`, keeps it, and gives Alembic the options that belong to our branch:

    context.configure(connection=connection, target_metadata=Base.metadata, **options())
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

from alembic import context
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, MetaData, NullPool, create_engine
from sqlalchemy.engine import URL, make_url

from denizen.core.database import NoDatabase
from denizen.core.errors import DenizenError
from denizen.core.sqlite.backend import path_of
from denizen.migrations.connections import MigrationOptions, looking, migrating
from denizen.migrations.copies import copy_before
from denizen.migrations.environment import render_type
from denizen.migrations.offline import write_sql
from denizen.migrations.records import record_step
from denizen.migrations.together import (
    is_not_of_ours,
    is_not_ours,
    place_revision,
    require_branch,
    watched,
)
from denizen.settings import Settings, SettingsError

__all__ = ["options", "run_migrations"]


def options(**own: Any) -> dict[str, Any]:
    """Give what `context.configure` is told: nothing of ours is compared, our revisions run safely and are recorded.

    Args:
        own: options of the application. `include_name`, `include_object`, `render_item`, `on_version_apply` and
            `process_revision_directives` are asked beside ours; any other takes the place of ours.
    """
    given = _given()
    combined = _combined(own)
    if "fn" in given:
        require_branch(given["script"])
        if given["fn"].__name__ in {"upgrade", "downgrade"}:
            combined["fn"] = watched(given["fn"])
    return {"render_as_batch": True, "transactional_ddl": True, **own, **combined}


def run_migrations(
    *,
    target_metadata: MetaData | Sequence[MetaData] | None,
    url: str | URL | None = None,
    copy: bool | None = None,
    **own: Any,
) -> None:
    """Do what Alembic was asked to do: one migrator at a time, in one transaction, all of it or nothing.

    Args:
        target_metadata: of the application's own models.
        url: of the database; the one that `DENIZEN_DATABASE_URL` names, unless told otherwise. Of an URL for an
            asynchronous driver the database is taken, and opened with ours.
        copy: SQLite: copy the file before steps are taken, as `denizen migrate up` does. Unless told otherwise it is
            done, and `alembic -x copy=no upgrade heads` leaves it out.
        own: as for `options`.

    Raises:
        CommandError: a sentence, which Alembic prints.
    """
    try:
        settings = Settings.load()
        where = make_url(url or settings.database_url)
        own = {"target_metadata": target_metadata, **own}
        if context.is_offline_mode():
            _write(where, own)
        else:
            limits = MigrationOptions(lock_timeout=settings.migration_lock_timeout, say=_say)
            _run(where, limits, own, copy=_wants_copy() if copy is None else copy)
    except NoDatabase as error:
        raise CommandError(f"{error} `alembic upgrade heads` makes it, too.") from None
    except (DenizenError, SettingsError) as error:
        raise CommandError(str(error)) from error


def _run(url: URL, limits: MigrationOptions, own: dict[str, Any], *, copy: bool) -> None:
    given = _given()
    moves = "destination_rev" in given
    chosen = options(**own)
    if copy and "fn" in chosen and url.get_backend_name() == "sqlite":
        chosen["fn"] = watched(given["fn"], lambda connection, steps: _copy(url, connection, steps))
    with _connected(url, limits, given, moves=moves) as connection:
        context.configure(connection=connection, dont_mutate=not moves, **chosen)
        with context.begin_transaction():
            context.run_migrations()


def _copy(url: URL, connection: Connection, steps: list[Any]) -> None:
    if _holds_tables(connection):
        last = steps[-1]
        revision = last.revision.revision if last.is_upgrade else "-".join(last.to_revisions) or "base"
        _say(f"The database as it was: {copy_before(path_of(url), revision)}")


def _holds_tables(connection: Connection) -> bool:
    """Whether there is anything but the version table, which is made before the first step."""
    query = "SELECT count(*) FROM sqlite_master WHERE type = 'table'"
    return (connection.exec_driver_sql(query).scalar() or 0) > 1


@contextmanager
def _connected(url: URL, limits: MigrationOptions, given: dict[str, Any], *, moves: bool) -> Iterator[Connection]:
    """Open what the command works on; `alembic revision` alone works on nothing."""
    revision = given.get("revision_context")
    if moves:
        with migrating(url, limits, create=given["fn"].__name__ == "upgrade") as connection:
            yield connection
    elif revision is not None and not revision.command_args["autogenerate"]:
        with closing(sqlite3.connect(":memory:")) as driver:
            engine = create_engine("sqlite://", creator=lambda: driver, poolclass=NullPool)
            with engine.connect() as connection:
                yield connection
    else:
        with looking(url) as connection:
            yield connection


def _write(url: URL, own: dict[str, Any]) -> None:
    """Write SQL instead of running it (`--sql`)."""
    given = _given()
    scripts: ScriptDirectory = given["script"]
    require_branch(scripts)
    write_sql(
        scripts,
        given["fn"],
        dialect="sqlite" if url.get_backend_name() == "sqlite" else "postgresql",
        start=given.get("starting_rev"),
        output=context.config.output_buffer or sys.stdout,
        opts={"version_table": "alembic_version", **own, **_combined(own)},
    )


def _combined(own: dict[str, Any]) -> dict[str, Any]:
    """Put the options that are asked of several beside ours."""
    names = [is_not_ours, *_of(own.get("include_name"))]
    objects = [is_not_of_ours, *_of(own.get("include_object"))]
    renderers = [*_of(own.get("render_item")), render_type]
    directives = [place_revision, *_of(own.get("process_revision_directives"))]

    def render(kind: str, item: Any, autogenerating: Any) -> Any:
        found = (one(kind, item, autogenerating) for one in renderers)
        return next((code for code in found if code is not False), False)

    def process(migration: Any, heads: Any, script: list[Any]) -> None:
        for one in directives:
            one(migration, heads, script)

    return {
        "include_name": lambda *asked: all(one(*asked) for one in names),
        "include_object": lambda *asked: all(one(*asked) for one in objects),
        "render_item": render,
        "process_revision_directives": process,
        "on_version_apply": (record_step, *_of(own.get("on_version_apply"))),
    }


def _of(one_or_several: Any) -> tuple[Any, ...]:
    if one_or_several is None:
        return ()
    return tuple(one_or_several) if isinstance(one_or_several, Iterable) else (one_or_several,)


def _given() -> dict[str, Any]:
    """What Alembic's command was given; nothing outside of an `env.py`."""
    proxy = getattr(context, "_proxy", None)
    if proxy is None:
        return {}
    return {**proxy.context_opts, "script": proxy.script}


def _wants_copy() -> bool:
    return context.get_x_argument(as_dictionary=True).get("copy") != "no"


def _say(sentence: str) -> None:
    context.config.print_stdout(sentence)
