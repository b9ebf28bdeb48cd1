"""Who is suspended is told, at the address that is his."""

from __future__ import annotations

from typing import Any

from httpx import AsyncClient

from denizen.core.accounts import Accounts
from tests.account.conftest import Outbox, proved
from tests.conftest import MakeKey


async def test_owner_is_told_until_when_and_not_why(
    client: AsyncClient, accounts: Accounts, outbox: Outbox, ada: dict[str, Any], make_key: MakeKey
) -> None:
    headers, path = await make_key(), f"/users/{ada['id']}/suspend"
    assert (await client.post(path, headers=headers)).status_code == 200
    assert await outbox() == []  # nobody has proved that address: it may be a stranger's
    await client.post(f"/users/{ada['id']}/unsuspend", headers=headers)
    await proved(accounts, ada)

    for body in ({"reason": "Chargeback"}, {"reason": "Still"}, {"reason": "Fraud", "until": "2027-03-01T00:00:00Z"}):
        assert (await client.post(path, json=body, headers=headers)).status_code == 200, body

    letters = await outbox()
    assert [(each.template, each.address) for each in letters] == [("suspended", "Ada@example.org")] * 2
    assert ["until 2027-03-01 00:00 UTC" in each.text for each in letters] == [False, True]
    assert not any(word in each.text for each in letters for word in ("Chargeback", "Fraud"))
