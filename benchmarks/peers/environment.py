"""Environments of the peers that cannot share ours: made once, inside our own, and kept."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

PEERS = Path(__file__).parent


def python_of(peer: str) -> Path:
    """Return the interpreter of a peer's environment, which is made where it is not there or its pins have changed.

    Raises:
        CalledProcessError: its packages could not be installed.
    """
    pins = PEERS / peer / "requirements.txt"
    mark = hashlib.sha256(pins.read_bytes()).hexdigest()[:12]
    folder = PEERS.parent.parent / ".venv" / "peers" / f"{peer}-{mark}"
    python = folder / "bin" / "python"
    done = folder / "done"
    if not done.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", "-r", str(pins)], check=True)
        done.touch()
    return python
