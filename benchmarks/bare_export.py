"""The bare way out of a database: the driver alone, and the same columns that `denizen users export` writes.

On PostgreSQL it is `COPY ... TO STDOUT` with its bytes written to a file as they come; on SQLite a cursor whose rows
Python's csv module writes. No batches, no formulas neutralised, one snapshot held for as long as it takes.
"""

from __future__ import annotations

import csv
import json
import sqlite3
import sys
from pathlib import Path
from time import perf_counter

COLUMNS = (
    "id, username, email, external_id, full_name, is_active, email_verified_at, suspended_at, suspended_until, "
    "created_at, updated_at, version"
)
QUERY = f"SELECT {COLUMNS} FROM denizen_users WHERE deleted_at IS NULL ORDER BY id"


def take_out(url: str, path: Path) -> int:
    """Write all accounts to a file of CSV, and return how many they are."""
    if url.startswith("sqlite:///"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"))
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(connection.execute(QUERY))
        count = int(connection.execute("SELECT count(*) FROM denizen_users WHERE deleted_at IS NULL").fetchone()[0])
        connection.close()
        return count
    import psycopg

    with psycopg.connect(url) as server, server.cursor() as cursor, path.open("wb") as out:
        with cursor.copy(f"COPY ({QUERY}) TO STDOUT (FORMAT csv)".encode()) as copy:
            for data in copy:
                out.write(data)
        return cursor.rowcount


def main() -> None:
    """Do it once, and print how many rows it took how long."""
    url, path = sys.argv[1:]
    began = perf_counter()
    rows = take_out(url, Path(path))
    print(json.dumps({"rows": rows, "seconds": perf_counter() - began}))


if __name__ == "__main__":
    main()
