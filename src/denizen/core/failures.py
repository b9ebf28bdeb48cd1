"""What a database's failures mean: which constraint was broken, and whether trying again later makes sense."""

from __future__ import annotations

import re
import sqlite3
import sys
from typing import TYPE_CHECKING, Any, TypeGuard

from sqlalchemy import MetaData, UniqueConstraint
from sqlalchemy import exc as sa
from sqlalchemy.exc import IntegrityError

from denizen.core.errors import DenizenError, StorageFull, Unavailable

if TYPE_CHECKING:
    import psycopg

_AWAY = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
    }
)

_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

_AWAY_STATES = ("08", "25P03", "40001", "40P01", "53", "55P03", "57", "58")
"""SQLSTATEs, or the classes they begin with, that another try may not meet: connection, serialisation, resources,
locks, operator intervention (statement time-out included), system errors. PostgreSQL 18, appendix A."""

_DISK_FULL_STATE = "53100"

_WITHOUT_STATE = frozenset({"OperationalError", "InterfaceError", "ConnectionTimeout"})
"""Classes of psycopg's errors that say, without a SQLSTATE, that the connection is at fault."""


class NoDatabase(Unavailable):
    """There is no SQLite file where the URL points."""

    code = "no_database"
    title = "No database"


def meaning(error: BaseException) -> DenizenError | None:
    """Say what `error` means to a caller, or `None` where it is no failure of the database but of the code."""
    if isinstance(error, sa.DBAPIError) and error.orig is not None:
        if error.connection_invalidated:
            return _away()
        return meaning(error.orig)
    if isinstance(error, sa.TimeoutError | sa.PendingRollbackError | sa.DisconnectionError):
        return _away()
    if isinstance(error, sqlite3.Error):
        return _meaning_on_sqlite(error)
    if _is_of_psycopg(error):
        return _meaning_on_postgresql(error)
    return None


def primary_code(error: sqlite3.Error) -> int:
    """Give the primary result code of `error`, or 0 where SQLite gave none. Extended codes carry it in their low
    byte.
    """
    code: int = getattr(error, "sqlite_errorcode", None) or 0
    return code & 0xFF


class RowRefused(RuntimeError):
    """A row of ours broke a rule of the database that no code expected. Says which rule, and nothing of the row."""


def without_row(error: BaseException) -> RowRefused | None:
    """Give what may be logged of `error` where PostgreSQL's own words quote the row: its address, its password's hash.

    Returns:
        The error to raise instead, or `None` where `error` is not about a row of ours.
    """
    original = error.orig if isinstance(error, sa.DBAPIError) else error
    if not _is_of_psycopg(original) or not (original.diag.table_name or "").startswith("denizen_"):
        return None
    rule = original.diag.constraint_name or original.diag.column_name or "a rule without a name"
    return RowRefused(f"{original.diag.table_name}: {rule} was broken (SQLSTATE {original.sqlstate})")


def _is_of_psycopg(error: BaseException | None) -> TypeGuard[psycopg.Error]:
    """Tell without importing psycopg: 9 MB that a process on SQLite has no use for."""
    driver = sys.modules.get("psycopg")
    return driver is not None and isinstance(error, driver.Error)


def _away() -> Unavailable:
    return Unavailable("The database does not answer right now. Try again in a moment.", retry_after=2)


def _full() -> StorageFull:
    return StorageFull("The disk under the database is full; reading still works.", retry_after=60)


def _meaning_on_sqlite(error: sqlite3.Error) -> DenizenError | None:
    code = primary_code(error)
    if code in _DAMAGED:
        return Unavailable(
            "The database file is damaged, or it is no SQLite database. Put a copy in its place.", retry_after=60
        )
    if code == sqlite3.SQLITE_FULL:
        return _full()
    return _away() if code in _AWAY else None


def _meaning_on_postgresql(error: psycopg.Error) -> DenizenError | None:
    state = error.sqlstate
    if state == _DISK_FULL_STATE:
        return _full()
    if state is None:
        return _away() if type(error).__name__ in _WITHOUT_STATE else None
    return _away() if state.startswith(_AWAY_STATES) else None


def constraint_of(error: IntegrityError, metadata: MetaData) -> str | None:
    """Name the constraint or unique index that `error` broke, alike on both databases.

    PostgreSQL tells. SQLite tells the columns of a broken UNIQUE, which are looked up in `metadata`, and the name of
    a broken CHECK; of a broken foreign key it tells nothing.

    Returns:
        The name, or `None` where it cannot be known.
    """
    original = error.orig
    if _is_of_psycopg(original):
        return original.diag.constraint_name
    text = str(original)
    if found := re.fullmatch(r"CHECK constraint failed: (\w+)|UNIQUE constraint failed: index '(.+)'", text):
        return found[1] or found[2]
    if found := re.fullmatch(r"UNIQUE constraint failed: (.+)", text):
        return _unique_over(found[1].split(", "), metadata)
    return None


def _unique_over(columns: list[str], metadata: MetaData) -> str | None:
    table = metadata.tables.get(columns[0].split(".")[0])
    if table is None:
        return None
    wanted = {column.split(".")[1] for column in columns}
    unique: list[Any] = [
        *(index for index in table.indexes if index.unique),
        *(constraint for constraint in table.constraints if isinstance(constraint, UniqueConstraint)),
        table.primary_key,
    ]
    names = (str(each.name) for each in unique if each.name and {column.name for column in each.columns} == wanted)
    return next(names, None)
