"""What exports are measured against writes the rows that exports write."""

from __future__ import annotations

import csv
from pathlib import Path

from benchmarks.bare import COLUMNS, take_out
from denizen.core.accounts import Accounts
from denizen.transfer.schemas import EXPORTED
from tests.transfer.conftest import crowd


async def test_bare_export_has_all_accounts_and_columns(accounts: Accounts, database_url: str, tmp_path: Path) -> None:
    await crowd(accounts, 50)
    out = tmp_path / "bare.csv"

    assert take_out(database_url, out) == 50

    with out.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert [row[EXPORTED.index("username")] for row in rows] == [f"u{number}" for number in range(1, 51)]
    assert tuple(COLUMNS.split(", ")) == EXPORTED
