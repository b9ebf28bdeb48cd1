"""How long a search takes in the database, from the call to the rows: rare, common and absent words.

The first call of a fresh connection is timed as well as the tenth: PostgreSQL plans a prepared statement anew five
times, and then by habit. What an answer costs beside the database, HTTP and JSON, the list of 10 shows.
"""

from __future__ import annotations

import asyncio
import json
import sys
from statistics import median
from time import perf_counter

from .databases import Databases
from .figures import Figure, at_most
from .plan import Plan

SEARCH_TARGET = at_most(20)
CONNECTIONS = 7
CALLS = 10
LIMIT = 20


def words(users: int) -> dict[str, str]:
    """Return what is asked for: the people are those of `benchmarks.people`."""
    return {
        "rare": str(users * 3 // 4 + 7),  # the number in one username, one address and one external id
        "common": "smith",
        "in every address": "example",
        "absent": "zzyzx",
        "two letters": "an",
        "one Chinese character": "李",
        "two words": "ada smith",
    }


async def time_search(url: str, asked: str) -> tuple[float, float, int]:
    """Return the milliseconds of the first and of the tenth call, medians over fresh connections, and the rows."""
    from denizen.core.database import Database
    from denizen.directory.crud import search_users
    from denizen.search.service import understand

    first, tenth, found = [], [], 0
    for _ in range(CONNECTIONS):
        database = Database(url)
        await database.ping()
        question = understand(asked, database.kind)
        taken = []
        for _ in range(CALLS):
            began = perf_counter()
            rows, _ = await search_users(database.read, question, limit=LIMIT)
            taken.append(1e3 * (perf_counter() - began))
            found = len(rows)
        first.append(taken[0])
        tenth.append(taken[-1])
        await database.close()
    return median(first), median(tenth), found


def measure_search(plan: Plan, databases: Databases, url: str, *, users: int) -> list[Figure]:
    """Time each kind of search; the figure with the target is the slower of the first and the tenth call."""
    figures = []
    for kind, asked in words(users).items():
        first, tenth, found = asyncio.run(time_search(url, asked))
        if bool(found) != (kind != "absent"):
            raise RuntimeError(f"Searching for {asked!r} found {found} people.")
        plan.tell(f"{databases.title}: search, {kind}: first call {first:.2f} ms, tenth {tenth:.2f} ms")
        name = f"search, {kind}, {users:,} users"
        figures.append(Figure(name, databases.title, max(first, tenth), "ms", SEARCH_TARGET))
    return figures


def main() -> int:
    """Print the times on one database that is there: python -m benchmarks.finding URL USERS."""
    url, users = sys.argv[1], int(sys.argv[2])
    for kind, asked in words(users).items():
        first, tenth, found = asyncio.run(time_search(url, asked))
        print(json.dumps({"search": kind, "first_ms": round(first, 2), "tenth_ms": round(tenth, 2), "rows": found}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
