"""What is personal lies under the id of whom it tells of."""

from __future__ import annotations

from uuid import UUID

from denizen.audit.crud import describe_entries
from denizen.core.accounts import Accounts
from denizen.core.auth import Caller
from denizen.core.ids import new_id
from denizen.core.origin import Origin, coming_from
from denizen.users.schemas import UserUpdate
from denizen.users.service import change_user
from tests.audit.test_write_entries import personal
from tests.conftest import MakeUser


async def test_where_an_impersonator_sits_tells_of_him(accounts: Accounts, make_user: MakeUser) -> None:
    """Erasing him erases it, and whom he stood in for does not find it among his own data."""
    ada, boss = UUID((await make_user())["id"]), UUID((await make_user())["id"])
    at = accounts.clock()
    caller = Caller("session", new_id(), frozenset(), user_id=ada, impersonator_id=boss)
    origin = Origin("request", caller=caller, user_id=ada, address="192.0.2.7", device="helper")

    with coming_from(origin):
        async with accounts.writing() as db:
            await change_user(db, ada, UserUpdate(full_name="Ada"), versions=None, at=at, caller=caller)

    found = (await personal(accounts))[-2:]
    assert (boss, {"address": "192.0.2.7", "device": "helper"}) in found
    async with accounts.database.read.session() as db:
        assert next(each["action"] for each in await describe_entries(db, boss)) == "user.updated"
        assert "192.0.2.7" in str(await describe_entries(db, boss))
        assert "192.0.2.7" not in str(await describe_entries(db, ada))
    assert [facts["after"] for user_id, facts in found if user_id == ada] == [{"full_name": "Ada"}]
