"""Nobody learns from an answer who has an account: the same status, body, headers, statements and hashes for all.

The letters are written into the outbox, so that a mail server that is away changes nothing; both are tried.
"""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from typing import Any

import pytest
from httpx import AsyncClient, Response

from denizen.account import plans, service
from denizen.core.accounts import Accounts
from denizen.core.origin import current_origin
from tests.account.conftest import ask, proved, set_columns
from tests.conftest import PATIENT, MakeUser

STATES = ("unknown", "unverified", "verified", "suspended", "inactive", "deleted", "without password")


@pytest.fixture(params=[None, "smtp://127.0.0.1:1"], ids=["outbox", "server away"])
def overrides(request: pytest.FixtureRequest) -> dict[str, Any]:
    return {**PATIENT, "mail_url": request.param}


async def bring_into(accounts: Accounts, user: dict[str, Any], state: str) -> None:
    at = accounts.clock()
    if state == "verified":
        await proved(accounts, user)
    values: dict[str, dict[str, Any]] = {
        "suspended": {"suspended_at": at},
        "inactive": {"is_active": False},
        "deleted": {"deleted_at": at, "erase_at": at + timedelta(days=30)},
        "without password": {"hashed_password": None},
    }
    if state in values:
        await set_columns(accounts, user, **values[state])


def seen(answer: Response) -> tuple[Any, ...]:
    """What a client sees of an answer, but for the id of the request."""
    headers = {name: value for name, value in answer.headers.items() if name != "x-request-id"}
    return answer.status_code, answer.content, headers


@pytest.mark.parametrize("path", ["/auth/forgot-password", "/auth/request-verify-token"])
async def test_asking_for_a_link_is_answered_alike_whoever_has_the_address(
    client: AsyncClient, accounts: Accounts, make_user: MakeUser, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []
    emails = {"unknown": "personX@example.org"}
    for number, state in enumerate(STATES[1:]):
        emails[state] = f"person{number}@example.org"
        await bring_into(accounts, await make_user(email=emails[state]), state)
    await ask(client, path, "somebody@example.org")  # what is compiled or opened at first use

    def note(sql: str) -> None:
        if current_origin().kind != "job":  # the sender looks into the outbox meanwhile, whoever asked
            ran.append(sql)

    accounts.database.observers.append(note)
    monkeypatch.setattr(accounts.hashing, "_call", lambda *_: pytest.fail("a password was hashed"))
    found = {}
    for state in STATES:
        ran.clear()
        answer = await ask(client, path, emails[state])
        found[state] = (*seen(answer), [re.sub(r"\s+", " ", each) for each in ran])

    assert found["unknown"][0] == 202
    assert len(found["unknown"][3]) >= 7
    for state in STATES:
        assert found[state] == found["unknown"], state


@pytest.mark.parametrize("database_kind", ["postgresql"])  # SQLite has one writer after the other, whoever asks
async def test_who_asks_meanwhile_waits_for_nobody(
    client: AsyncClient, accounts: Accounts, make_user: MakeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asking at once takes as long for addresses that have an account as for others: nobody is held for it."""
    await make_user(email="ada@example.org")
    await ask(client, "/auth/forgot-password", "ada@example.org")  # an earlier link is there, too
    send, inside, both = plans.send_link, list[None](), asyncio.Event()

    async def slowly(*given: Any, **options: Any) -> None:
        await send(*given, **options)
        inside.append(None)
        if len(inside) == 2:
            both.set()
        await asyncio.wait_for(both.wait(), 20)  # neither commits before both are there

    monkeypatch.setattr(service, "send_link", slowly)
    answers = await asyncio.gather(*(ask(client, "/auth/forgot-password", "ada@example.org") for _ in range(2)))

    assert [answer.status_code for answer in answers] == [202, 202]
