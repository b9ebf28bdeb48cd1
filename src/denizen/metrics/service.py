"""The figures of one install, and how they are written down for Prometheus.

What every request does costs next to nothing: a whole number counted up, a list of them for times. Those are carried
over into the objects of prometheus-client when somebody reads them, and every few seconds where other processes do.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from denizen.core.accounts import Accounts
from denizen.core.errors import Unavailable
from denizen.mail.crud import count_waiting
from denizen.settings import Settings

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
HASH_SECONDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER: Final = "other"

MOST_WAITING: Final = 10_000
"""Mails that are counted as waiting: that it is so many says enough."""


class Request(NamedTuple):
    """What is told apart of requests.

    Attributes:
        route: its template, `/users/{user_id}`; `other` for what is none of ours.
        status: its class, `2xx`.
    """

    route: str
    method: str
    status: str


class Times:
    """How often something took how long: `counts` has one number for each bound, and one for all above."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(SECONDS) + 1)
        self.total = 0.0


class Figures:
    """All figures of one install in this process."""

    def __init__(self, accounts: Accounts) -> None:
        self.registry = registry = CollectorRegistry()
        self._accounts = accounts
        self._statements = 0
        self._times: dict[tuple[str, str, int], Times] = {}
        self._requests = Histogram(
            "denizen_request_seconds",
            "Requests answered, and the seconds they took.",
            Request._fields,
            buckets=SECONDS,
            registry=registry,
        )
        self._hashes = Histogram(
            "denizen_hash_seconds",
            "Passwords hashed or checked, and the seconds that took.",
            buckets=HASH_SECONDS,
            registry=registry,
        )
        self._statements_run = Counter("denizen_statements", "Statements sent to the database.", registry=registry)
        self._counted: Mapping[str, Counter] = {
            "mails": self._counter("denizen_mails", "Attempts to send a mail, by outcome.", "outcome"),
            "sign_ins": self._counter("denizen_sign_ins", "Sign-ins, by outcome.", "outcome"),
            "refusals": self._counter("denizen_refusals", "Requests refused, by code.", "code"),
            "cleaned": self._counter("denizen_cleaned_rows", "Rows deleted by housekeeping.", "what"),
        }
        self._connections = self._gauge("denizen_database_connections", "Connections in use.", "use")
        self._waiting = self._gauge("denizen_database_waiting", "Transactions that wait for a turn or a connection.")
        self._hashes_waiting = self._gauge("denizen_hashes_waiting", "Passwords that wait for a thread.")
        self._mails_waiting = Gauge(
            "denizen_mails_waiting",
            f"Mails that wait to be sent, counted up to {MOST_WAITING}.",
            registry=registry,
            multiprocess_mode="livemostrecent",
        )

    def _counter(self, name: str, meaning: str, label: str) -> Counter:
        return Counter(name, meaning, [label], registry=self.registry)

    def _gauge(self, name: str, meaning: str, *labels: str) -> Gauge:
        return Gauge(name, meaning, labels, registry=self.registry, multiprocess_mode="livesum")

    def attach(self) -> None:
        """Begin to count what the install does."""
        self._accounts.hashing.observers.append(self._hashes.observe)
        self._accounts.meters.append(self._count)
        self._accounts.watchers.append(self._add_request)

    def _count(self, what: str, kind: str, number: float) -> None:
        counter = self._counted.get(what)
        if counter is not None:
            counter.labels(kind).inc(number)

    def _add_request(self, scope: Any, status: int, seconds: float) -> None:
        """Count a request. There are as many keys as there are addresses, whatever is sent."""
        template: str = getattr(scope.get("route"), "path_format", OTHER)
        method = scope["method"]
        key = (template, method if method in METHODS else OTHER, status // 100)
        times = self._times.get(key)
        if times is None:
            times = self._times[key] = Times()
        times.counts[bisect_left(SECONDS, seconds)] += 1
        times.total += seconds

    async def refresh(self) -> None:
        """Bring everything up to now."""
        self._carry_over()
        load = self._accounts.database.load()
        self._connections.labels("write").set(load.writing)
        self._connections.labels("read").set(load.reading)
        self._waiting.set(load.waiting)
        self._hashes_waiting.set(self._accounts.hashing.waiting)
        if self._accounts.settings.mail_url is not None:
            with suppress(Unavailable):  # then the last figure stands, and those of the database tell why
                self._mails_waiting.set(await count_waiting(self._accounts.database.read, most=MOST_WAITING))

    def _carry_over(self) -> None:
        statements = self._accounts.database.statements
        self._statements_run.inc(statements - self._statements)
        self._statements = statements
        pending, self._times = self._times, {}
        for (route, method, status), times in pending.items():
            child = self._requests.labels(*Request(route.rstrip("/") or "/", method, f"{status}xx"))
            # prometheus-client takes one observation at a time, at five times what all else here costs a request.
            child._sum.inc(times.total)  # noqa: SLF001  (it has no other way in for many at once)
            for bucket, number in zip(child._buckets, times.counts, strict=True):  # noqa: SLF001  (as above)
                bucket.inc(number)

    async def expose(self) -> bytes:
        """Write all figures in Prometheus' text format, summed over the processes of this server."""
        await self.refresh()
        folder = Settings.figures_folder()
        if folder is None:
            return generate_latest(self.registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry, path=str(folder))  # type: ignore[no-untyped-call]  # it has no types
        return generate_latest(registry)
