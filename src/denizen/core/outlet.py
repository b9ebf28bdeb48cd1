"""What an answer is written to: the transport, but for when its head goes out and how it is closed.

Uvicorn writes the head by itself and then the body: two calls of the system and two packets, each of which wakes the
client. Here the head waits for what comes of the body before the loop turns, which is all of nearly every answer; a
tenth of the processor time of a read. Where nothing comes, as in streams, it goes out by itself with the turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final
from weakref import proxy

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

_MOST_JOINED: Final = 65_536
"""Bytes of a body that are copied to go out with the head."""


class Outlet:
    """The transport as one request's cycle sees it.

    Args:
        transport: of the connection.
        cycle: of the request.
        loop: that it runs in.
        close: closes the connection once all that was written has arrived.
    """

    __slots__ = ("_close", "_cycle", "_head", "_headed", "_loop", "_write", "is_closing")

    def __init__(
        self,
        transport: asyncio.Transport,
        cycle: RequestResponseCycle,
        loop: asyncio.AbstractEventLoop,
        *,
        close: Callable[[], None],
    ) -> None:
        self._cycle = proxy(cycle)  # which holds this one: a circle would keep both until the collector comes
        self._loop = loop
        self._close = close
        self._head = b""
        self._headed = False
        self._write = transport.write
        self.is_closing = transport.is_closing

    def write(self, data: bytes) -> None:
        """Write a piece of the answer."""
        if self._head:
            if len(data) > _MOST_JOINED:
                self.flush()
            else:
                data, self._head = self._head + data, b""
            self._write(data)
        elif self._headed or not self._cycle.response_started or self._cycle.scope["method"] == "HEAD":
            self._write(data)  # of a body, 100 Continue, or a head that nothing follows
        else:
            self._headed, self._head = True, data
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Write the head by itself, where nothing has come after it yet."""
        head, self._head = self._head, b""
        if head and not self.is_closing():
            self._write(head)

    def close(self) -> None:
        """Close after the answer; not because the application raised when its answer was complete and reported."""
        self.flush()
        if not (self._cycle.response_complete and self._cycle.keep_alive):
            self._close()
