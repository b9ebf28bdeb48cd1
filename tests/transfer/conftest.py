"""Bringing in bytes and looking at what became of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import pytest
from sqlalchemy import select, text

from denizen.core.accounts import Accounts
from denizen.transfer.adapters.formats import make_reader
from denizen.transfer.schemas import STORED, Format, ImportOptions, Match, Mode, RowResult, read_mappings
from denizen.transfer.service import import_users
from denizen.users.models import User
from tests.cli.conftest import command, denizen, environment  # noqa: F401  (fixtures)

BringIn = Callable[..., Awaitable[list[RowResult]]]
Stored = Callable[[], Awaitable[list[dict[str, Any]]]]

HASH = "$argon2id$v=19$m=19456,t=2,p=1$Pel1u9kbjWs+2DBR3fYt9A$6goM1c+MwFE9/Hw76fYoDgLsW9gOlig8czfeXrS8OsY"


async def in_pieces(data: bytes, size: int = 1000) -> AsyncIterator[bytes]:
    for begin in range(0, len(data), size):
        yield data[begin : begin + size]


@pytest.fixture
def bring_in(accounts: Accounts) -> BringIn:
    """Import bytes, in pieces; gives all results."""

    async def run(
        data: bytes | str,
        *,
        form: Format = "csv",
        ignore_unknown: bool = False,
        dry_run: bool = False,
        max_batch: int | None = None,
        mode: Mode = "create",
        match: Match = "email",
        with_hashes: bool = True,
        maps: Sequence[str] = (),
    ) -> list[RowResult]:
        data = data if isinstance(data, bytes) else data.encode()
        options = ImportOptions(mode, match, with_hashes=with_hashes, dry_run=dry_run)
        reader = make_reader(form, ignore_unknown=ignore_unknown, renamed=read_mappings(maps), needed=options.needed)
        parts = import_users(accounts, in_pieces(data), reader, options, max_batch=max_batch)
        return [result async for part in parts for result in part]

    return run


@pytest.fixture
def stored(accounts: Accounts) -> Stored:
    """Look at all accounts, every column of them."""

    async def look() -> list[dict[str, Any]]:
        async with accounts.database.read.session() as db:
            users = (await db.scalars(select(User).order_by(User.id))).all()
            return [{name: getattr(user, name) for name in STORED} for user in users]

    return look


def told(results: Sequence[RowResult]) -> list[tuple[int, str]]:
    """Each row's line with its code, or its outcome where it has none."""
    return [(result.line, result.code or result.outcome) for result in results]


_CROWD = """
    INSERT INTO denizen_users
        (id, username, username_key, username_skeleton, is_active, version, created_at, updated_at, full_name)
    SELECT {id}, name, name, name, i % 100 <> 0, 1, {at}, {at}, 'Person ' || i FROM (SELECT i, 'u' || i AS name FROM
        {numbers}) AS people
"""
_CROWD_ON = {
    "sqlite": {
        "id": "printf('019a5c1e-7f00-7a11-8b22-%012x', i)",
        "at": "printf('2026-01-01T00:%02d:%02d.%06dZ', i / 60 % 60, i % 60, i)",
        "numbers": "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT {count}) SELECT i FROM n)",
    },
    "postgresql": {
        "id": "CAST('019a5c1e-7f00-7a11-8b22-' || lpad(to_hex(i), 12, '0') AS uuid)",
        "at": "timestamptz '2026-01-01 00:00:00Z' + i % 3600 * interval '1 second' + i * interval '1 microsecond'",
        "numbers": "generate_series(1, {count}) AS i",
    },
}


async def crowd(accounts: Accounts, count: int) -> None:
    """Put `count` accounts into an empty table: u1, u2 ..., every hundredth not active. The last second of an hour
    has as many as the first.
    """
    parts = _CROWD_ON[accounts.database.kind]
    statement = _CROWD.format(**{**parts, "numbers": parts["numbers"].format(count=count)})
    async with accounts.writing(timeout=120) as db:
        await db.execute(text(statement.replace(":", r"\:")))
