"""Starts the demo application in a process of its own and speaks to it byte by byte."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parents[2]
_START = (
    "import json, sys\n"
    "from denizen.core.server import ServerLimits, run\n"
    "if __name__ == '__main__':\n"
    "    given = json.loads(sys.argv[1])\n"
    "    run('tests.server.demo:app', limits=ServerLimits(**given.pop('limits')), log_format='json', **given)\n"
)


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Connection:
    """One TCP connection to the server."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.file: IO[bytes] = self.socket.makefile("rb")

    def send(self, data: bytes | str) -> "Connection":
        self.socket.sendall(data.encode("latin-1") if isinstance(data, str) else data)
        return self

    def get(self, path: str, *headers: str) -> Answer:
        lines = "".join(f"{header}\r\n" for header in headers)
        return self.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n{lines}\r\n").answer()

    def answer(self) -> Answer:
        """Read one answer."""
        first = self.file.readline()
        if not first:
            raise EOFError("the server closed the connection without an answer")
        headers = {}
        while line := self.file.readline().strip():
            name, _, value = line.decode("latin-1").partition(": ")
            headers[name.lower()] = value
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(self.file.readline(), 16):
                body += self.file.read(size)
                self.file.readline()
            self.file.readline()
        else:
            body = self.file.read(int(headers.get("content-length", "0")))
        return Answer(int(first.split()[1]), headers, body)

    def trickle(self, data: str, every: float) -> "Connection":
        """Send the same again and again, until the server answers or closes."""
        while not select.select([self.socket], [], [], every)[0]:
            self.send(data)
        return self

    def is_closed(self, within: float = 10) -> bool:
        """Tell whether the server closes, without another byte, within so many seconds."""
        self.socket.settimeout(within)
        try:
            return self.file.read(1) == b""
        except ConnectionError:
            return True
        except TimeoutError:
            return False

    def close(self) -> None:
        self.file.close()
        self.socket.close()


class Running:
    """The server process."""

    def __init__(self, process: subprocess.Popen[str], port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self.log = log
        self.connections: list[Connection] = []

    def connect(self) -> Connection:
        connection = Connection(self.port)
        self.connections.append(connection)
        return connection

    def post(self, path: str, body: bytes, *headers: str) -> Answer:
        lines = "".join(f"{header}\r\n" for header in ("Content-Type: application/json", *headers))
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n{lines}\r\n"
        return self.connect().send(head.encode() + body).answer()

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def stop(self, within: float) -> tuple[int, float]:
        """Send SIGTERM; give the exit status and the seconds it took."""
        begun = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(within), time.monotonic() - begun


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(folder: Path, *, environment: dict[str, str] | None = None, **options: Any) -> Iterator[Running]:
    """Run the demo application until the block ends."""
    port, log = free_port(), folder / f"server-{time.monotonic_ns()}.log"
    given = {"limits": {}, "port": port, **options}
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", _START, json.dumps(given)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
            stderr=out,
            stdout=out,
            text=True,
        )
    server = Running(process, port, log)
    try:
        _wait(server)
        yield server
    finally:
        for connection in server.connections:
            connection.close()
        if process.poll() is None:
            process.kill()
        process.wait()


def _wait(server: Running) -> None:
    for _ in range(1000):
        if server.process.poll() is not None:
            raise RuntimeError(server.log.read_text())
        try:
            connection = Connection(server.port)
        except ConnectionError:
            time.sleep(0.05)
            continue
        assert connection.get("/healthz").status == 200
        connection.close()
        return
    raise RuntimeError(server.log.read_text())
