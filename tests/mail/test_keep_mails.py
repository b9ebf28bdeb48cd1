"""Mails without a mail server, old mails, and mails of people who are gone; what the application does by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import delete

from denizen.app import create_app
from denizen.core.accounts import Accounts
from denizen.core.deps import installs_of
from denizen.core.hashers import NullHasher
from denizen.mail import crud, service
from denizen.mail.batches import send_due
from denizen.mail.errors import MailServerMissing
from denizen.settings import Settings
from denizen.users.models import User
from denizen.users.service import create_account
from tests.conftest import Clock
from tests.mail.conftest import LINK, Post, Postbox, read, until


async def test_without_a_server_mails_are_kept_and_can_be_read(
    accounts: Accounts, post: Post, clock: Clock, settings: Settings
) -> None:
    accounts.settings = settings.model_copy(update={"mail_url": None})
    mail = await post()

    assert mail.state == "kept"
    letter = await service.read_letter(accounts, mail)
    assert letter is not None
    assert LINK in letter.text
    with pytest.raises(MailServerMissing):
        await send_due(accounts)


async def test_kept_mails_are_not_sent_by_surprise(
    accounts: Accounts, post: Post, postbox: Postbox, settings: Settings, clock: Clock
) -> None:
    accounts.settings = settings.model_copy(update={"mail_url": None})
    mail = await post()
    accounts.settings = settings
    clock.turn(days=3)

    assert await send_due(accounts) == {}
    assert await service.send_all_again(accounts, "failed") == 0
    assert await service.send_all_again(accounts, "kept") == 1
    await postbox.stop()
    assert await send_due(accounts) == {"later": 1}  # its time begins anew
    await postbox.start()
    clock.turn(seconds=10)
    assert await send_due(accounts) == {"sent": 1}
    assert (await read(accounts, mail)).state == "sent"


async def test_old_mails_are_deleted_unless_they_are_still_to_be_sent(
    accounts: Accounts, post: Post, postbox: Postbox, clock: Clock
) -> None:
    sent = [await post(f"p{n}@example.org") for n in range(3)]
    await send_due(accounts)
    clock.turn(days=29)
    waiting = await post("late@example.org")
    clock.turn(days=1)

    async with accounts.writing() as db:
        assert await service.clean_old(accounts, db, clock(), 2) == 2
        assert await service.clean_old(accounts, db, clock(), 2) == 1
        assert await service.clean_old(accounts, db, clock(), 2) == 0
        assert {row["id"] for row in await crud.list_mails(db, state=None, limit=10)} == {waiting.id}
    assert sent


async def test_a_waiting_mail_stays_however_short_mails_are_kept(
    accounts: Accounts, post: Post, clock: Clock, settings: Settings
) -> None:
    accounts.settings = settings.model_copy(update={"mail_retention": 3600.0})
    await post()
    clock.turn(hours=2)
    async with accounts.writing() as db:
        assert await service.clean_old(accounts, db, clock(), 10) == 0
    clock.turn(days=2)
    async with accounts.writing() as db:
        assert await service.clean_old(accounts, db, clock(), 10) == 1


async def test_mails_go_with_the_account_that_they_are_about(accounts: Accounts, clock: Clock) -> None:
    async with accounts.writing() as db:
        user = await create_account(accounts, db, username="ada", email="ada@example.org")
        await service.post(accounts, db, "deleted", to="ada@example.org", at=clock(), values={}, user_id=user.id)
    async with accounts.writing() as db:
        await db.execute(delete(User).where(User.id == user.id))
        assert await crud.list_mails(db, state=None, limit=10) == []


# -- the application --------------------------------------------------------------------------------------------------


@pytest.fixture
async def running(settings: Settings, clock: Clock) -> AsyncIterator[FastAPI]:
    app = create_app(settings, hasher=NullHasher(), clock=clock)
    yield app
    for accounts in installs_of(app):
        await accounts.close()


async def test_the_commit_wakes_the_sender(running: FastAPI, postbox: Postbox) -> None:
    """Long before its two seconds are over."""
    (accounts,) = installs_of(running)
    await accounts.database.ping()
    began = asyncio.get_running_loop().time()
    async with accounts.writing() as db:
        async with db.begin_nested():
            await service.post(
                accounts, db, "verify", to="ada@example.org", at=accounts.clock(), values={"link": LINK, "hours": 1}
            )
        await asyncio.sleep(0.05)
        assert postbox.received == []  # a savepoint is no commit

    await until(lambda: postbox.received)
    assert asyncio.get_running_loop().time() - began < 1.5


async def test_closing_ends_a_sender_that_hangs(running: FastAPI, postbox: Postbox) -> None:
    postbox.stalls = True
    (accounts,) = installs_of(running)
    values: dict[str, Any] = {"link": LINK, "hours": 1}
    async with accounts.writing() as db:
        await service.post(accounts, db, "verify", to="ada@example.org", at=accounts.clock(), values=values)
    await until(lambda: postbox.connections)

    began = asyncio.get_running_loop().time()
    await accounts.close()

    assert asyncio.get_running_loop().time() - began < 1
    async with accounts.database.read.session() as db:
        (row,) = await crud.list_mails(db, state="waiting", limit=10)
    assert row["next_attempt_at"] - accounts.clock() < timedelta(seconds=1)  # given back at once
