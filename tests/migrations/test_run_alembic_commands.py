"""Alembic's own commands, word for word, as contributors type them in the clone."""

from __future__ import annotations

import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from denizen.migrations import runner
from denizen.migrations.history import SHIPPED
from denizen.migrations.schema import SchemaKind
from tests.migrations.ground import catalogue, fill, inherited, rows
from tests.postgres import Postgres

ROOT = Path(__file__).parents[2]
HEAD = SHIPPED.heads[0]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The project's folder as it is cloned, for tests that write into it."""
    folder = tmp_path / "clone"
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "alembic.ini", folder)
    return folder


def alembic(clone: Path, command: str, url: str | None = None, *, code: int = 0) -> str:
    """Run `alembic ...` in the clone; give what it wrote to standard output, and to standard error when it fails."""
    program, *words = shlex.split(command)
    assert program == "alembic"
    line = [sys.executable, "-m", "alembic.config", *words]
    # Alembic asks what is installed for plugins before it reads alembic.ini: the clone is what is installed.
    environment = inherited(PYTHONPATH=str(clone / "src"), **({} if url is None else {"DENIZEN_DATABASE_URL": url}))
    done = subprocess.run(line, cwd=clone, env=environment, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout if code == 0 else done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_tutorials_commands_word_for_word_in_a_fresh_clone(clone: Path) -> None:
    url = f"sqlite:///{clone / 'denizen.db'}"
    models = clone / "src/denizen/users/models.py"
    with models.open("a") as file:
        file.write("    nickname: Mapped[str | None] = mapped_column(String(50), default=None)\n")
        file.write("    seen_at: Mapped[datetime | None] = mapped_column(default=None)\n")

    alembic(clone, 'alembic revision --autogenerate -m "Add nicknames"')
    assert not (clone / "denizen.db").exists()
    alembic(clone, "alembic upgrade head")

    written = clone / "src/denizen/migrations/versions/denizen_0011_add_nicknames.py"
    code = written.read_text()
    assert 'batch_op.add_column(sa.Column("nickname", sa.String(length=50), nullable=True))' in code.replace("'", '"')
    assert "sa.String(length=27).with_variant(sa.DateTime(timezone=True), 'postgresql')" in code
    assert re.findall(r"batch_op\.\w+", code) == ["batch_op.add_column"] * 2 + ["batch_op.drop_column"] * 2
    assert "breaking = False" in code
    assert "denizen.core" not in code
    assert "denizen_0011 (head)" in alembic(clone, "alembic current")
    assert "No new upgrade operations detected." in alembic(clone, "alembic check")
    assert runner.status(url).kind is SchemaKind.NEWER

    alembic(clone, "alembic downgrade -1")
    assert alembic(clone, "alembic current").split() == [HEAD]
    alembic(clone, "alembic upgrade +1")
    alembic(clone, "alembic downgrade base")
    assert runner.status(url).kind is SchemaKind.EMPTY
    assert "Target database is not up to date" not in alembic(clone, "alembic check")


@pytest.mark.slow
def test_upgrade_downgrade_upgrade_with_rows(empty_url: str) -> None:
    alembic(ROOT, "alembic upgrade head", empty_url)
    assert runner.status(empty_url).kind is SchemaKind.CURRENT
    fill(empty_url)

    assert "No new upgrade operations detected." in alembic(ROOT, "alembic check", empty_url)
    alembic(ROOT, "alembic upgrade head", empty_url)
    assert len(rows(empty_url)["denizen_users"]) == 3

    alembic(ROOT, "alembic downgrade base", empty_url)
    assert catalogue(empty_url) == set()
    alembic(ROOT, "alembic upgrade denizen@head", empty_url)
    assert runner.check(empty_url) == []


@pytest.mark.parametrize("by", [pytest.param("alembic", marks=pytest.mark.slow), "runner"])
def test_sql_for_sqlite_builds_the_schema(sqlite_url: str, by: str, tmp_path: Path) -> None:
    by_hand = tmp_path / "by_hand.db"
    url = f"sqlite:///{tmp_path / 'none.db'}"
    up = alembic(ROOT, "alembic upgrade head --sql", url) if by == "alembic" else runner.sql("base", "head", "sqlite")
    down = (
        alembic(ROOT, f"alembic downgrade {HEAD}:base --sql", url)
        if by == "alembic"
        else runner.sql("head", "base", "sqlite")
    )

    with closing(sqlite3.connect(by_hand, isolation_level=None)) as connection:
        connection.executescript(up)
        assert catalogue(f"sqlite:///{by_hand}") == catalogue(sqlite_url)
        assert runner.status(f"sqlite:///{by_hand}") == runner.status(sqlite_url)
        assert runner.upgrade(f"sqlite:///{by_hand}").steps == ()
        connection.executescript(down)
    assert runner.status(f"sqlite:///{by_hand}").kind is SchemaKind.EMPTY
    assert not (tmp_path / "none.db").exists()


@pytest.fixture
def by_hand(postgres: Postgres) -> Iterator[str]:
    """An empty PostgreSQL database."""
    name = f"by_hand_{uuid.uuid4().hex}"
    yield postgres.create_database(name)
    postgres.drop_database(name)


@pytest.mark.parametrize("by", [pytest.param("alembic", marks=pytest.mark.slow), "runner"])
def test_sql_for_postgresql_builds_the_schema(postgres_url: str, by_hand: str, by: str) -> None:
    nowhere = "postgresql://nobody:secret@127.0.0.1:1/nowhere"
    up = (
        alembic(ROOT, "alembic upgrade head --sql", nowhere)
        if by == "alembic"
        else runner.sql("base", "head", "postgresql")
    )
    down = (
        alembic(ROOT, f"alembic downgrade {HEAD}:base --sql", nowhere)
        if by == "alembic"
        else runner.sql("head", "base", "postgresql")
    )

    with psycopg.connect(by_hand, autocommit=True) as connection:
        connection.execute(up.encode())
        assert catalogue(by_hand) == catalogue(postgres_url)
        assert runner.status(by_hand) == runner.status(postgres_url)
        assert runner.upgrade(by_hand).steps == ()
        connection.execute(down.encode())
    assert runner.status(by_hand).kind is SchemaKind.EMPTY


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_revisions_without_changes(clone: Path) -> None:
    versions = clone / "src/denizen/migrations/versions"

    assert "no file was written" in alembic(clone, 'alembic revision --autogenerate -m "Nothing"')
    assert len(list(versions.glob("*.py"))) == 10
    alembic(clone, 'alembic revision -m "Fill something in"')
    assert (versions / "denizen_0011_fill_something_in.py").exists()
    assert "denizen_0010 -> denizen_0011 (denizen) (head), Fill something in" in alembic(clone, "alembic history")
    assert "denizen_0011 (denizen) (head)" in alembic(clone, "alembic heads")
    assert not (clone / "denizen.db").exists()


@pytest.mark.slow
def test_stamping_records_what_it_stands_for(database_url: str) -> None:
    before = runner.status(database_url)
    alembic(ROOT, "alembic stamp base", database_url)
    assert runner.status(database_url).kind is SchemaKind.UNKNOWN

    alembic(ROOT, "alembic stamp head", database_url)

    assert runner.status(database_url) == before


@pytest.mark.slow
def test_failures_are_sentences(tmp_path: Path) -> None:
    none = f"sqlite:///{tmp_path / 'none.db'}"

    assert "FAILED: There is no database at" in alembic(ROOT, "alembic downgrade base", none, code=1)
    assert "DENIZEN_DATABASE_URL must begin with sqlite:///" in alembic(
        ROOT, "alembic upgrade head", "mysql://x", code=1
    )
    away = alembic(ROOT, "alembic upgrade head", "postgresql://me:hunter22@127.0.0.1:1/x", code=1)
    assert "FAILED: postgresql://me:********@127.0.0.1:1/x does not answer" in away
    assert "hunter22" not in away
    assert "Traceback" not in away
    assert not (tmp_path / "none.db").exists()
