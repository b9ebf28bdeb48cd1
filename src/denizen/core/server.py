"""How `denizen serve` runs Uvicorn: with limits, several workers or reloading, and a stop that ends.

Uvicorn's own shutdown waits for every connection, so that one client with half a body keeps it alive for ever, and
exits with the signal it was stopped by. Here requests in flight get `ServerLimits.grace`, then everything is cut, and
the exit status of an orderly stop is 0.
"""

from __future__ import annotations

import asyncio
import ctypes
import math
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from typing import Any, Final

import uvicorn
from uvicorn._subprocess import get_subprocess
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import ChangeReload

from denizen.core import logs
from denizen.core.protocol import Protocol, ServerLimits, State

log = logs.logger(__name__)

_SWEEP: Final = 0.2
_M_ARENA_MAX: Final = -8  # malloc.h
_LIFESPAN: Final = 1.5
_EXIT: Final = 2.5
"""Seconds after `grace` at which the process ends whatever still runs in it."""


class ServerConfig(uvicorn.Config):
    """Uvicorn's configuration with our limits and our logging. Crosses to worker processes by pickle.

    Args:
        app: import string of the application, `denizen.main:app`.
        limits: what clients may do.
        level: of the logs.
        form: of the logs.
        options: Uvicorn's own.
    """

    def __init__(
        self, app: str, *, limits: ServerLimits, level: str = "INFO", form: logs.LogFormat = "auto", **options: Any
    ) -> None:
        self.limits = limits
        self.level = level
        self.form: logs.LogFormat = form
        fixed: dict[str, Any] = {
            "http": Protocol,
            "ws": "none",
            "loop": "uvloop" if sys.platform != "win32" else "asyncio",
            "interface": "asgi3",
            "lifespan": "on",
            "proxy_headers": False,
            "server_header": False,
            "access_log": False,
            "log_config": None,
        }
        super().__init__(app, **fixed, **options)

    def configure_logging(self) -> None:
        """Set up logging in this process, and in each worker again."""
        logs.configure(level=self.level, format=self.form, serving=True)


class Server(uvicorn.Server):
    """Uvicorn's server with deadlines."""

    config: ServerConfig

    def __init__(self, config: ServerConfig, *, docs_path: str | None = "/docs") -> None:
        super().__init__(config)
        self.docs_path = docs_path
        self.server_state: State = State()
        self._swept = math.inf

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until told to stop; a worker also stops when its parent is gone."""
        share_one_heap()
        parent = multiprocessing.parent_process()
        if parent is not None:
            threading.Thread(target=self._stop_after, args=(parent,), daemon=True).start()
        super().run(sockets)

    def _stop_after(self, parent: multiprocessing.process.BaseProcess) -> None:
        parent.join()
        self.should_exit = True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on SIGTERM and SIGINT, without dying by them afterwards."""
        with super().capture_signals():
            try:
                yield
            finally:
                self._captured_signals.clear()

    def _log_started_message(self, listeners: Sequence[socket.SocketType]) -> None:
        announce(self.config, listeners[0], self.docs_path)

    async def on_tick(self, counter: int) -> bool:
        """Do what is due every tenth of a second."""
        self.sweep()
        return await super().on_tick(counter)

    def sweep(self) -> None:
        """Enforce the deadlines of all connections."""
        now = asyncio.get_running_loop().time()
        self._swept = min(self._swept, now)
        late = now - self._swept - _SWEEP
        if late < 0:
            return
        self._swept = now
        if late > 1:
            return  # this process stood still, not its clients: hear first what they sent meanwhile
        for connection in list(self.server_state.connections):
            if isinstance(connection, Protocol):
                connection.check(now)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop: no new connections, requests in flight until `grace` is over, then nothing."""
        loop, state, grace = asyncio.get_running_loop(), self.server_state, self.config.limits.grace
        end_process_in(grace + _EXIT)
        state.draining = True
        for listener in self.servers:
            listener.close()
        for sock in sockets or ():
            sock.close()
        for connection in list(state.connections):
            connection.shutdown()
        deadline = loop.time() + grace
        while (state.connections or state.tasks) and not self.force_exit and loop.time() < deadline:
            await asyncio.sleep(0.05)
            self.sweep()
        if state.connections or state.tasks:
            await self._cut()
        if not self.force_exit:
            await asyncio.wait({asyncio.ensure_future(self.lifespan.shutdown())}, timeout=_LIFESPAN)

    async def _cut(self) -> None:
        """Close every connection and cancel every request."""
        state = self.server_state
        log.warning("requests_cut", connections=len(state.connections), requests=len(state.tasks))
        for connection in list(state.connections):
            if isinstance(connection, Protocol):
                connection.abort()
        tasks = list(state.tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=0.5)


def end_process_in(seconds: float) -> None:
    """End this process after `seconds`, whatever hangs in it: a thread in a driver, a task that ignores its end."""

    def end() -> None:
        log.warning("stopped_hard", after=seconds)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(0)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


class Workers:
    """Several processes that serve one socket: one that dies is replaced, all stop with this one.

    Uvicorn's supervisor does not stop the workers when it is killed itself, and waits for them without end.
    """

    def __init__(
        self,
        server: Server,
        sockets: list[socket.socket],
        count: int,
        on_death: Callable[[int], None] | None = None,
    ) -> None:
        self._server = server
        self._on_death = on_death
        self._sockets = sockets
        self._count = count
        self._running: dict[int, tuple[SpawnProcess, float]] = {}
        self._stop = threading.Event()
        self._failed = False

    def run(self) -> None:
        """Serve until told to stop.

        Raises:
            SystemExit: a worker could not start the application.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop.set())
        for _ in range(self._count):
            self._start()
        while not self._stop.is_set():
            wait(list(self._running), timeout=_SWEEP)
            self._replace_dead()
        self._end()
        if self._failed:
            raise SystemExit(STARTUP_FAILURE)

    def _start(self) -> None:
        process = get_subprocess(self._server.config, self._server.run, self._sockets)
        process.start()
        self._running[process.sentinel] = (process, time.monotonic())

    def _replace_dead(self) -> None:
        for sentinel, (process, started) in list(self._running.items()):
            if process.is_alive() or self._stop.is_set():
                continue
            del self._running[sentinel]
            if self._on_death is not None and process.pid is not None:
                self._on_death(process.pid)
            if process.exitcode == STARTUP_FAILURE:
                self._failed = True
                self._stop.set()
                return
            log.error("worker_died", worker=process.pid, exit=process.exitcode)
            if time.monotonic() - started < 2:
                self._stop.wait(1)  # it would die again at once: do not spin
            if not self._stop.is_set():
                self._start()

    def _end(self) -> None:
        deadline = time.monotonic() + self._server.config.limits.grace + _EXIT + 0.5
        processes = [process for process, _ in self._running.values()]
        for process in processes:
            process.terminate()
        for process in processes:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()


