"""Reads of one account while the same process imports a file, as a share of those that it serves undisturbed.

The file goes up over HTTP to the server that is measured: its one event loop reads, checks and writes the rows and
answers the readers. How fast the import goes meanwhile is shown too.
"""

from __future__ import annotations

import http.client
import threading
from contextlib import suppress
from statistics import median
from time import perf_counter
from typing import Self

from .contenders import Denizen
from .figures import Figure, at_least
from .people import make_people, write
from .plan import Plan
from .traffic import clear, put_load

KEPT_TARGET = at_least(0.5)
FIRST = 5_000_000
"""Number of the first person of the file: nobody who is there already."""


class Upload:
    """An import that runs on a thread of its own, with the results read as they come."""

    def __init__(self, denizen: Denizen, rows: int) -> None:
        self._port, self._token = denizen.server.port, denizen.token
        self._path = denizen.folder / "beside.csv"
        write(make_people(rows, start=FIRST), self._path)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=120)
        self._begun = threading.Event()
        self.results = 0
        self.status = 0

    def __enter__(self) -> Self:
        """Send the file, and wait for the first results."""
        self._thread.start()
        if not self._begun.wait(120):
            raise RuntimeError("The import did not begin.")
        return self

    def __exit__(self, *_: object) -> None:
        """Break it off."""
        with suppress(OSError):
            self._connection.close()
        self._thread.join(30)

    @property
    def runs(self) -> bool:
        """Whether it is still at it."""
        return self._thread.is_alive()

    def _run(self) -> None:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "text/csv"}
        with self._path.open("rb") as file, suppress(OSError, ValueError, AttributeError, http.client.HTTPException):
            self._connection.request("POST", "/users/import", body=file, headers=headers)
            answer = self._connection.getresponse()
            self.status = answer.status
            for _ in answer:
                self.results += 1
                self._begun.set()
        self._begun.set()


def measure_beside(plan: Plan, title: str, denizen: Denizen) -> list[Figure]:
    """Put load on the server, quiet and beside an import, in turn for as many rounds; the server is up.

    Raises:
        RuntimeError: the import was refused, or had ended before the load.
    """
    clear(plan.folder)
    quiet = [put_load(denizen, "one user", plan, plan.seconds).rate for _ in range(plan.rounds)]
    with Upload(denizen, rows=max(20_000, int(plan.rounds * plan.seconds * 20_000))) as upload:
        began, before = perf_counter(), upload.results
        beside = [put_load(denizen, "one user", plan, plan.seconds).rate for _ in range(plan.rounds)]
        rate = (upload.results - before) / (perf_counter() - began)
        if upload.status != 200 or not upload.runs:
            raise RuntimeError(f"The import ended with {upload.results:,} results, answered {upload.status}.")
    plan.tell(f"{title}: reads {median(quiet):,.0f}/s quiet, {median(beside):,.0f}/s beside {rate:,.0f} rows/s")
    kept = median(beside) / median(quiet)
    return [
        Figure("reads of one user beside an import, in quiet ones", title, kept, "times", KEPT_TARGET),
        Figure("... and the import beside the reads", title, rate, "rows/s"),
    ]
