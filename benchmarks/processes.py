"""Programs under measurement: each on a core of its own, with its memory watched."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from .wire import Client

ROOT = Path(__file__).resolve().parent.parent
MIB = 1 << 20


class ProgramFailed(RuntimeError):
    """A program ended when it should not have, or with an error; the message ends with its log."""


def cores() -> tuple[int, int] | None:
    """Return the core for what is measured and the one for all else; None where cores cannot be chosen."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    usable = sorted(os.sched_getaffinity(0))
    return (usable[0], usable[1]) if len(usable) > 1 else None


CORES = cores()


@contextlib.contextmanager
def measured_core(pinned: bool = True) -> Iterator[None]:
    """Let programs that are started inside the block run on the measured core alone, or on both where they are not to
    be `pinned`: children inherit the choice.
    """
    if CORES is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {CORES[0]} if pinned else set(CORES))
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def leave_measured_core() -> None:
    """Move this process, and all it starts outside `measured_core`, to the other core."""
    if CORES is not None:
        os.sched_setaffinity(0, {CORES[1]})


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment with this clone's code, none of the caller's own settings, and `settings`."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("DENIZEN_", "TUTORIAL_", "PEER_"))
    }
    return {**kept, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", **settings}


def spawn(
    command: Sequence[str], *, settings: Mapping[str, str], folder: Path, log: Path, pinned: bool = True
) -> subprocess.Popen[bytes]:
    """Start a program on the measured core, or, not `pinned`, on any; in a folder of its own: it finds no `.env`.

    What it prints goes to `log`, what it complains of to a file beside it that ends in `.errors`.
    """
    with log.open("ab") as output, errors_of(log).open("ab") as errors, measured_core(pinned):
        return subprocess.Popen(
            command, env=environment(settings), cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=errors
        )


def errors_of(log: Path) -> Path:
    """Return the file beside `log` that standard error goes to."""
    return log.with_suffix(".errors")


def tail(log: Path) -> str:
    """Return the end of a log and of the errors beside it."""
    return "\n".join(path.read_text(encoding="utf-8", errors="replace")[-2000:] for path in (log, errors_of(log)))


def free_port() -> int:
    """Return a port that nobody listens on at the moment."""
    with socket.socket() as candidate:
        candidate.bind(("127.0.0.1", 0))
        return int(candidate.getsockname()[1])


@dataclass(frozen=True)
class Run:
    """How a program that came to its end did."""

    seconds: float
    peak_bytes: int
    output: str


def run(command: Sequence[str], *, settings: Mapping[str, str], folder: Path, pinned: bool = True) -> Run:
    """Run a program to its end on the measured core, and note the most memory that it held.

    Raises:
        ProgramFailed: it exited with another code than 0.
    """
    log = folder / f"{time.monotonic_ns()}.log"
    began = time.perf_counter()
    process = spawn(command, settings=settings, folder=folder, log=log, pinned=pinned)
    peak = 0
    while process.poll() is None:
        peak = max(peak, peak_memory(process.pid))
        time.sleep(0.01)
    seconds = time.perf_counter() - began
    if process.returncode != 0:
        raise ProgramFailed(f"{' '.join(command[:5])} exited with {process.returncode}:\n{tail(log)}")
    return Run(seconds, peak, log.read_text(encoding="utf-8", errors="replace"))


def peak_memory(pid: int) -> int:
    """Return the most bytes of memory that a process has held so far; off Linux, what it holds now."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024
    return memory(pid)


def memory(pid: int) -> int:
    """Return the bytes of memory that a process holds, 0 when it is gone."""
    with contextlib.suppress(psutil.Error):
        return int(psutil.Process(pid).memory_info().rss)
    return 0


class Server:
    """A server process on the measured core.

    Args:
        command: what to run; it is given the port as its last argument.
        probe: a path that answers 200 once the server is up.
    """

    def __init__(self, command: Sequence[str], *, settings: Mapping[str, str], folder: Path, probe: str) -> None:
        self.port = free_port()
        self._command = [*command, str(self.port)]
        self._settings = settings
        self._folder = folder
        self._probe = probe
        self._log = folder / f"server-{self.port}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, timeout: float = 30.0, pinned: bool = True) -> float:
        """Start it and return the seconds until the probe answered 200.

        Raises:
            ProgramFailed: it ended, or did not answer in time.
        """
        began = time.perf_counter()
        self._process = spawn(self._command, settings=self._settings, folder=self._folder, log=self._log, pinned=pinned)
        while time.perf_counter() - began < timeout:
            with contextlib.suppress(OSError), Client(self.port, timeout=timeout) as client:
                if client.get(self._probe).status == 200:
                    return time.perf_counter() - began
            if self._process.poll() is not None:
                break
            time.sleep(0.002)
        self.stop()
        raise ProgramFailed(f"{' '.join(self._command)} did not answer:\n{tail(self._log)}")

    def _family(self) -> list[psutil.Process]:
        assert self._process is not None
        first = psutil.Process(self._process.pid)
        return [first, *first.children(recursive=True)]

    def memory(self) -> int:
        """Return the bytes that the process holds; of several, the largest."""
        return max(memory(process.pid) for process in self._family())

    def cpu_seconds(self) -> float:
        """Return the processor time that the process and its children have taken so far."""
        times = [process.cpu_times() for process in self._family()]
        return float(sum(time.user + time.system for time in times))

    def stop(self) -> None:
        """Ask it to end, and end it if it has not after ten seconds. Does nothing when it is down."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            print(f"warning: {self._command[0]} did not end when asked", file=sys.stderr)
            self._process.kill()
            self._process.wait()
        self._process = None
