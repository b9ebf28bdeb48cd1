"""The one connection and the one transaction that a migration has, with everything in it that makes it safe.

| | SQLite | PostgreSQL |
| --- | --- | --- |
| one migrator at a time | `BEGIN IMMEDIATE` | `pg_advisory_xact_lock` |
| all or nothing | one transaction, driver's own BEGIN off | one transaction |
| rebuilding a table keeps its children | `foreign_keys=OFF` before, `foreign_key_check` after | no rebuilds |
| nobody waits for long | readers never wait, writers are told 503 | `lock_timeout` |

Source: https://www.sqlite.org/lang_altertable.html section 7; PostgreSQL 18, 20.11 (client_connection_check_interval).
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine, NullPool, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, OperationalError

from denizen.core.database import NoDatabase
from denizen.core.errors import DenizenError, StorageFull, Unavailable
from denizen.core.failures import meaning, primary_code
from denizen.core.sqlite.backend import path_of
from denizen.core.sqlite.driver import connect
from denizen.migrations.errors import MigrationBlocked, MigrationFailed
from denizen.setting_types import mask_password

ADVISORY_LOCK = 0x64656E697A656E
"""What migrators of PostgreSQL agree on: "denizen" in ASCII."""

WAIT_STEP = 0.1

INDEXING_KIB = 128 * 1024
"""Memory that SQLite may take to build indexes anew; with its usual 2 MiB a million rows take twice as long."""

OPENING_SECONDS = 10.0
"""How long to wait for whoever makes the SQLite file, switches it to WAL or recovers it, at this moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationOptions:
    """How to go about a migration.

    Attributes:
        wait: seconds to wait for another migrator, or on SQLite for a writer, to finish.
        lock_timeout: PostgreSQL: seconds that one statement may wait for a table in use; meanwhile its users wait too.
        copy: SQLite: copy the file first.
        say: is told each thing that happens, as a sentence.
    """

    wait: float = 600.0
    lock_timeout: float = 5.0
    copy: bool = True
    say: Callable[[str], None] = lambda sentence: None


@contextmanager
def migrating(url: str | URL, options: MigrationOptions | None = None, *, create: bool = False) -> Iterator[Connection]:
    """Open a connection in a transaction that no other migrator can have at the same time; commit it at the end.

    Args:
        url: of the database.
        options: how long to wait for whom.
        create: SQLite: make the file when there is none.

    Raises:
        NoDatabase: no SQLite file there.
        MigrationBlocked: somebody held a lock for too long.
        MigrationFailed: a statement was refused; everything is rolled back.
        StorageFull: no room; everything is rolled back.
        Unavailable: nobody answers.
    """
    options = options or MigrationOptions()
    where = make_url(url)
    opened = _on_sqlite if where.get_backend_name() == "sqlite" else _on_postgresql
    with _explained(where, options), opened(where, options, create) as connection:
        yield connection


@contextmanager
def looking(url: str | URL) -> Iterator[Connection]:
    """Open a connection that takes no lock and writes nothing, for `status` and `check`.

    Raises:
        NoDatabase: no SQLite file there.
        Unavailable: nobody answers.
    """
    where = make_url(url)
    with _explained(where, MigrationOptions()):
        on_sqlite = where.get_backend_name() == "sqlite"
        engine = _sqlite_engine(path_of(where)) if on_sqlite else _postgresql_engine(where)
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA query_only=ON" if on_sqlite else "SET TRANSACTION READ ONLY")
            yield connection


@contextmanager
def _on_sqlite(url: URL, options: MigrationOptions, create: bool) -> Iterator[Connection]:
    if create:
        make_file(path_of(url))
    engine = _sqlite_engine(path_of(url))

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        _begin_immediate(_driver(connection), options)

    with engine.connect() as connection:
        # Inside a transaction this would do nothing, so it must come before it.
        _driver(connection).execute("PRAGMA foreign_keys=OFF")
        _driver(connection).execute(f"PRAGMA cache_size=-{INDEXING_KIB}")
        with connection.begin():
            changes = _driver(connection).total_changes
            yield connection
            if not _driver(connection).in_transaction:  # what came after the failure stands alone, outside of any
                raise MigrationFailed("SQLite gave up the transaction, and a revision went on. Restore the copy.")
            if _driver(connection).total_changes != changes:
                check_foreign_keys(connection)


def make_file(path: Path) -> None:
    """Make an empty SQLite file in WAL mode, closed to others than its owner, unless it is there.

    Raises:
        NoDatabase: the folder is not there.
    """
    folder = path.absolute().parent
    if not folder.is_dir():
        raise NoDatabase(f"There is no folder {folder} to make a database in.")
    with suppress(FileExistsError):  # not for everybody on the machine to read: hashes will be in it
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    until = time.monotonic() + OPENING_SECONDS
    while True:
        with closing(connect(path)) as driver:
            try:
                driver.execute("PRAGMA journal_mode=WAL")
            except sqlite3.OperationalError as error:
                # SQLite lets nobody wait who comes while another does the same.
                if primary_code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                    raise
            else:
                return
        time.sleep(WAIT_STEP / 4)


def _sqlite_engine(path: Path) -> Engine:
    if not path.is_file():
        raise NoDatabase(
            f"There is no database at {path.absolute()}. "
            "`denizen serve` makes one there; or set DENIZEN_DATABASE_URL to the one you mean."
        )
    return create_engine("sqlite://", creator=lambda: connect(path, timeout=OPENING_SECONDS), poolclass=NullPool)


