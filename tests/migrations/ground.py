"""What tests of migrations stand on: rows with children, revisions planted in a folder, a database's catalogue."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, NullPool, create_engine, event, func, insert, select, text
from sqlalchemy.engine import make_url

from denizen.keys.models import Key
from denizen.migrations.history import VERSIONS, History
from denizen.users.models import User

AT = datetime(2026, 1, 31, 9, 30, 0, 123456, tzinfo=UTC)


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    """Open a database as anybody would who is not Denizen, with foreign keys on, in a transaction."""
    where = make_url(url)
    on_postgresql = where.get_backend_name() == "postgresql"
    engine = create_engine(where.set(drivername="postgresql+psycopg") if on_postgresql else where, poolclass=NullPool)
    if not on_postgresql:
        event.listen(engine, "connect", lambda driver, record: driver.execute("PRAGMA foreign_keys=ON"))
    with engine.begin() as connection:
        yield connection


def id_of(number: int) -> UUID:
    """A UUIDv7-shaped id that is the same in each run."""
    return UUID(int=0x0190_0000_0000_7000_8000_0000_0000_0000 + number)


def fill(url: str, people: int = 3) -> None:
    """Store people, each with an operator's key that made one more: two keys a person."""
    users = [
        {
            "id": id_of(number),
            "username": f"Ada{number}",
            "email": f"Ada{number}@example.org" if number % 2 else None,
            "full_name": f"Ada Lovelace the {number}.",
            "is_active": bool(number % 3),
            "created_at": AT,
            "updated_at": AT,
            "version": 1,
            "email_key": f"ada{number}@example.org" if number % 2 else None,
            "username_key": f"ada{number}",
            "username_skeleton": f"ada{number}",
        }
        for number in range(people)
    ]
    keys = [
        {
            "id": id_of(1_000_000 + 2 * number + child),
            "name": f"key {number}.{child}",
            "hint": "dzk_abcd",
            "token_digest": (2 * number + child).to_bytes(32, "big"),
            "user_id": id_of(number),
            "maker_id": id_of(1_000_000 + 2 * number) if child else None,
            "scopes": ["users:read"],
            "created_at": AT,
        }
        for number in range(people)
        for child in (0, 1)
    ]
    with connected(url) as connection:
        connection.execute(insert(User), users)
        connection.execute(insert(Key), keys)


def rows(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """Give all people and keys, by the columns of the first revision."""
    found = {}
    with connected(url) as connection:
        for model in (User, Key):
            query = select(model.__table__).order_by(model.id)
            found[model.__tablename__] = [tuple(row) for row in connection.execute(query)]
    return found


def count(connection: Connection, table: str) -> int:
    """Count the rows of a table."""
    return connection.scalar(select(func.count()).select_from(text(table))) or 0


def catalogue(url: str) -> set[str]:
    """Describe each table, column, constraint and index of ours, so that two databases can be compared."""
    with connected(url) as connection:
        if connection.dialect.name == "sqlite":
            return set(_catalogue_of_sqlite(connection))
        return {" ".join(str(part) for part in row) for row in connection.execute(text(_POSTGRESQL_CATALOGUE))}


def _catalogue_of_sqlite(connection: Connection) -> Iterator[str]:
    query = "SELECT type, tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL AND tbl_name LIKE 'denizen_%'"
    for kind, table, sql in connection.exec_driver_sql(query).all():
        if table == "denizen_alembic_version":
            continue
        if kind != "table":
            yield re.sub(r"\s+", " ", sql)
            continue
        body = sql[sql.index("(") + 1 : sql.rindex(")")]
        for line in re.split(r",\s*\n|, (?=\w+ VARCHAR)", body):  # columns added later follow on the last line
            rule = re.sub(r'[\s"]+', " ", line).strip()
            yield f"{table}: {rule}"


_POSTGRESQL_CATALOGUE = """
SELECT 'column', table_name, column_name, data_type, character_maximum_length, is_nullable, collation_name,
       column_default
  FROM information_schema.columns
 WHERE table_name LIKE 'denizen\\_%' AND table_name <> 'denizen_alembic_version'
UNION ALL
SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid), NULL, NULL, NULL, NULL
  FROM pg_constraint
 WHERE conrelid::regclass::text LIKE 'denizen\\_%' AND conrelid::regclass::text <> 'denizen_alembic_version'
UNION ALL
SELECT 'index', tablename, indexname, indexdef, NULL, NULL, NULL, NULL
  FROM pg_indexes WHERE tablename LIKE 'denizen\\_%' AND tablename <> 'denizen_alembic_version'
"""


def planted(folder: Path, *revisions: str) -> History:
    """Give the shipped history with `revisions` after it, in a folder of their own.

    Args:
        folder: where to write them.
        revisions: the bodies of modules, without their identifiers; those are numbered from `denizen_9001` on.
    """
    folder.mkdir(exist_ok=True)
    shutil.copytree(VERSIONS, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    follows = History(folder).heads[0]
    for number, body in enumerate(revisions, 9001):
        head = (
            f'"""Planted {number}."""\nimport sqlalchemy as sa\nfrom alembic import op\n'
            f"revision = 'denizen_{number}'\ndown_revision = {follows!r}\nbranch_labels = depends_on = None\n"
        )
        (folder / f"denizen_{number}_planted.py").write_text(head + body)
        follows = f"denizen_{number}"
    return History(folder)


REBUILD = """
breaking = False

def upgrade():
    rebuild = "always" if op.get_bind().dialect.name == "sqlite" else "auto"
    wider = {"existing_type": sa.String(1024), "type_": sa.String(2000)}
    with op.batch_alter_table("denizen_users", recreate=rebuild) as batch:
        batch.add_column(sa.Column("nickname", sa.String(50), nullable=True))
        batch.alter_column("hashed_password", existing_nullable=True, **wider)
    with op.batch_alter_table("denizen_keys", recreate=rebuild) as batch:
        batch.alter_column("name", existing_type=sa.String(100), type_=sa.String(120), existing_nullable=False)

def downgrade():
    with op.batch_alter_table("denizen_keys") as batch:
        batch.alter_column("name", existing_type=sa.String(120), type_=sa.String(100), existing_nullable=False)
    with op.batch_alter_table("denizen_users") as batch:
        narrower = {"existing_type": sa.String(2000), "type_": sa.String(1024)}
        batch.alter_column("hashed_password", existing_nullable=True, **narrower)
        batch.drop_column("nickname")
"""
"""Rebuilds both tables on SQLite: the parent of a cascade, and the one that refers to itself."""


def python(script: str, *arguments: str) -> subprocess.Popen[str]:
    """Start Python on `script` in a process of its own, with its output to read."""
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=inherited()
    )


def inherited(**settings: str) -> dict[str, str]:
    """Give the environment of this process without any setting of ours but `settings`."""
    return {name: value for name, value in os.environ.items() if not name.startswith("DENIZEN_")} | settings
