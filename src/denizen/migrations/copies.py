"""Copies of a SQLite file, made before something is done to it that cannot be undone."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from contextlib import closing
from itertools import count
from pathlib import Path

from denizen.core.errors import StorageFull
from denizen.core.sqlite.driver import connect

_MIB = 1 << 20


def copy_before(path: Path, revision: str) -> Path:
    """Copy the database at `path` to `NAME.before-REVISION-TIME` beside it.

    The caller holds the write lock, so that nothing is written between the copy and what comes after it. The copy is
    whole or not there at all, and as private as the original.

    Args:
        path: the database's file.
        revision: what it is about to be moved to.

    Raises:
        StorageFull: not enough room for the copy and a migration that rebuilds everything.
    """
    name = f"{path.name}.before-{revision}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    target = path.with_name(name)
    for again in count(2):  # within one second
        if not target.exists():
            break
        target = path.with_name(f"{name}-{again}")
    part = target.with_name(f"{target.name}.part")
    with closing(connect(path)) as source:
        _require_room(source, path)
        try:
            os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            with closing(connect(part)) as copy:
                source.backup(copy)
            shutil.copymode(path, part)
            part.rename(target)
        except sqlite3.OperationalError as error:
            part.unlink(missing_ok=True)
            if error.sqlite_errorcode in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE}:
                raise _no_room(path, "the copy did not fit") from None
            raise
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    return target


def _require_room(source: sqlite3.Connection, path: Path) -> None:
    """A copy takes the file's size once more, and rebuilding tables up to twice more: in log and file."""
    pages, page = (source.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    needed = 3 * pages * page + _MIB
    free = shutil.disk_usage(path.absolute().parent).free
    if free < needed:
        raise _no_room(path, f"{needed // _MIB:,} MiB are needed and {free // _MIB:,} MiB are free")


def _no_room(path: Path, why: str) -> StorageFull:
    return StorageFull(
        f"There is no room beside {path} to copy it before migrating: {why}. Nothing was changed. "
        "Make room, or take a backup elsewhere and say --no-copy."
    )
