"""Load on one server: many connections, each sending the next request as soon as it has its answer.

Made by `wrk` where it is installed (Debian: `apt-get install wrk`), else by `benchmarks.generator`, which is Python and
so gives up to some 20,000 requests a second on one core.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .wire import Request

SCRIPT = Path(__file__).with_name("wrk.lua")
CONNECTIONS = 32
MARK = "LOAD "

Generator = Literal["wrk", "python"]


@dataclass(frozen=True)
class Load:
    """What came of it.

    `rate` is answers a second that were no refusals; `refused` counts those that are not 2xx or 3xx, `broken`
    connections that failed or timed out. `cpu_us` is the server's processor time for one answer, in microseconds: what
    an answer costs, even where others keep the machine busy.
    """

    rate: float
    answers: int
    p50_ms: float
    p99_ms: float
    refused: int
    broken: int
    cpu_us: float = 0.0


def best_generator() -> Generator:
    """Return the best generator on this machine."""
    return "wrk" if shutil.which("wrk") else "python"


def write_requests(requests: Iterable[Request], path: Path) -> Path:
    """Write the file that both generators read."""
    path.write_text("".join("\t".join(request) + "\n" for request in requests), encoding="utf-8")
    return path


def run_load(
    port: int, requests: Path, *, seconds: float, generator: Generator, connections: int = CONNECTIONS
) -> Load:
    """Send the requests of a file over and over for a while.

    Raises:
        RuntimeError: the generator failed; the message ends with what it said.
    """
    address = f"http://127.0.0.1:{port}/"
    if generator == "wrk":
        shape = ["-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s"]
        command = ["wrk", *shape, "--script", str(SCRIPT), address, "--", str(requests)]
    else:
        command = [sys.executable, "-m", "benchmarks.generator", str(port), str(requests)]
        command += ["--seconds", str(seconds), "--connections", str(connections)]
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, timeout=seconds + 60, check=False)
    for line in done.stdout.splitlines():
        if line.startswith(MARK):
            return Load(**json.loads(line.removeprefix(MARK)))
    raise RuntimeError(f"{command[0]} failed: {done.stdout[-500:]}{done.stderr[-1500:]}")
