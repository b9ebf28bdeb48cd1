"""Whether a database has the schema that this release needs.

An older schema is refused. A newer one is accepted, so that a rolling deployment can migrate first, unless one of its
revisions is marked breaking; the database itself carries the marks, since this release cannot know those of later ones.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, exists, false, select, table, text

from denizen.core.sqlite.driver import connect
from denizen.migrations.errors import SchemaNotReady
from denizen.migrations.history import SHIPPED, History
from denizen.migrations.models import VERSION_TABLE, AppliedRevision

if TYPE_CHECKING:
    from denizen.core.database import Database

_TABLES = {
    "sqlite": r"SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'denizen\_%' ESCAPE '\'",
    "postgresql": (
        "SELECT relname FROM pg_catalog.pg_class "
        r"WHERE relkind IN ('r', 'p') AND relname LIKE 'denizen\_%' AND pg_catalog.pg_table_is_visible(oid)"
    ),
}


_MAKING_SECONDS = 10.0


class SchemaKind(StrEnum):
    """How a database's schema stands to the one of this release."""

    MISSING = "missing"
    EMPTY = "empty"
    OLDER = "older"
    CURRENT = "current"
    NEWER = "newer"
    NEWER_BREAKING = "newer_breaking"
    UNRECORDED = "unrecorded"
    UNKNOWN = "unknown"


_UP = "Bring it up to date with `denizen migrate up`."
_UP_TOGETHER = (
    "Bring it up to date with `alembic upgrade heads` in the application whose history includes Denizen's, and whose "
    "env.py must call `denizen.alembic`."
)
_SENTENCES = {
    SchemaKind.MISSING: "There is no database. `denizen serve` makes one, on SQLite.",
    SchemaKind.EMPTY: (
        "The database holds none of Denizen's tables. Make them with `denizen migrate up`. Where the "
        "application's own Alembic history includes Denizen's, `alembic upgrade heads` makes them."
    ),
    SchemaKind.OLDER: f"The database is older than this release. {_UP}",
    SchemaKind.CURRENT: "The database is up to date.",
    SchemaKind.NEWER: "The database is newer than this release, which can go on using it.",
    SchemaKind.NEWER_BREAKING: (
        "The database was changed by a newer release in a way that this one cannot work with. "
        "Install that release, or let it take the change back with `denizen migrate down`."
    ),
    SchemaKind.UNRECORDED: (
        "The database holds Denizen's tables, but no record of which revisions made them. Where the application's own "
        "Alembic did, let its env.py call `denizen.alembic`, then run `alembic upgrade heads`."
    ),
    SchemaKind.UNKNOWN: (
        "The database holds tables of Denizen's name, but not a schema that this release knows. "
        "Look with `denizen migrate status`; restore a backup, or point DENIZEN_DATABASE_URL to the right database."
    ),
}


@dataclass(frozen=True, slots=True)
class SchemaState:
    """What was found.

    Attributes:
        kind: the verdict.
        applied: ids of the revisions that the database has, in order.
        missing: ids of those that it lacks, in order.
        unknown: ids of those that this release does not know.
        breaking: ids of those of the unknown that are marked breaking.
        together: whether the Alembic of a host migrates it, as part of the host's own history.
    """

    kind: SchemaKind
    applied: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    breaking: tuple[str, ...] = ()
    together: bool = False

    @property
    def ready(self) -> bool:
        """Whether this release can work on it."""
        return self.kind in {SchemaKind.CURRENT, SchemaKind.NEWER}

    @property
    def sentence(self) -> str:
        """The state in words, with the command that helps, for operators."""
        sentence = _SENTENCES[self.kind]
        if self.together:
            sentence = sentence.replace(_UP, _UP_TOGETHER)
        if not self.applied:
            return sentence
        if names := self.breaking or self.unknown:
            sentence = f"{sentence} It has {', '.join(names)}."
        elif self.missing:
            sentence = f"{sentence} It lacks {', '.join(self.missing)}."
        return sentence


def judge(applied: Mapping[str, bool], history: History = SHIPPED) -> SchemaState:
    """Compare the revisions of a database with those that this release knows.

    Args:
        applied: each revision's id, and whether it is breaking.
        history: what this release knows.
    """
    known = [revision.id for revision in history.revisions]
    missing = tuple(name for name in known if name not in applied)
    unknown = tuple(sorted(set(applied) - set(known)))
    breaking = tuple(name for name in unknown if applied[name])
    if not applied or (unknown and missing):
        kind = SchemaKind.UNKNOWN
    elif missing:
        kind = SchemaKind.OLDER
    elif breaking:
        kind = SchemaKind.NEWER_BREAKING
    else:
        kind = SchemaKind.NEWER if unknown else SchemaKind.CURRENT
    return SchemaState(kind, (*(name for name in known if name in applied), *unknown), missing, unknown, breaking)


def read_state(connection: Connection, history: History = SHIPPED) -> SchemaState:
    """Judge the database behind `connection` by two short statements; leaves no transaction broken."""
    tables = set(connection.scalars(text(_TABLES[connection.dialect.name])))
    if AppliedRevision.__tablename__ not in tables:
        only_traces = tables <= {VERSION_TABLE}  # what Alembic leaves after `downgrade base`
        return SchemaState(SchemaKind.EMPTY if only_traces else SchemaKind.UNKNOWN, missing=_ids(history))
    apart = exists().select_from(table(VERSION_TABLE)) if VERSION_TABLE in tables else false()
    query = select(AppliedRevision.revision, AppliedRevision.breaking, apart.label("apart"))
    rows = connection.execute(query).all()
    if not rows and VERSION_TABLE not in tables:
        return SchemaState(SchemaKind.UNRECORDED, missing=_ids(history))
    state = judge({row.revision: row.breaking for row in rows}, history)
    return state if not rows or rows[0].apart else replace(state, together=True)


def _ids(history: History) -> tuple[str, ...]:
    return tuple(revision.id for revision in history.revisions)


async def schema_state(database: Database, history: History = SHIPPED) -> SchemaState:
    """Judge `database`, for the start of the application and for `/readyz`.

    Raises:
        NoDatabase: no SQLite file there.
        Unavailable: the database does not answer.
    """
    async with database.read.session() as db:
        return await (await db.connection()).run_sync(read_state, history)


def is_fresh(path: Path) -> bool:
    """Whether the SQLite database at `path` has yet to be made: no file, an empty one, or one being made now.

    Takes no time, unlike `runner.create`, which brings Alembic with it and is the next step.
    """
    if not path.exists():
        return True
    try:
        with closing(connect(path, timeout=_MAKING_SECONDS)) as driver:
            return {name for (name,) in driver.execute(_TABLES["sqlite"])} <= {VERSION_TABLE}
    except sqlite3.DatabaseError:  # no database at all: opening it will say so
        return False


def require_ready(state: SchemaState) -> None:
    """Let a state pass that this release can work on.

    Raises:
        SchemaNotReady: its text names the command to run.
    """
    if not state.ready:
        raise SchemaNotReady(state.sentence)
