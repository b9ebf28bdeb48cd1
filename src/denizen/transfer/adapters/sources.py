"""Where the bytes of an import come from: a file, or standard input."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import nullcontext
from pathlib import Path
from typing import IO, Final, TextIO

from denizen.core.accounts import Accounts
from denizen.jobs.service import source_digest
from denizen.transfer.adapters.formats import format_of, sniff
from denizen.transfer.schemas import Format

_CHUNK_BYTES: Final = 256 * 1024


class Source:
    """The bytes of a file or of standard input.

    Attributes:
        size: in bytes, where it is known.
        position: how many were read.
    """

    def __init__(self, name: str, opened: AsyncGenerator[bytes]) -> None:
        self._name = name
        self._opened = opened
        self._first = b""
        self.size = Path(name).stat().st_size if name != "-" and Path(name).is_file() else None
        self.position = 0

    async def guess(self) -> Format:
        """Say which form it has, by its name or its first bytes."""
        self._first = await anext(self._opened, b"")
        return format_of(self._name) or sniff(self._first)

    async def digest(self, accounts: Accounts) -> bytes | None:
        """Give what a job knows a file by; `None` for what can be read only once."""
        if self.size is None:
            return None

        def read() -> bytes:
            with Path(self._name).open("rb") as file:
                return hashlib.file_digest(file, "sha256").digest()

        return source_digest(accounts, await asyncio.to_thread(read))

    async def chunks(self) -> AsyncIterator[bytes]:
        """Give all bytes, in pieces."""
        self.position = len(self._first)
        yield self._first
        async for chunk in self._opened:
            self.position += len(chunk)
            yield chunk

    @staticmethod
    async def open(name: str) -> AsyncGenerator[bytes]:
        """Read files in place, and wait for pipes without keeping the event loop from its work."""
        if name == "-" and _is_pipe(sys.stdin):
            stream = asyncio.StreamReader(limit=_CHUNK_BYTES)
            pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
                lambda: asyncio.StreamReaderProtocol(stream), sys.stdin.buffer
            )
            try:
                while chunk := await stream.read(_CHUNK_BYTES):
                    yield chunk
            finally:
                pipe.close()
            return
        with nullcontext(sys.stdin.buffer) if name == "-" else Path(name).open("rb") as file:  # noqa: ASYNC230  (nobody waits)
            waits = _is_pipe(file)
            while chunk := await asyncio.to_thread(file.read, _CHUNK_BYTES) if waits else file.read(_CHUNK_BYTES):
                yield chunk


def _is_pipe(stream: TextIO | IO[bytes]) -> bool:
    """Tell whether reading `stream` may have to wait."""
    try:
        return not stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
    except OSError:  # what stands in for standard input in this process is no file at all
        return False