def _driver(connection: Connection) -> sqlite3.Connection:
    driver: sqlite3.Connection = connection.connection.driver_connection  # type: ignore[assignment]  # ours is sqlite3
    return driver


def _begin_immediate(driver: sqlite3.Connection, options: MigrationOptions) -> None:
    """Take the write lock. The wait is here, not in SQLite, so that it can be told of, and stopped with Ctrl-C."""
    driver.execute("PRAGMA busy_timeout=0")
    until = time.monotonic() + options.wait
    told = False
    while True:
        try:
            driver.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if primary_code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            if not told:
                options.say("Somebody else is writing to the database; waiting.")
            told = True
            time.sleep(WAIT_STEP)
        else:
            return


def check_foreign_keys(connection: Connection) -> None:
    """Look, on SQLite, whether a migration left rows that point to nothing.

    Raises:
        MigrationFailed: it did, and is to be rolled back.
    """
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchmany(5)
    if broken:
        shown = "; ".join(f"row {row[1]} of {row[0]} points to nothing in {row[2]}" for row in broken)
        raise MigrationFailed(f"After the migration, references would be broken: {shown}. Everything was rolled back.")


@contextmanager
def _on_postgresql(url: URL, options: MigrationOptions, create: bool) -> Iterator[Connection]:
    with _postgresql_engine(url).connect() as connection, connection.begin():
        _pass_on_warnings(connection, options)
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
        _end_with_client(connection)
        _wait_for_turn(connection, options)
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {int(options.lock_timeout * 1000)}")
        yield connection


def _postgresql_engine(url: URL) -> Engine:
    return create_engine(
        url.set(drivername="postgresql+psycopg"),
        poolclass=NullPool,
        use_native_hstore=False,
        connect_args={
            "connect_timeout": 10,
            "application_name": "denizen migrate",
            "prepare_threshold": None,
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
        },
    )


def _pass_on_warnings(connection: Connection, options: MigrationOptions) -> None:
    """Let operators read what a revision warns of: an extension that this role may not create, say."""

    def tell(notice: psycopg.errors.Diagnostic) -> None:
        if notice.severity_nonlocalized == "WARNING" and notice.message_primary:
            options.say(notice.message_primary)

    driver: psycopg.Connection[Any] = connection.connection.driver_connection  # type: ignore[assignment]  # ours is psycopg's
    driver.add_notice_handler(tell)


def _end_with_client(connection: Connection) -> None:
    """Have the server look whether we live: a killed migrator's long statement must not keep the next one waiting.

    Not every PostgreSQL can, nor every system under it: then it is left.
    """
    connection.exec_driver_sql(
        "DO $$ BEGIN PERFORM set_config('client_connection_check_interval', '2s', true); "
        "EXCEPTION WHEN others THEN NULL; END $$"
    )


def _wait_for_turn(connection: Connection, options: MigrationOptions) -> None:
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = {int(options.wait * 1000)}")
    if connection.scalar(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK}):
        return
    options.say("Another migration is running; waiting for it to end.")
    try:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})
    except OperationalError as error:
        if not isinstance(error.orig, psycopg.errors.LockNotAvailable):
            raise
        raise MigrationBlocked(
            f"Another migration was still running after {options.wait:g} seconds; nothing was changed. "
            "Let it end, and try again.",
            retry_after=60,
        ) from None


@contextmanager
def _explained(url: URL, options: MigrationOptions) -> Iterator[None]:
    """Turn failures of the database into sentences that say what to do."""
    try:
        yield
    except (DBAPIError, sqlite3.Error, psycopg.Error) as error:
        raise _explain(_first_of(error), url, options) from error


def _first_of(error: BaseException) -> BaseException:
    """The failure that began it: SQLite ends the transaction when a disk is full, and tidying up then fails as well."""
    found = error
    while error.__context__ is not None:
        error = error.__context__
        if isinstance(error, DBAPIError | sqlite3.Error | psycopg.Error):
            found = error
    return found


def _explain(error: BaseException, url: URL, options: MigrationOptions) -> DenizenError:
    original: Any = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(original, psycopg.errors.LockNotAvailable):
        return MigrationBlocked(
            f"Others used a table for longer than {options.lock_timeout:g} seconds, and a migration waits no longer, "
            "since they wait behind it. Nothing was changed. Try again when less is going on, look for long "
            "transactions in pg_stat_activity, or wait longer with --lock-timeout.",
            retry_after=60,
        )
    if isinstance(original, sqlite3.Error) and primary_code(original) == sqlite3.SQLITE_BUSY:
        return MigrationBlocked(
            f"Somebody else was writing to {url.database} for {options.wait:g} seconds, and nothing was changed. "
            "Look for another migration, an import or a backup, and try again.",
            retry_after=60,
        )
    what = meaning(original)
    if isinstance(what, StorageFull):
        return StorageFull("There is no room on the disk under the database; nothing was changed.", retry_after=60)
    shown = _first_line(original)
    if what is not None:
        return Unavailable(
            f"{mask_password(url.render_as_string(hide_password=True))} does not answer: {shown}. Nothing was changed.",
            retry_after=5,
        )
    return MigrationFailed(f"The database refused: {shown}. Everything was rolled back.")


def _first_line(error: BaseException) -> str:
    """The error's own sentence, without details, which may quote stored rows."""
    primary = getattr(getattr(error, "diag", None), "message_primary", None)
    lines = (primary or str(error)).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