def announce(config: ServerConfig, listener: socket.SocketType, docs_path: str | None) -> None:
    """Say in one line where the server is: plainly to a person, as an event to whatever collects JSON."""
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    docs = f"{url}{docs_path}" if docs_path else None
    if logs.is_console(config.form, sys.stderr):
        sys.stdout.write(f"Denizen serves {url}" + (f", explained at {docs}\n" if docs else "\n"))
        sys.stdout.flush()
    else:
        log.info("serving", url=url, docs=docs)


def raise_file_limit(wanted: int) -> None:
    """Let this process hold `wanted` files open, as far as the system allows: one connection is one file."""
    try:
        import resource
    except ImportError:  # Windows
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def share_one_heap() -> None:
    """Let all threads of this process take memory from one heap, so that what hashes leave behind can be given back.

    glibc gives each thread a heap of its own and never trims those: up to 64 MiB for each that ever checked a hash from
    elsewhere. Nothing is slower for it, since Python's own allocator serves nearly everything else.
    """
    if sys.platform == "linux":
        with suppress(AttributeError, OSError):  # another C library
            ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def run(
    app: str,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    workers: int = 1,
    reload: bool = False,
    limits: ServerLimits | None = None,
    log_level: str = "INFO",
    log_format: logs.LogFormat = "auto",
    root_path: str = "",
    docs_path: str | None = "/docs",
    reload_dirs: list[str] | None = None,
    on_death: Callable[[int], None] | None = None,
) -> None:
    """Serve `app` until SIGTERM or SIGINT, then return.

    Args:
        app: import string, `denizen.main:app`.
        host: address to listen on.
        port: 0 for any that is free.
        workers: processes; one serves in this process.
        reload: start again when a Python file changes; one worker.
        limits: what clients may do.
        log_level: of everything this process logs.
        log_format: of the same.
        root_path: the prefix that a proxy in front strips.
        docs_path: named in the line that says where the server is; `None` for none.
        reload_dirs: to watch; the current directory by default.
        on_death: told the id of a worker process that died.

    Raises:
        SystemExit: the address is taken or the application does not start; the reason is in the log.
    """
    limits = limits or ServerLimits()
    if reload:
        limits = replace(limits, grace=min(limits.grace, 1))  # nobody wants to wait for an open page
    config = ServerConfig(
        app,
        limits=limits,
        level=log_level,
        form=log_format,
        host=host,
        port=port,
        root_path=root_path,
        workers=workers,
        reload=reload,
        reload_dirs=reload_dirs if reload else None,
    )
    raise_file_limit(2 * limits.max_connections + 256)
    server = Server(config, docs_path=docs_path)
    if not reload and workers == 1:
        server.run()
        return
    listener = config.bind_socket()
    listener.listen(config.backlog)
    announce(config, listener, docs_path)
    if reload:
        ChangeReload(config, target=server.run, sockets=[listener]).run()
    else:
        Workers(server, [listener], workers, on_death).run()
