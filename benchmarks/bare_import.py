"""What an import could be at best: the same columns of the same people into the same indexed tables, and nothing else.

    python -m benchmarks.bare_import URL people.csv

The rows are made beforehand, by the code of the import, and are not timed: no file is read, no name checked, no clash
looked for, nothing told. On SQLite `executemany` in transactions of 5,000 rows, on PostgreSQL one COPY for each table.
"""

from __future__ import annotations

import csv
import json
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

from .contenders import Denizen
from .databases import Databases
from .figures import Figure, at_least
from .plan import Plan
from .processes import run

if TYPE_CHECKING:
    from denizen.transfer.schemas import Account

SHARE_TARGET = at_least(0.5)
IMPORT_TARGET = at_least(10_000)
ELSEWHERE = 4_000_000
"""Number of a person who is nobody else's."""
BATCH = 5_000
CACHE_KIB = 16_000  # as an import has


def make_accounts(path: Path) -> list[Account]:
    """Make what an import stores of each row of a CSV file."""
    from denizen.transfer.values import make_account

    with path.open(encoding="utf-8", newline="") as file:
        return [
            make_account(number, dict(row), at="2026-01-31T09:30:00.000000Z", reads_hash=bool)
            for number, row in enumerate(csv.DictReader(file), 2)
        ]


def into_sqlite(path: str, accounts: Sequence[Account]) -> float:
    """Store them, and return the seconds it took."""
    from denizen.transfer.schemas import STORED

    names, marks = ", ".join(STORED), ", ".join("?" * len(STORED))
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA foreign_keys=ON")
    database.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
    began = perf_counter()
    for start in range(0, len(accounts), BATCH):
        batch = accounts[start : start + BATCH]
        database.execute("BEGIN IMMEDIATE")
        database.executemany(
            f"INSERT INTO denizen_users ({names}) VALUES ({marks})", (account[: len(STORED)] for account in batch)
        )
        entries = [(start + place, account.id, account.found_by) for place, account in enumerate(batch, 1)]
        database.executemany("INSERT INTO denizen_search (number, user_id, text) VALUES (?, ?, ?)", entries)
        database.executemany(
            "INSERT INTO denizen_search_index (rowid, text) VALUES (?, ?)", ((entry[0], entry[2]) for entry in entries)
        )
        database.execute("COMMIT")
    taken = perf_counter() - began
    database.close()
    return taken


def into_postgresql(url: str, accounts: Sequence[Account]) -> float:
    """Store them, and return the seconds it took."""
    import psycopg

    from denizen.transfer.schemas import STORED

    tables: tuple[tuple[str, list[tuple[Any, ...]]], ...] = (
        (f"denizen_users ({', '.join(STORED)})", [account[: len(STORED)] for account in accounts]),
        ("denizen_search (user_id, text)", [(account.id, account.found_by) for account in accounts]),
    )
    with psycopg.connect(url) as database:
        began = perf_counter()
        for table, rows in tables:
            with database.cursor().copy(f"COPY {table} FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
        database.commit()
        return perf_counter() - began


def measure_share(plan: Plan, databases: Databases) -> list[Figure]:
    """Import the same people into fresh databases, in turn with the bare way; the median round of each counts.

    For the comparison those of the command's seconds are taken off that it needs for a file of one person: a start is a
    matter of its own.
    """
    plan.tell(f"{databases.title}: importing {plan.users:,} people {plan.rounds} times beside the bare way")
    seconds: dict[str, list[float]] = {"bare": [], "import": []}
    starts = list[float]()
    for number in range(plan.rounds):
        for way, taken in seconds.items():
            denizen = Denizen(databases, plan.folder, name=f"{way}_{number}")
            denizen.prepare()
            if way == "import":
                starts.append(denizen.take(1, start=ELSEWHERE).seconds)
                taken.append(denizen.take(plan.users).seconds)
            else:
                path = str(denizen.people(plan.users))
                command = [sys.executable, "-m", "benchmarks.bare_import", denizen.url, path]
                taken.append(json.loads(run(command, settings={}, folder=plan.folder).output)["seconds"])
            databases.drop(denizen.name)
    bare, whole = (median(taken) for taken in seconds.values())
    begun = whole - median(starts)
    return [
        Figure(f"bare import of {plan.users:,} people", databases.title, plan.users / bare, "rows/s"),
        Figure(f"import of {plan.users:,} people", databases.title, plan.users / whole, "rows/s", IMPORT_TARGET),
        Figure("... once it has begun", databases.title, plan.users / begun, "rows/s"),
        Figure("... in the bare one", databases.title, bare / begun, "times", SHARE_TARGET),
    ]


def main() -> int:
    """Store the people of a file in an empty, migrated database, and print how long that took."""
    url, path = sys.argv[1], Path(sys.argv[2])
    accounts = make_accounts(path)
    into = into_sqlite if url.startswith("sqlite") else into_postgresql
    seconds = into(url.removeprefix("sqlite:///"), accounts)
    print(json.dumps({"rows": len(accounts), "seconds": seconds}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
