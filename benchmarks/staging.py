"""A batch of 5,000 rows into PostgreSQL: as one JSON text, or by COPY into a temporary table and from there (ADR 0019).

    python -m benchmarks.staging

Both into the real table with all its indexes, in turns; the first batch of each warms up and is left out.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import psycopg

from denizen.core.ids import new_id
from denizen.migrations import runner
from denizen.transfer.crud import _INSERT
from denizen.transfer.schemas import STORED
from tests.postgres import Postgres

ROWS = 5_000
ROUNDS = 10
NAMES = ", ".join(STORED)
AT = "2026-01-31T09:30:00.000000Z"


def people(start: int) -> list[tuple[Any, ...]]:
    """Give the rows of one batch."""
    made = []
    for number in range(start, start + ROWS):
        name = f"user{number}.{number * 7919 % 10_007}"
        email = f"{name}@example.org"
        made.append(
            (str(new_id()), name, email, f"x{number}", f"Person {number}", None, True, AT, AT, 1, email, name, name)
        )
    return made


def by_json(connection: psycopg.Connection, rows: Sequence[tuple[Any, ...]]) -> int:
    """Insert as imports do."""
    statement = str(_INSERT["postgresql"]).replace(":rows", "%(rows)s")
    text = json.dumps(rows, ensure_ascii=False, separators=(",", ":"))
    found = connection.execute(statement, {"rows": text}).fetchone()
    return len(json.loads(found[0])) if found else 0


def by_copy(connection: psycopg.Connection, rows: Sequence[tuple[Any, ...]]) -> int:
    """Insert by way of a temporary table."""
    connection.execute(f"CREATE TEMP TABLE staged ON COMMIT DROP AS SELECT {NAMES} FROM denizen_users WITH NO DATA")
    with connection.cursor().copy(f"COPY staged ({NAMES}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)
    moved = f"INSERT INTO denizen_users ({NAMES}) SELECT {NAMES} FROM staged ON CONFLICT DO NOTHING RETURNING id"
    return len(connection.execute(moved).fetchall())


def main() -> None:
    """Measure, and print what a batch takes."""
    ways: dict[str, Callable[..., int]] = {"json": by_json, "copy": by_copy}
    taken: dict[str, list[float]] = {name: [] for name in ways}
    with Postgres(durable=True) as server:
        url = server.create_database("staging")
        runner.upgrade(url)
        with psycopg.connect(url) as connection:
            for number in range(ROUNDS * len(ways)):
                name = list(ways)[number % len(ways)]
                rows = people(number * ROWS)
                began = time.perf_counter()
                with connection.transaction():
                    assert ways[name](connection, rows) == ROWS
                taken[name].append(time.perf_counter() - began)
    medians = {name: statistics.median(seconds[1:]) for name, seconds in taken.items()}
    for name, seconds in medians.items():
        print(f"{name}: {seconds * 1000:.0f} ms a batch, {ROWS / seconds:,.0f} rows a second")
    print(f"copy takes {medians['copy'] / medians['json']:.2f} times as long as json")


if __name__ == "__main__":
    main()
