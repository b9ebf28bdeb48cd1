"""Tables, and the foreign keys between them, as a database's catalogue has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

OnDelete = Literal["CASCADE", "SET NULL", "SET DEFAULT", "RESTRICT", "NO ACTION"]

Values = tuple[object, ...]
"""Of some columns of one row."""

BOUND: Final = 10_000
"""Rows of one table that are counted, and whose own rows are followed."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table that a deletion may reach.

    Attributes:
        name: as people write it, with its schema where it has to be named.
        sql: the same for a statement, always quoted.
        identity: expressions that tell its rows apart: the primary key, or else where the row lies.
        readable: whether this user of the database may read it.
    """

    name: str
    sql: str
    identity: tuple[str, ...]
    readable: bool = True


@dataclass(frozen=True, slots=True)
class Reference:
    """A foreign key.

    Attributes:
        child: the table that refers, by its key in `Catalogue.tables`.
        columns: of it.
        parent: the table that is referred to, likewise.
        targets: its columns, in the same order.
        types: of the targets, for a cast; empty where values need none.
        on_delete: what happens to the rows of `child`.
        needed: whether one of its columns that would be emptied takes no NULL.
    """

    child: str
    columns: tuple[str, ...]
    parent: str
    targets: tuple[str, ...]
    types: tuple[str, ...]
    on_delete: OnDelete
    needed: bool


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All that lies on the way.

    Attributes:
        start: the key of the table that it begins at.
        tables: by a key.
        references: to these tables.
    """

    start: str
    tables: dict[str, Table]
    references: tuple[Reference, ...]

    def leading_to(self, parent: str) -> list[Reference]:
        """Give the foreign keys that refer to a table."""
        return [each for each in self.references if each.parent == parent]

    def targets_in(self, parent: str) -> tuple[str, ...]:
        """Give the columns of a table that others refer to."""
        return tuple(dict.fromkeys(name for each in self.leading_to(parent) for name in each.targets))
