"""`denizen housekeeping`: by hand, and what is done without."""

from __future__ import annotations

import asyncio
from typing import Any

from denizen.core.assembly import assemble
from denizen.features import FEATURES
from denizen.housekeeping.service import keep_house
from denizen.settings import Settings
from tests.cli.conftest import Command, command, environment  # noqa: F401  (fixtures)
from tests.conftest import SECRET
from tests.housekeeping.test_keep_house import fill


def in_a_server(database_url: str, *acts: Any) -> None:
    async def run() -> None:
        accounts = assemble(Settings(_env_file=None, database_url=database_url, secret_key=SECRET), FEATURES)
        try:
            for act in acts:
                await act(accounts)
        finally:
            await accounts.close()

    asyncio.run(run())


def test_cleaning_by_hand_says_what_it_deleted(command: Command, database_url: str) -> None:  # noqa: F811  (the fixture)
    in_a_server(database_url, lambda accounts: fill(accounts, 3))

    first = {row["what"]: row["deleted"] for row in command("housekeeping", "run", "--json").rows}
    second = {row["what"]: row["deleted"] for row in command("housekeeping", "run", "--json").rows}

    assert first["old mails"] == 3
    assert set(second.values()) == {0}
    assert "old mails" in command("housekeeping", "run").out


def test_the_status_tells_whether_anybody_keeps_house(command: Command, database_url: str) -> None:  # noqa: F811  (the fixture)
    before = command("housekeeping", "status", "--json").row
    assert (before["enabled"], before["held"]) == (True, False)
    in_a_server(database_url, keep_house)

    after = command("housekeeping", "status", "--json").row
    assert after["held"]
    assert "old mails" in after["cleans"]
