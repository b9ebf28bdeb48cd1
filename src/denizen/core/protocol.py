"""HTTP/1.1 on a socket with limits: a subclass of Uvicorn's httptools protocol.

Uvicorn parses and answers; what is added here is when to stop listening. No timer is set per request: every connection
notes when it last heard something, and the server sweeps over all of them a few times a second (`check`).

Measured on Uvicorn 0.54: without this a request of 20,000 headers is served, a head or a body that never ends holds a
connection for ever, and an answer given before the body was read is lost in a reset of the connection.
"""

from __future__ import annotations

import asyncio
import json
import math
from dataclasses import dataclass, field
from typing import Any, Final, cast

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from denizen.core.outlet import Outlet
from denizen.core.problems import document, new_request_id


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLimits:
    """What a client may do to the server. Sizes in bytes, times in seconds.

    Attributes:
        max_head: request line and headers together.
        max_headers: how many header lines.
        header_timeout: from the first byte of a request (or the connection) to the end of its headers.
        body_timeout: without a byte of a body that is not complete; also the time after which `body_rate` counts.
        body_rate: bytes a second that a body must arrive with on average.
        write_timeout: without a byte taken of an answer.
        keep_alive: idle between requests.
        linger: to let a client read an answer that came before its body was complete.
        max_connections: at once; beyond it the longest idle is closed, and where none is idle requests get a 503;
            beyond the double nobody is listened to.
        open_paths: that answer beyond `max_connections` as well.
        grace: for requests in flight when the server is told to stop; the process is gone 3 seconds later at most.
    """

    max_head: int = 32 * 1024
    max_headers: int = 100
    header_timeout: float = 10
    body_timeout: float = 20
    body_rate: float = 500
    write_timeout: float = 60
    keep_alive: float = 65
    linger: float = 2
    max_connections: int = 1_000
    open_paths: frozenset[str] = frozenset({"/healthz"})
    grace: float = 6.5


class State(ServerState):
    """What all connections of one server share; `draining` once it was told to stop."""

    def __init__(self) -> None:
        super().__init__()
        self.draining = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that no application is asked for; the connection closes after it. An ASGI application itself."""

    status: int
    code: str
    title: str
    detail: str
    extra: tuple[tuple[bytes, bytes], ...] = field(default=())

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request whose head was read."""
        headers, body = self._parts()
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def raw(self, defaults: list[tuple[bytes, bytes]]) -> bytes:
        """Give the bytes to answer what could not be read as a request."""
        headers, body = self._parts()
        lines = [name + b": " + value + b"\r\n" for name, value in [*defaults, *headers]]
        return b"".join([STATUS_LINE[self.status], *lines, b"\r\n", body])

    def _parts(self) -> tuple[list[tuple[bytes, bytes]], bytes]:
        request_id = new_request_id()
        content = document(
            status=self.status, code=self.code, title=self.title, detail=self.detail, request_id=request_id
        )
        body = json.dumps(content, separators=(",", ":")).encode()
        headers = [
            (b"content-type", b"application/problem+json"),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
            (b"x-content-type-options", b"nosniff"),
            (b"x-request-id", request_id.encode()),
            (b"connection", b"close"),
            *self.extra,
        ]
        return headers, body


_RETRY: Final = ((b"retry-after", b"1"),)
BAD_REQUEST: Final = Refusal(400, "malformed_request", "Malformed request", "This is not an HTTP/1.1 request.")
BAD_HOST: Final = Refusal(400, "malformed_request", "Malformed request", "A request needs exactly one Host header.")
HEAD_TOO_LARGE: Final = Refusal(431, "headers_too_large", "Headers too large", "The headers are too many or too long.")
TOO_SLOW: Final = Refusal(408, "request_timeout", "Request timeout", "The request did not arrive in time.")
BUSY: Final = Refusal(503, "server_busy", "Temporarily unavailable", "Too many connections are open.", _RETRY)
STOPPING: Final = Refusal(503, "server_stopping", "Temporarily unavailable", "The server is stopping.", _RETRY)


# Which part of a request the parser is in. Plain numbers: an Enum's members cost half a microsecond each on 3.11.
BETWEEN, HEAD, BODY = 0, 1, 2


