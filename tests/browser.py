"""A headless Chromium, driven over the pipe of its DevTools protocol: nothing to install beside the browser.

Source: https://chromedevtools.github.io/devtools-protocol/ (Page, Runtime, Log, Network)
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

NAMES: Final = (os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")

# Without the last ones it looks for updates and hosts of its maker at every start.
FLAGS: Final = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-first-run",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
)

# Chromium reads commands from descriptor 3 and writes to 4; a program in between puts our two ends of pipes there.
_EXEC: Final = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
)


def find_chromium() -> str | None:
    """Return the path of a Chromium on this machine: that of the variable CHROMIUM, else a usual name."""
    return next((path for name in NAMES if name and (path := shutil.which(name))), None)


class BrowserFailed(RuntimeError):
    """The browser, or a script in the page, did not do what was asked."""


class Browser:
    """One page in a browser with an empty profile.

    Attributes:
        complaints: what the page wrote to the console as errors, uncaught exceptions and violations of its policy.
        requested: the URLs of everything the page asked for.
    """

    def __init__(self, *, width: int = 1280, height: int = 1000) -> None:
        program = find_chromium()
        if program is None:
            raise BrowserFailed("There is no Chromium here.")
        self.complaints: list[str] = []
        self.requested: list[str] = []
        self._ids = itertools.count(1)
        self._buffer = b""
        self._profile = tempfile.mkdtemp(prefix="chromium-")
        hears, self._to = _pipe()
        self._from, says = _pipe()
        flags = [*FLAGS, f"--user-data-dir={self._profile}", f"--window-size={width},{height}"]
        if os.geteuid() == 0:
            flags.append("--no-sandbox")  # which it cannot have as root
        self._process = subprocess.Popen(
            [sys.executable, "-c", _EXEC, str(hears), str(says), program, *flags],
            pass_fds=(hears, says),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(hears)
        os.close(says)
        self._session: str | None = None
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._ask(f"{domain}.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def open(self, url: str) -> None:
        """Go to `url`; what the page does then is waited for with `wait_for`."""
        self._ask("Page.navigate", url=url)

    def run(self, script: str) -> Any:
        """Evaluate JavaScript in the page and return its value, or what its promise becomes."""
        answer = self._ask(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True, userGesture=True
        )
        if "exceptionDetails" in answer:
            raise BrowserFailed(f"{script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def wait_for(self, script: str, *, seconds: float = 30.0) -> Any:
        """Evaluate JavaScript until it gives something that is true, and return that."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with contextlib.suppress(BrowserFailed):  # the page may not be there yet
                if found := self.run(script):
                    return found
            time.sleep(0.05)
        raise BrowserFailed(f"{script} did not come true; the page shows: {self.run('document.body.innerText')[:2000]}")

    def click(self, selector: str) -> None:
        """Click the first element that a CSS selector finds, once there is one."""
        self.wait_for(f"document.querySelector({json.dumps(selector)}) !== null")
        self.run(f"document.querySelector({json.dumps(selector)}).click()")

    def type_into(self, selector: str, text: str) -> None:
        """Type into a field, as the keyboard would."""
        self.wait_for(f"document.querySelector({json.dumps(selector)}) !== null")
        self.run(f"document.querySelector({json.dumps(selector)}).focus()")
        self.run("document.execCommand('selectAll')")
        self._ask("Input.insertText", text=text)

    def screenshot(self, path: Path) -> None:
        """Write what the page looks like to a PNG file."""
        path.write_bytes(base64.b64decode(self._ask("Page.captureScreenshot", format="png")["data"]))

    def close(self) -> None:
        """End the browser and remove its profile."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(10)
        os.close(self._to)
        os.close(self._from)
        shutil.rmtree(self._profile, ignore_errors=True)

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send one command and return its result; events that come in between are noted."""
        number = next(self._ids)
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == number:
                if "error" in answer:
                    raise BrowserFailed(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result
            self._note(answer)

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            piece = os.read(self._from, 1 << 20)
            if not piece:
                raise BrowserFailed("Chromium ended.")
            self._buffer += piece
        message, _, self._buffer = self._buffer.partition(b"\0")
        answer: dict[str, Any] = json.loads(message)
        return answer

    def _note(self, event: dict[str, Any]) -> None:
        note: Callable[[dict[str, Any]], None] | None = {
            "Network.requestWillBeSent": lambda found: self.requested.append(found["request"]["url"]),
            "Runtime.exceptionThrown": lambda found: self.complaints.append(str(found["exceptionDetails"])),
            "Log.entryAdded": lambda found: self._note_entry(found["entry"]["level"], found["entry"]["text"]),
            "Runtime.consoleAPICalled": lambda found: self._note_entry(found["type"], str(found["args"])),
        }.get(event.get("method", ""))
        if note is not None:
            note(event["params"])

    def _note_entry(self, level: str, text: str) -> None:
        if level == "error":
            self.complaints.append(text)


def _pipe() -> tuple[int, int]:
    """Return the two ends of a pipe, numbered from 10 on: out of the way of 3 and 4."""
    ends = os.pipe()
    moved = (fcntl.fcntl(ends[0], fcntl.F_DUPFD_CLOEXEC, 10), fcntl.fcntl(ends[1], fcntl.F_DUPFD_CLOEXEC, 10))
    for end in ends:
        os.close(end)
    return moved
