"""What routes answer with that send results as they come."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any, Final

from starlette.responses import StreamingResponse
from starlette.types import Send

from denizen.jobs.schemas import ResultRead

NDJSON: Final = "application/x-ndjson"
LINES: Final[dict[str, Any]] = {
    "model": ResultRead,
    "description": "NDJSON: one result a line, in the order of the rows.",
}


class NdjsonResponse(StreamingResponse):
    """Sends NDJSON from an async generator, which is closed when the client goes away, and not at some later time."""

    media_type = NDJSON

    async def stream_response(self, send: Send) -> None:
        """Send all there is."""
        async with aclosing(self.body_iterator):  # type: ignore[type-var]  # always a generator here
            await super().stream_response(send)
