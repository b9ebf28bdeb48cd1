"""Where other programs wrote the table, doctor and `profiles check` say so, and `profiles rebuild` mends it."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from denizen.core.accounts import Accounts
from denizen.doctor import State, _profiles
from denizen.profiles.service import check_values, rebuild_values
from denizen.settings import Settings
from tests.cli.conftest import Command, command, environment
from tests.conftest import MakeUser
from tests.migrations.ground import connected, fill
from tests.profiles.conftest import SALES

__all__ = ["command", "environment"]


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize(
    "written",
    [
        """UPDATE denizen_users SET profile = '{"department":"support","badge":1.0}' WHERE username = 'ada'""",
        "UPDATE denizen_users SET profile = '{}', updated_at = '2001-01-01' WHERE username = 'ada'",
        "DELETE FROM denizen_profile_values WHERE name = 'level'",
    ],
)
async def test_what_was_written_past_us_is_found_and_mended(
    accounts: Accounts, settings: Settings, make_user: MakeUser, written: str
) -> None:
    await make_user(username="ada", profile=SALES)
    assert (await _profiles(settings, accounts.database)).state is State.OK
    async with accounts.writing() as db:
        await db.execute(text(written.replace(":", "\\:")))

    assert (await _profiles(settings, accounts.database)).state is State.FAIL
    assert (await check_values(accounts.database)).stale == 1
    assert (await rebuild_values(accounts)).stale == 1
    assert (await check_values(accounts.database)).stale == 0
    assert (await _profiles(settings, accounts.database)).state is State.OK


@pytest.mark.parametrize("database_kind", ["postgresql"])
async def test_postgresql_keeps_its_index_by_itself(
    accounts: Accounts, settings: Settings, make_user: MakeUser
) -> None:
    await make_user(username="ada", profile=SALES)

    assert (await _profiles(settings, accounts.database)).state is State.OK
    assert (await rebuild_values(accounts)).by_itself
    async with accounts.database.read.session() as db:
        assert (await db.execute(text("SELECT count(*) FROM denizen_profile_values"))).scalar_one() == 0


@pytest.mark.slow
@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_commands_tell_and_mend_and_an_upgrade_does_so_by_itself(database_url: str, command: Command) -> None:
    fill(database_url, people=5)
    written = text("UPDATE denizen_users SET profile = :profile")
    for mend in (("profiles", "rebuild"), ("migrate", "up")):
        with connected(database_url) as connection:
            connection.execute(text("DELETE FROM denizen_profile_values"))
            connection.execute(written, {"profile": '{"department":"sales"}'})

        told = command("profiles", "check")
        mended = command(*mend)
        again = command("profiles", "check", "--json")

        assert (told.code, "Run: denizen profiles rebuild" in told.out) == (1, True)
        assert (mended.code, again.code) == (0, 0)
        assert again.rows == [{"by_itself": False, "stale": 0, "looked_at": 5}]
