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
from denizen.transfer.errors import FileChanged
from denizen.transfer.schemas import Format

_CHUNK_BYTES: Final = 256 * 1024


Stamp = tuple[int, int, int]
"""Which file, its size, and when it was written to last: what differs once somebody wrote to it."""


def _stamp_of(found: os.stat_result) -> Stamp:
    return found.st_ino, found.st_size, found.st_mtime_ns


def _stamp_at(name: str) -> Stamp | None:
    """Give the stamp of a file; `None` for what is none, and what is read only once."""
    return _stamp_of(Path(name).stat()) if name != "-" and Path(name).is_file() else None


def _check(file: IO[bytes], stamp: Stamp | None) -> None:
    if stamp is not None and _stamp_of(os.fstat(file.fileno())) != stamp:
        raise FileChanged(
            "The file was changed while it was read. Import it anew once nobody writes to it any more; with --mode "
            "skip the rows that are in already are left alone."
        )


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
        self._stamp = _stamp_at(name)
        self.size = None if self._stamp is None else self._stamp[1]
        self.position = 0

    async def guess(self) -> Format:
        """Say which form it has, by its name or its first bytes."""
        self._first = await anext(self._opened, b"")
        return format_of(self._name) or sniff(self._first)

    async def digest(self, accounts: Accounts) -> bytes | None:
        """Give what a job knows a file by; `None` for what can be read only once.

        Raises:
            FileChanged: it is not the file that it was, or was written to meanwhile.
        """
        if self.size is None:
            return None

        def read() -> bytes:
            with Path(self._name).open("rb") as file:
                found = hashlib.file_digest(file, "sha256").digest()
                _check(file, self._stamp)
            return found

        return source_digest(accounts, await asyncio.to_thread(read))

    async def chunks(self) -> AsyncIterator[bytes]:
        """Give all bytes, in pieces."""
        self.position = len(self._first)
        yield self._first
        async for chunk in self._opened:
            self.position += len(chunk)
            yield chunk

    @staticmethod
    def open(name: str) -> AsyncGenerator[bytes]:
        """Read files in place, and wait for pipes without keeping the event loop from its work.

        Raises:
            FileChanged: at the next piece, somebody has written to the file.
        """
        return _read_pipe() if name == "-" and _is_pipe(sys.stdin) else _read_file(name, _stamp_at(name))


async def _read_pipe() -> AsyncGenerator[bytes]:
    stream = asyncio.StreamReader(limit=_CHUNK_BYTES)
    pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(stream), sys.stdin.buffer
    )
    try:
        while chunk := await stream.read(_CHUNK_BYTES):
            yield chunk
    finally:
        pipe.close()


async def _read_file(name: str, stamp: Stamp | None) -> AsyncGenerator[bytes]:
    with nullcontext(sys.stdin.buffer) if name == "-" else Path(name).open("rb") as file:  # noqa: ASYNC230  (nobody waits)
        waits = _is_pipe(file)
        while chunk := await asyncio.to_thread(file.read, _CHUNK_BYTES) if waits else file.read(_CHUNK_BYTES):
            _check(file, stamp)
            yield chunk
        _check(file, stamp)


def _is_pipe(stream: TextIO | IO[bytes]) -> bool:
    """Tell whether reading `stream` may have to wait."""
    try:
        return not stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
    except OSError:  # what stands in for standard input in this process is no file at all
        return False