class Protocol(HttpToolsProtocol):
    """One connection."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config=config, server_state=server_state, app_state=app_state, _loop=_loop)
        self._state = server_state if isinstance(server_state, State) else State()
        self.limits: ServerLimits = getattr(config, "limits", None) or ServerLimits()
        self._outlet: Outlet | None = None  # of the request that is being answered
        self._phase = BETWEEN
        self._asked = False  # whether there was a request at all
        self._begun = 0  # requests, so that a chunk with two of them can be told
        self._chunk = 0
        self._head_fed = 0
        self._body_fed = 0
        self._body_seen = 0
        self._body_since = 0.0
        self._since = self._heard = self._checked = self._sent_at = self.loop.time()
        self._unsent = 0
        self._deaf = False  # what still arrives is thrown away
        self._closing_since: float | None = None
        self._pending: Refusal | None = None

    # ------------------------------------------------------------------------------------------------- what arrives

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as Uvicorn declares it
        """Begin; closes the longest idle connection when there are too many."""
        super().connection_made(transport)
        if len(self.connections) > 2 * self.limits.max_connections:
            transport.abort()
        elif len(self.connections) > self.limits.max_connections:
            others = [connection for connection in self.connections if isinstance(connection, Protocol)]
            longest = min(others, key=lambda connection: connection.idle_since)
            if longest.idle_since < math.inf:
                self.connections.discard(longest)  # it would count until the loop turns again
                longest.abort() if longest.transport.get_write_buffer_size() else longest.transport.close()

    def data_received(self, data: bytes) -> None:
        """Parse, and measure what the parser keeps to itself: heads, trailers and chunk extensions without an end."""
        self._heard = self.loop.time()
        if self._deaf:
            return
        phase, begun, self._chunk = self._phase, self._begun, len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._deaf = True
        except httptools.HttpParserError:
            self._refuse(BAD_REQUEST)
        else:
            if self._phase != BETWEEN:
                self._measure(phase, self._begun - begun)

    def _measure(self, phase: int, begun: int) -> None:
        """Count the bytes of a request that goes on beyond this chunk, where none of the chunk is another request's."""
        if self._phase == HEAD:
            if phase != BODY and begun == (1 if phase == BETWEEN else 0):
                self._head_fed += self._chunk
            if self._head_fed > self.limits.max_head:
                self._refuse(HEAD_TOO_LARGE)
        elif phase == BODY and begun == 0:
            self._body_fed += self._chunk
            if self._body_fed - self._body_seen > self.limits.max_head + 16 * self._body_seen:
                self._refuse(BAD_REQUEST)

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._phase = HEAD
        self._begun += 1
        self._head_fed = 0
        if not self.busy:
            self._since = self._heard

    def on_headers_complete(self) -> None:
        """Judge the head, then start the application, or the refusal in its place and in its turn."""
        refusal = self._judge_head()
        if refusal is None:
            super().on_headers_complete()
        else:
            app, self.app = self.app, refusal
            try:
                super().on_headers_complete()
            finally:
                self.app = app
        self._asked, self._phase = True, BODY
        self._body_fed = self._body_seen = 0
        self._body_since = self._heard
        self.headers = []  # trailers come after the application has judged the headers: they stay out of its sight
        outlet = Outlet(self.transport, self.cycle, self.loop, close=self.close_politely)
        self.cycle.transport = outlet  # type: ignore[assignment]  # the part of one that it uses
        if not self.pipeline:
            self._outlet = outlet
        if self.parser.should_upgrade():
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body."""
        self._body_seen += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request."""
        self._phase = BETWEEN
        super().on_message_complete()

    def _judge_head(self) -> Refusal | None:
        limits, headers = self.limits, self.headers
        if len(headers) > limits.max_headers:
            return HEAD_TOO_LARGE
        if self._head_fed + self._chunk > limits.max_head:  # what came with it may be of another request: count
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in headers)
            if size > limits.max_head:
                return HEAD_TOO_LARGE
        hosts = [name for name, _ in headers].count(b"host")
        if hosts != 1 and (hosts or self.parser.get_http_version() == "1.1"):
            return BAD_HOST
        if self._state.draining:
            return STOPPING
        if len(self.connections) > limits.max_connections and self.url.decode("latin-1") not in limits.open_paths:
            return BUSY
        return None

    # ---------------------------------------------------------------------------------------------------- what leaves

    @property
    def busy(self) -> bool:
        """Whether an answer is still due."""
        return self._asked and not self.cycle.response_complete

    @property
    def idle_since(self) -> float:
        """When the last answer was complete, by the clock of the loop; infinite while something is due here."""
        return self._since if self._asked and not self.busy and self._phase == BETWEEN else math.inf

    def on_response_complete(self) -> None:
        """Go on with the next request; unlike Uvicorn without a timer of its own."""
        self.server_state.total_requests += 1
        if self.transport.is_closing() or self._closing_since is not None:
            return
        self._since = self._heard = self.loop.time()
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._outlet = cast("Outlet", cycle.transport)
            self._start_asgi_task(cycle, app)
        elif self._pending is not None:
            self._write(self._pending)
        elif self._phase == BODY and self.expect_100_continue:
            # The client may or may not send its body now: there is no telling where the next request begins.
            self.close_politely()

    def _refuse(self, refusal: Refusal) -> None:
        """Answer what cannot be read on, after the answers that are still due."""
        if self._deaf:
            return
        self._deaf = True
        if self._phase == BODY and self.pipeline:
            self.pipeline.popleft()  # the newest request, of which this is the body
        elif self._phase == BODY and self.busy:
            started = self.cycle.response_started
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if started:
                self._flush()
                self.transport.close()
            else:
                self._write(refusal)
            return
        if self.pipeline or self.busy:
            self._pending = refusal
        else:
            self._write(refusal)

    def eof_received(self) -> None:
        """Let out what is written of the answer: the connection closes with its client's end of it."""
        self._flush()
        super().eof_received()

    def _flush(self) -> None:
        if self._outlet is not None:
            self._outlet.flush()

    def _write(self, refusal: Refusal) -> None:
        if not self.transport.is_closing():
            self.transport.write(refusal.raw(self.server_state.default_headers))
            self.close_politely()

    def close_politely(self) -> None:
        """Close so that the answer arrives: bytes left unread would make the system reset the connection."""
        if self._closing_since is not None or self.transport.is_closing():
            return
        if self._phase == BETWEEN and not self._deaf:
            self.transport.close()
            return
        self._deaf = True
        self._closing_since = self.loop.time()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()

    def shutdown(self) -> None:
        """Close as soon as no answer is due."""
        if self.busy:
            self.cycle.keep_alive = False
        elif self._closing_since is None:
            self.transport.close()

    def abort(self) -> None:
        """Close now; an application that waits for its client learns that the client is gone."""
        if self._asked:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.flow.resume_writing()
        self.transport.abort()

    # ------------------------------------------------------------------------------------------------------ deadlines

    def check(self, now: float) -> None:
        """Enforce the deadlines of this connection; called by the server every so often."""
        elapsed, self._checked = now - self._checked, now
        if self._closing_since is None and self.transport.is_closing():
            self._closing_since = now
        if self._closing_since is not None:
            if now - self._closing_since > self.limits.linger:
                self.abort()
        elif self._answer_stalls(now):
            self.abort()
        elif self.busy:
            self._check_busy(now, elapsed)
        else:
            self._check_waiting(now - self._since)

    def _check_busy(self, now: float, elapsed: float) -> None:
        if self.flow.read_paused or self.cycle.waiting_for_100_continue or self.pipeline:
            self._heard = now  # it is not the client who is late
            self._body_since += elapsed
        elif self._phase == BODY and self._body_stalls(now):
            self._refuse(TOO_SLOW)

    def _check_waiting(self, waited: float) -> None:
        if self._phase == HEAD:
            if waited > self.limits.header_timeout:
                self._refuse(TOO_SLOW)
        elif self._phase == BODY:
            if waited > self.limits.linger:
                self.close_politely()
        elif waited > (self.limits.keep_alive if self._asked else self.limits.header_timeout):
            self.transport.close()

    def _answer_stalls(self, now: float) -> bool:
        size = self.transport.get_write_buffer_size()
        if size == 0 or size != self._unsent:
            self._unsent, self._sent_at = size, now
        return now - self._sent_at > self.limits.write_timeout

    def _body_stalls(self, now: float) -> bool:
        patience = (
            min(self.limits.body_timeout, self.limits.linger) if self._state.draining else self.limits.body_timeout
        )
        taken = now - self._body_since
        slow = taken > self.limits.body_timeout and self._body_seen < taken * self.limits.body_rate
        return now - self._heard > patience or slow
