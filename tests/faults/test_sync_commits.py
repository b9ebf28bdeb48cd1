"""R3: acknowledged means on the disk. The system calls of a writing process are counted."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

COMMITS = 40
PROGRAM = """
import asyncio, sys
from sqlalchemy import text
from denizen.core.database import Database, DatabaseOptions

async def main():
    database = Database(sys.argv[1], DatabaseOptions(synchronous=sys.argv[2]))
    for number in range(int(sys.argv[3])):
        async with database.write.begin() as db:
            await db.execute(text("UPDATE denizen_users SET version = version + 1"))
            await db.execute(text(f"CREATE TABLE t{number} (a)"))
    await database.close()

asyncio.run(main())
"""


def synced(database_url: str, synchronous: str, folder: Path) -> int:
    """Count what a process that commits `COMMITS` times asks of the disk."""
    counts = folder / "counts"
    command = [sys.executable, "-c", PROGRAM, database_url, synchronous, str(COMMITS)]
    traced = ["strace", "-f", "-qq", "-o", str(counts), "-e", "trace=fsync,fdatasync", *command]
    subprocess.run(traced, check=True, timeout=50)
    return len(re.findall(r"\b(?:fsync|fdatasync)\(", counts.read_text()))


@pytest.mark.slow
@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_every_commit_is_synced(database_url: str, tmp_path: Path) -> None:
    if shutil.which("strace") is None:
        missing = "strace is not installed"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)

    other = tmp_path / "other.db"
    shutil.copy(database_url.removeprefix("sqlite:///"), other)

    assert synced(database_url, "FULL", tmp_path) >= COMMITS
    assert synced(f"sqlite:///{other}", "NORMAL", tmp_path) < COMMITS  # at checkpoints alone: counting counts
