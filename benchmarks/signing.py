"""Signing in, beside what the machine can hash and beside fastapi-users.

Sign-ins are measured with the server on all cores, since hashing is what they cost; who is asking, on one core for each
server, as all requests are.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter, sleep

from argon2 import PasswordHasher

from denizen.core.hashers import Argon2Hasher

from .contenders import Denizen
from .databases import Databases
from .figures import Figure, at_least, at_most
from .load import Load, run_load, write_requests
from .peers.bearers import PASSWORD, Bearers, DenizenBearers, PeerBearers
from .plan import Plan
from .processes import CORES, measured_core
from .wire import Client, Request

IN_FLIGHT = 50
BESIDE = 4
"""Clients that sign in again and again while others read."""
WARM_UP = 1.0


def measure_signing(plan: Plan, databases: Databases, denizen: Denizen) -> list[Figure]:
    """Measure all of it; Denizen's database is filled and its server is down."""
    title = databases.title
    bearers = DenizenBearers(denizen)
    with databases.on_all_cores(), up(bearers, pinned=False):
        bearers.prepare()
        figures = [*measure_sign_ins(plan, title, bearers), *measure_waiting(plan, title, bearers)]
    plan.tell(f"{title}: filling fastapi-users with {plan.users:,} people")
    peer = PeerBearers(databases, plan.folder, plan.users)
    # What fastapi-users makes: pwdlib's argon2id, with the parameters that argon2-cffi has as defaults.
    peer.fill(PasswordHasher().hash(PASSWORD))
    with up(bearers), up(peer):
        peer.prepare()
        figures += measure_bearers(plan, title, bearers, peer)
    databases.drop("peer")
    return figures


@contextmanager
def up(bearers: Bearers, *, pinned: bool = True) -> Iterator[None]:
    """Run a server."""
    bearers.server.start(pinned=pinned)
    try:
        yield
    finally:
        bearers.server.stop()


def hashes_a_second(seconds: float, check: Callable[[str, str], bool]) -> float:
    """Return how many passwords this machine can check in a second on all cores, with nothing else to do.

    Args:
        seconds: for how long.
        check: says whether a hash is of a password.
    """
    encoded = Argon2Hasher().hash(PASSWORD)
    with measured_core(pinned=False):
        count = len(CORES) if CORES else os.cpu_count() or 1

        def work(until: float) -> int:
            done = 0
            while perf_counter() < until:
                if not check(PASSWORD, encoded):
                    raise RuntimeError("The hash does not fit its own password.")
                done += 1
            return done

        began = perf_counter()
        with ThreadPoolExecutor(count) as pool:
            done = sum(pool.map(work, [began + seconds] * count))
        return done / (perf_counter() - began)


def check_by_argon2_cffi(password: str, encoded: str) -> bool:
    """Check as Python's users of argon2 do; what the target is in."""
    return PasswordHasher().verify(encoded, password)


def load(plan: Plan, bearers: Bearers, requests: Iterator[Request], seconds: float, connections: int) -> Load:
    """Put load on a server."""
    path = write_requests(requests, plan.folder / f"{bearers.name}-{threading.get_ident()}.tsv")
    return run_load(bearers.server.port, path, seconds=seconds, generator=plan.generator, connections=connections)


def settle(bearers: Bearers) -> None:
    """Wait until the sign-ins whose clients hung up are done with: they are answered in turn, and hold the queue."""
    with Client(bearers.server.port, timeout=60) as client:
        while client.ask(next(bearers.sign_ins())).status == 503:
            sleep(0.2)


