"""Empty databases for tests on PostgreSQL: made once, emptied after each test, and used again.

To make one as a copy of a template and to open the first connection to it takes longer than most tests.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import psycopg

from tests.postgres import Postgres

# What a test may have changed besides rows: the tables, what the planner knows of them, settings, extensions. A
# database in which any of it differs from a new one is thrown away.
_SHAPE = """
SELECT md5(concat_ws('|',
  (SELECT string_agg(format('%s %s %s %s %s %s', relname, relkind, relnatts, reltuples, relacl, reloptions), ','
     ORDER BY relname) FROM pg_class WHERE relnamespace = 'public'::regnamespace),
  (SELECT string_agg(format('%s %s %s %s %s', attrelid::regclass, attname, atttypid, attnotnull, atthasdef), ','
     ORDER BY attrelid::regclass::text, attnum) FROM pg_attribute
     WHERE attnum > 0 AND attrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace)),
  (SELECT string_agg(conname, ',' ORDER BY conname) FROM pg_constraint),
  (SELECT string_agg(nspname, ',' ORDER BY nspname) FROM pg_namespace WHERE nspname !~ '^pg_'),
  (SELECT string_agg(proname, ',' ORDER BY proname) FROM pg_proc WHERE pronamespace = 'public'::regnamespace),
  (SELECT string_agg(extname, ',' ORDER BY extname) FROM pg_extension),
  (SELECT string_agg(tgname, ',' ORDER BY tgname) FROM pg_trigger WHERE NOT tgisinternal),
  (SELECT string_agg(setconfig::text, ',') FROM pg_db_role_setting),
  (SELECT md5(string_agg(row::text, ',' ORDER BY revision)) FROM denizen_schema AS row),
  (SELECT string_agg(version_num, ',') FROM denizen_alembic_version)))
"""

_OTHERS = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""

_EMPTY = """
DO $$
DECLARE each regclass; filled boolean;
BEGIN
  SET LOCAL session_replication_role = replica;
  FOR each IN SELECT oid FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
    AND relname NOT IN ('denizen_schema', 'denizen_alembic_version') LOOP
    EXECUTE format('SELECT EXISTS (SELECT FROM %s)', each) INTO filled;
    IF filled THEN EXECUTE format('DELETE FROM %s', each); END IF;
  END LOOP;
  FOR each IN SELECT seqrelid FROM pg_sequence LOOP
    EXECUTE format('ALTER SEQUENCE %s RESTART', each);
  END LOOP;
END $$
"""


_TABLES = """
SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
  AND relname NOT IN ('denizen_schema', 'denizen_alembic_version')
"""

# What migrations put there, such as the built-in roles.
_ROWS = "SELECT json_agg(each)::text FROM each"
_FILL = "INSERT INTO each SELECT * FROM json_populate_recordset(NULL::each, %s)"

OURS = "tests"
"""How the connections that are kept to these databases call themselves."""


class ReadyDatabases:
    """Copies of a template, each of which one test has at a time."""

    def __init__(self, server: Postgres, template: str) -> None:
        self._server = server
        self._template = template
        self._shape: Any = None
        self._rows: list[tuple[str, str]] = []
        self._ready: list[tuple[str, psycopg.Connection[Any]]] = []
        self._lent: dict[str, psycopg.Connection[Any]] = {}

    def lend(self) -> str:
        """Give the name of a database that is empty."""
        name, connection = self._ready.pop() if self._ready else self._make()
        self._lent[name] = connection
        return name

    def take_back(self, name: str) -> None:
        """Empty it again, or throw it away."""
        connection = self._lent.pop(name)
        try:
            connection.execute(_OTHERS)
            if connection.execute(_SHAPE).fetchone() == self._shape:
                connection.execute(_EMPTY)
                for table, rows in self._rows:
                    connection.execute(_FILL.replace("each", table).encode(), (rows,))
                self._ready.append((name, connection))
                return
        except psycopg.Error:  # dropped, renamed, its server stopped: whatever a test does to it
            pass
        connection.close()
        self._server.drop_database(name)

    def _make(self) -> tuple[str, psycopg.Connection[Any]]:
        name = f"test_{uuid.uuid4().hex}"
        self._server.create_database(name, template=self._template)
        connection = psycopg.connect(self._server.socket_url(name), autocommit=True, application_name=OURS)
        if self._shape is None:
            self._shape = connection.execute(_SHAPE).fetchone()
            self._rows = list(self._filled(connection))
        return name, connection

    def _filled(self, connection: psycopg.Connection[Any]) -> Iterator[tuple[str, str]]:
        for (table,) in connection.execute(_TABLES).fetchall():
            found = connection.execute(_ROWS.replace("each", table).encode()).fetchone()
            if found is not None and found[0] is not None:
                yield table, found[0]

    def close(self) -> None:
        """Let go of the connections."""
        for _, connection in self._ready:
            connection.close()
