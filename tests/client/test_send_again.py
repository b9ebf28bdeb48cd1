"""A call is sent again while that can help and does no harm, and not for longer than somebody wants to wait."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from denizen import Unavailable
from denizen.client import Patience, Unreachable, UserCreate, UserUpdate
from denizen.core.errors import TooMany
from denizen.sessions.errors import SignInFailed
from tests.client.conftest import Flaky, Pauses, Reach, Reply

ADA = UserCreate(username="ada", email="ada@example.org", password="correct horse battery")
BUSY: Reply = (503, {"retry-after": "2"}, b'{"code":"server_busy","title":"Busy","detail":"Busy.","status":503}')
LOST = httpx.ReadError("lost")

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])


async def test_a_busy_server_is_asked_again_when_it_said(app: FastAPI, reach: Reach, key: str, pauses: Pauses) -> None:
    server = Flaky(app, BUSY, (502, {}, b"<html>"))

    async with reach(key, server=server) as client:
        assert [each async for each in client.list_users()] == []

    assert pauses[0] == 2
    assert 0.2 <= pauses[1] <= 0.4


async def test_an_account_is_made_once_though_its_answer_was_lost(app: FastAPI, reach: Reach, key: str) -> None:
    server = Flaky(app, LOST, LOST)

    async with reach(key, server=server) as client:
        ada = await client.create_user(ADA)
        everybody = [each.id async for each in client.list_users()]

    assert everybody == [ada.id]
    assert len({each["idempotency-key"] for each in server.seen if each["method"] == "POST"}) == 1


async def test_what_was_deleted_is_deleted_though_the_answer_was_lost(app: FastAPI, reach: Reach, key: str) -> None:
    server = Flaky(app)

    async with reach(key, server=server) as client:
        ada = await client.create_user(ADA)
        server.replies.append(LOST)
        await client.delete_user(ada.id)


async def test_what_may_not_be_done_twice_is_sent_once(app: FastAPI, reach: Reach, key: str) -> None:
    server = Flaky(app)

    async with reach(key, server=server) as client:
        ada = await client.create_user(ADA)
        for act in (client.forgot_password("ada@example.org"), client.update_user(ada.id, UserUpdate(), if_version=1)):
            server.replies.append(LOST)
            server.seen.clear()
            with pytest.raises(Unreachable) as raised:
                await act
            assert raised.value.sent
            assert len(server.seen) == 1


async def test_a_server_that_is_not_there_is_unavailable(reach: Reach, key: str, pauses: Pauses) -> None:
    async def nobody(*_: Any) -> None:
        raise httpx.ConnectError("refused")

    async with reach(key, server=nobody) as client:
        with pytest.raises(Unavailable) as raised:
            await client.forgot_password("ada@example.org")

    assert isinstance(raised.value, Unreachable)
    assert not raised.value.sent
    assert len(pauses) == 3
    assert key not in repr(raised.value) + repr(client)


async def test_nobody_waits_for_an_hour(app: FastAPI, reach: Reach, pauses: Pauses) -> None:
    wait: Reply = (
        429,
        {"retry-after": "3600"},
        b'{"code":"too_many_requests","title":"","detail":"Later.","status":429}',
    )

    async with reach(server=Flaky(app, wait), patience=Patience(within=5)) as client:
        with pytest.raises(TooMany) as raised:
            await client.create_user(ADA)

    assert raised.value.retry_after == 3600
    assert pauses == []


async def test_a_wrong_password_is_tried_once(app: FastAPI, reach: Reach) -> None:
    server = Flaky(app)

    async with reach(server=server) as client:
        with pytest.raises(SignInFailed):
            await client.sign_in("ada", "wrong")

    assert len(server.seen) == 1


async def test_a_server_that_sets_cookies_gets_none_back(app: FastAPI, reach: Reach) -> None:
    server = Flaky(app, (200, {"set-cookie": "denizen=x; Path=/"}, b"[]"), (200, {}, b"[]"))

    async with reach(server=server) as client:
        for _ in range(2):
            assert [each async for each in client.list_users()] == []

    assert "cookie" not in server.seen[1]
