"""A load generator for machines without wrk: keep-alive connections, ready-made requests, little parsed.

    python -m benchmarks.generator 8000 requests.tsv --seconds 5 --connections 32

The file and the line of JSON at the end are those of `wrk.lua`.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import sys
from array import array
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from typing import cast

from .load import MARK, Load
from .wire import Request, answer_size


@dataclass
class Tally:
    """What all connections together have seen."""

    ends_at: float
    latencies: array[float] = field(default_factory=lambda: array("d"))
    refused: int = 0
    broken: int = 0


class Connection(asyncio.Protocol):
    """One connection, which sends its next request when it has its answer."""

    def __init__(self, requests: Iterator[bytes], tally: Tally) -> None:
        self.closed = asyncio.get_running_loop().create_future()
        self._requests = requests
        self._tally = tally
        self._received = bytearray()
        self._size: int | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def _send(self) -> None:
        self._sent_at = perf_counter()
        self._transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._size is None:
            self._size = answer_size(self._received)
        if self._size is None or len(self._received) < self._size:
            return
        now = perf_counter()
        self._tally.latencies.append(now - self._sent_at)
        self._tally.refused += self._received[9] not in b"23"
        self._received.clear()
        self._size = None
        if now < self._tally.ends_at:
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if perf_counter() < self._tally.ends_at:
            self._tally.broken += 1
        if not self.closed.done():
            self.closed.set_result(None)


async def run(port: int, requests: list[bytes], *, seconds: float, connections: int) -> Load:
    """Put the load on and return what came of it."""
    began = perf_counter()
    tally = Tally(ends_at=began + seconds)
    loop = asyncio.get_running_loop()
    turn = itertools.cycle(requests)
    made = [
        await loop.create_connection(lambda: Connection(turn, tally), "127.0.0.1", port) for _ in range(connections)
    ]
    await asyncio.wait([protocol.closed for _, protocol in made], timeout=seconds + 10)
    took = perf_counter() - began
    ordered = sorted(tally.latencies) or [0.0]
    return Load(
        rate=(len(tally.latencies) - tally.refused) / took,
        answers=len(tally.latencies),
        p50_ms=1e3 * ordered[len(ordered) // 2],
        p99_ms=1e3 * ordered[len(ordered) * 99 // 100],
        refused=tally.refused,
        broken=tally.broken,
    )


def main() -> int:
    """Read the requests, run, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.generator", description=__doc__.partition("\n")[0])
    parser.add_argument("port", type=int)
    parser.add_argument("requests", type=Path)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--connections", type=int, default=32)
    options = parser.parse_args()
    lines = options.requests.read_text(encoding="utf-8").splitlines()
    requests = [Request(*line.split("\t")).encode(f"127.0.0.1:{options.port}") for line in lines]
    work = run(options.port, requests, seconds=options.seconds, connections=options.connections)
    try:
        import uvloop
    except ImportError:
        load = asyncio.run(work)
    else:
        load = uvloop.run(work)
    print(MARK + json.dumps(asdict(load)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
