"""What a page shows of a terminal, done as it stands there: each command in one shell, and what it says compared."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import httpx
import pytest

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = "--- said by the command above ---"


def blocks(page: str) -> list[tuple[str, str]]:
    """Give the fenced blocks of a page, each with its language, in their order."""
    return BLOCK.findall(page)


def commands(block: str) -> list[tuple[str, str]]:
    """Give the commands of a terminal's block, each with what is shown below it."""
    found: list[tuple[str, str]] = []
    for each in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        lines = each.splitlines()
        length = next(number for number, line in enumerate(lines, 1) if not line.endswith("\\"))
        found.append(("\n".join(lines[:length]), "\n".join(lines[length:]).strip()))
    return found


def follow(block: str, folder: Path, environment: Mapping[str, str], *, timeout: float = 100) -> None:
    """Run the commands of a block in one shell. Each has to succeed, and to say what is shown, among other things.

    `...` in what is shown stands for anything; white space differs from terminal to terminal.
    """
    if "curl " in block and shutil.which("curl") is None:
        missing = "curl is not installed"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    steps = commands(block)
    script = "\n".join(f"{command}\necho; echo '{MARK}'" for command, _ in steps)
    ran = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script],
        cwd=folder,
        env=dict(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
    for (command, shown), said in zip(steps, ran.stdout.split(MARK), strict=False):
        assert re.search(_pattern(shown), " ".join(said.split())), f"{command}\n{said}"


def _pattern(shown: str) -> str:
    words = " ".join(shown.split())
    return ".*?".join(re.escape(part.strip()) + r"\s*" for part in words.split("..."))


class Serve(Protocol):
    """Starts a server and waits until an address of it answers."""

    def __call__(self, command: Sequence[str], folder: Path, environment: Mapping[str, str], address: str) -> None: ...


@contextmanager
def serving() -> Iterator[Serve]:
    """Servers that run as long as the block."""
    started: list[subprocess.Popen[bytes]] = []

    def serve(command: Sequence[str], folder: Path, environment: Mapping[str, str], address: str) -> None:
        with (folder / "server.log").open("wb") as log:
            running = subprocess.Popen(command, cwd=folder, env=dict(environment), stdout=log, stderr=subprocess.STDOUT)
        started.append(running)
        until = time.monotonic() + 60
        while not _answers(address):
            assert running.poll() is None, (folder / "server.log").read_text()
            assert time.monotonic() < until, (folder / "server.log").read_text()
            time.sleep(0.1)

    try:
        yield serve
    finally:
        for running in started:
            running.terminate()
            running.wait(20)


def _answers(address: str) -> bool:
    try:
        return httpx.get(address).is_success
    except httpx.TransportError:
        return False
