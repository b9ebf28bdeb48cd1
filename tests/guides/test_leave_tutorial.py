"""`docs/guides/from-the-tutorial.md`, followed word for word by somebody who has people in his database."""

from __future__ import annotations

import re
import socket
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from tests.consoles import blocks, follow, serving
from tests.guides.tutorial import FILES
from tests.migrations.ground import connected
from tests.postgres import Postgres

PAGE = Path(__file__).parents[2] / "docs" / "guides" / "from-the-tutorial.md"
TARGET = re.compile(r"# (\S+\.py)\n")
SQLITE = "sqlite:///sql_app.db"


@pytest.fixture
def databases(database_kind: str, request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """The URLs of the database that the reader has, as it stands in his files, and of an empty one."""
    if database_kind == "sqlite":
        yield SQLITE, "sqlite:///fresh.db"
        return
    postgres: Postgres = request.getfixturevalue("postgres")
    names = [f"guide_{uuid.uuid4().hex}" for _ in range(2)]
    yield postgres.create_database(names[0]), postgres.create_database(names[1])
    for name in names:
        postgres.drop_database(name)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_everybody_and_everything_comes_along(
    databases: tuple[str, str], tmp_path: Path, environment: dict[str, str]
) -> None:
    database, fresh = databases
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])

    def mine(text: str) -> str:
        """As the reader has it: his database; and a port that is free here."""
        return text.replace(SQLITE, database).replace("8000", port)

    def put(name: str, text: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(mine(text))

    for name, text in FILES.items():
        put(name, text)
    first, *others = blocks(PAGE.read_text())
    put("sql_app/models.py", first[1])
    fill = ["python", "fill.py", PasswordHasher().hash("correct horse battery")]
    subprocess.run(fill, cwd=tmp_path, env=environment, check=True)

    with serving() as serve:
        for language, block in others:
            if language == "python":
                target = TARGET.match(block)
                assert target, block
                put(target[1], block)
            elif block.startswith("$ uvicorn"):
                serve(mine(block).removeprefix("$ ").split(), tmp_path, environment, f"http://127.0.0.1:{port}/docs")
            else:
                follow(mine(block), tmp_path, environment)

    at = f"sqlite:///{tmp_path}/sql_app.db" if database == SQLITE else database
    with connected(at) as connection:
        query = "SELECT title, external_id FROM items JOIN denizen_users ON denizen_users.id = owner_id ORDER BY title"
        owners = connection.exec_driver_sql(query).all()
    assert [tuple(row) for row in owners] == [("Engine", "1"), ("Letters", "2"), ("Second engine", "1")]
    follow("$ alembic upgrade heads\n$ alembic check\n", tmp_path, {**environment, "DENIZEN_DATABASE_URL": fresh})