def measure_sign_ins(plan: Plan, title: str, bearers: Bearers) -> list[Figure]:
    """Measure sign-ins a second against hashes a second, in turns: those of the library that nearly everybody hashes
    with in Python, which the target means, and those of the one that computes ours.
    """
    load(plan, bearers, bearers.sign_ins(), WARM_UP, IN_FLIGHT)
    settle(bearers)
    usual, own, signed = [], [], []
    for _ in range(plan.rounds):
        usual.append(hashes_a_second(plan.seconds, check_by_argon2_cffi))
        own.append(hashes_a_second(plan.seconds, Argon2Hasher().verify))
        measured = load(plan, bearers, bearers.sign_ins(), plan.seconds, IN_FLIGHT)
        if measured.refused:
            raise RuntimeError(f"{measured.refused} of {measured.answers} sign-ins were refused.")
        signed.append(measured.rate)
        settle(bearers)
    rate, by_cffi, by_sodium = median(signed), median(usual), median(own)
    plan.tell(
        f"{title}: {rate:.0f} sign-ins a second, {by_cffi:.0f} hashes by argon2-cffi, {by_sodium:.0f} by libsodium"
    )
    return [
        Figure("sign-ins a second", title, rate, "1/s"),
        Figure("... in argon2-cffi's hashes of all cores", title, rate / by_cffi, "times", at_least(0.9)),
        Figure("... in libsodium's, which compute them", title, rate / by_sodium, "times"),
    ]


@contextmanager
def signing_in(plan: Plan, bearers: Bearers, clients: int, seconds: float) -> Iterator[list[Load]]:
    """Keep so many sign-ins in flight, for so long or a little longer."""
    found: list[Load] = []
    path = write_requests(bearers.sign_ins(), plan.folder / f"{bearers.name}-sign-ins.tsv")

    def run() -> None:
        found.append(
            run_load(bearers.server.port, path, seconds=seconds, generator=plan.generator, connections=clients)
        )

    thread = threading.Thread(target=run)
    thread.start()
    sleep(0.5)
    try:
        yield found
    finally:
        thread.join()
        settle(bearers)


def measure_waiting(plan: Plan, title: str, bearers: Bearers) -> list[Figure]:
    """Measure how long others wait while many sign in."""
    figures = []
    health = iter([Request("GET", "/healthz")])
    for name, requests, most in (("/healthz", health, 150), ("GET /users/me", bearers.reads(), 250)):
        path = write_requests(requests, plan.folder / "waiting.tsv")
        waited = []
        for _ in range(plan.rounds):
            with signing_in(plan, bearers, IN_FLIGHT, plan.seconds + 1):
                waited.append(one_by_one(plan, bearers, path))
        what = f"p99 of {name} with {IN_FLIGHT} sign-ins in flight"
        figures.append(Figure(what, title, median(waited), "ms", at_most(most)))
    return figures


def one_by_one(plan: Plan, bearers: Bearers, path: Path) -> float:
    """Return the 99th percentile of requests that are sent one after the other, in milliseconds."""
    found = run_load(bearers.server.port, path, seconds=plan.seconds, generator=plan.generator, connections=1)
    if found.refused or found.broken:
        raise RuntimeError(f"{found.refused} of {found.answers} were refused, {found.broken} broken.")
    return found.p99_ms


def measure_bearers(plan: Plan, title: str, ours: Bearers, peer: Bearers) -> list[Figure]:
    """Measure `GET /users/me` of both, quiet and beside sign-ins, in turns."""
    both = (ours, peer)
    quiet: dict[str, list[float]] = {each.name: [] for each in both}
    beside: dict[str, list[float]] = {each.name: [] for each in both}
    for each in both:
        load(plan, each, each.reads(), WARM_UP, 32)
    for _ in range(plan.rounds):
        for each in both:
            quiet[each.name].append(load(plan, each, each.reads(), plan.seconds, 32).rate)
            with signing_in(plan, each, BESIDE, plan.seconds + 1):
                beside[each.name].append(load(plan, each, each.reads(), plan.seconds, 32).rate)
    rates = {name: (median(quiet[name]), median(beside[name])) for name in quiet}
    told = ", ".join(f"{name} {calm:,.0f}/s, {busy:,.0f}/s beside sign-ins" for name, (calm, busy) in rates.items())
    plan.tell(f"{title}: GET /users/me: {told}")
    (our_calm, our_busy), (peer_calm, peer_busy) = rates[ours.name], rates[peer.name]
    least = 4 if title == "SQLite" else 2
    return [
        Figure("GET /users/me by bearer", title, our_calm, "1/s"),
        Figure("... in that of fastapi-users", title, our_calm / peer_calm, "times", at_least(least)),
        Figure("... beside 4 who sign in", title, our_busy, "1/s"),
        Figure("... in that of fastapi-users", title, our_busy / peer_busy, "times", at_least(20)),
    ]
