"""As much of HTTP/1.1 as a measurement needs: ready-made requests, answers with a length, one connection kept open."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

LENGTH = b"content-length:"


class Request(NamedTuple):
    """One request, before it is bytes. `bearer` and `body` may be empty; a body is JSON or a form."""

    method: str
    path: str
    bearer: str = ""
    body: str = ""

    def encode(self, host: str) -> bytes:
        """Return the bytes to send to `host`."""
        head = f"{self.method} {self.path} HTTP/1.1\r\nHost: {host}\r\n"
        if self.bearer:
            head += f"Authorization: Bearer {self.bearer}\r\n"
        body = self.body.encode()
        if body:
            kind = "application/json" if self.body.startswith(("{", "[")) else "application/x-www-form-urlencoded"
            head += f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        return head.encode() + b"\r\n" + body


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Parse the body."""
        return json.loads(self.body)


def answer_size(received: bytes | bytearray) -> int | None:
    """Return the size of the first answer in `received`, head and body, or None while its head is not complete.

    Raises:
        ValueError: the answer has no `Content-Length`; none of the measured ones goes without.
    """
    head_end = received.find(b"\r\n\r\n")
    if head_end < 0:
        return None
    head = received[:head_end].lower()
    at = head.find(LENGTH)
    if at < 0:
        if head.startswith((b"http/1.1 204", b"http/1.1 304")):
            return head_end + 4
        raise ValueError(f"An answer without Content-Length: {bytes(head)!r}")
    end = head.find(b"\r\n", at)
    length = int(head[at + len(LENGTH) : end if end > 0 else None])
    return head_end + 4 + length


class Client:
    """One blocking connection to a server on this machine."""

    def __init__(self, port: int, *, bearer: str = "", timeout: float = 30.0) -> None:
        self.host = f"127.0.0.1:{port}"
        self.bearer = bearer
        self._socket = socket.create_connection(("127.0.0.1", port), timeout)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, request: bytes) -> bytes:
        """Send a ready-made request and return all bytes of its answer.

        Raises:
            ConnectionError: the server closed the connection instead.
        """
        self._socket.sendall(request)
        received = b""
        size: int | None = None
        while size is None or len(received) < size:
            piece = self._socket.recv(262_144)
            if not piece:
                raise ConnectionError("The server closed the connection.")
            received += piece
            if size is None:
                size = answer_size(received)
        return received

    def ask(self, request: Request) -> Answer:
        """Send a request, with this client's bearer unless it has its own, and take its answer apart."""
        bearer = request.bearer or self.bearer
        head, _, body = self.send(request._replace(bearer=bearer).encode(self.host)).partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        pairs = (line.split(":", 1) for line in lines)
        return Answer(int(status.split()[1]), {name.lower(): value.strip() for name, value in pairs}, body)

    def get(self, path: str) -> Answer:
        """Ask for a path."""
        return self.ask(Request("GET", path))
