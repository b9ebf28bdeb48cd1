"""`denizen mail`: a readable outbox, with a mail server and without."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from denizen.core.assembly import assemble
from denizen.features import FEATURES
from denizen.mail import service
from denizen.settings import Settings
from tests.cli.conftest import Command, command, environment  # noqa: F401  (fixtures)
from tests.conftest import SECRET
from tests.mail.conftest import LINK, Postbox

FROM = {"base_url": "https://accounts.example.com"}


@pytest.fixture
def outbox(database_url: str) -> Any:
    """Put letters into the outbox, as a server without a mail server does or as one with one does."""

    def put(*addresses: str, **options: Any) -> list[str]:
        async def run() -> list[str]:
            chosen = {**FROM, "mail_url": None, **options}
            settings = Settings(_env_file=None, database_url=database_url, secret_key=SECRET, **chosen)
            accounts = assemble(settings, FEATURES)
            try:
                async with accounts.writing() as db:
                    values = {"link": LINK, "hours": 24}
                    return [
                        str((await service.post(accounts, db, "verify", to=to, at=accounts.clock(), values=values)).id)
                        for to in addresses
                    ]
            finally:
                await accounts.close()

        return asyncio.run(run())

    return put


@pytest.fixture
def box(monkeypatch: pytest.MonkeyPatch) -> Iterator[Postbox]:
    """A mail server in a thread of its own: a command has the event loop to itself."""
    box, loop = Postbox(), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(box.start(), loop).result(10)
    monkeypatch.setenv("DENIZEN_MAIL_URL", box.url)
    monkeypatch.setenv("DENIZEN_BASE_URL", FROM["base_url"])
    yield box
    asyncio.run_coroutine_threadsafe(box.stop(), loop).result(10)
    asyncio.run_coroutine_threadsafe(_end(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


async def _end() -> None:
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def test_kept_mails_are_listed_and_read(command: Command, outbox: Any) -> None:  # noqa: F811  (the fixture)
    assert "No mails." in command("mail", "list").err
    ada, grace = outbox("ada@example.org", "grace@example.org")

    rows = command("mail", "list", "--json").rows
    assert [(row["id"], row["state"]) for row in rows] == [(grace, "kept"), (ada, "kept")]
    assert "token=" not in command("mail", "list", "--json").out
    assert command("mail", "list", "--state", "sent", "--json").rows == []

    shown = command("mail", "show", ada)
    assert "To: ada@example.org" in shown.out
    assert "Subject: Confirm your e-mail address for Denizen" in shown.out
    assert "From: Denizen <no-reply@" in shown.out
    assert LINK in shown.out.replace("\n", "")
    assert command("mail", "show", ada, "--json").row["subject"] == "Confirm your e-mail address for Denizen"


def test_what_is_not_there_is_said(command: Command) -> None:  # noqa: F811  (the fixture)
    for mail in ("1", "019a5c1e-7f00-7a11-8b22-3c33d44e55f6"):
        assert command("mail", "show", mail, "--json").problem["code"] == "mail_not_found"
        assert command("mail", "retry", mail, "--json").problem["code"] == "mail_not_found"
    assert command("mail", "send", "--json").problem["code"] == "mail_server_missing"
    assert command("mail", "test", "ada@example.org", "--json").problem["code"] == "mail_server_missing"
    assert command("mail", "retry", "--json").problem["code"] == "invalid"


def test_waiting_mails_are_sent_by_hand(command: Command, outbox: Any, box: Postbox) -> None:  # noqa: F811  (the fixture)
    (ada,) = outbox("ada@example.org", mail_url=box.url)
    box.refusals["ada@example.org"] = "450 Later"
    assert command("mail", "send", "--json").code == 1
    assert command("mail", "send", "--json").rows == [{"sent": 0, "later": 1, "failed": 0}]  # before its time, too
    assert "450 Later" in command("mail", "list", "--json").row["error"]

    box.refusals["ada@example.org"] = "550 Never"
    assert command("mail", "send", "--json").rows == [{"sent": 0, "later": 0, "failed": 1}]
    box.refusals.clear()
    assert command("mail", "retry", "--failed", "--json").row == {"waiting": 1}
    assert command("mail", "send", "--json").row == {"sent": 1, "later": 0, "failed": 0}

    assert "forgotten" in command("mail", "show", ada).err
    assert command("mail", "retry", ada, "--json").problem["code"] == "mail_forgotten"
    assert len(box.received) == 1


def test_kept_mails_are_sent_when_somebody_says_so(command: Command, outbox: Any, box: Postbox) -> None:  # noqa: F811  (the fixture)
    outbox("ada@example.org")
    assert command("mail", "send", "--json").row["sent"] == 0
    assert command("mail", "retry", "--kept", "--json").row == {"waiting": 1}
    assert command("mail", "send", "--json").row["sent"] == 1


def test_a_test_letter_shows_what_the_server_says(command: Command, box: Postbox) -> None:  # noqa: F811  (the fixture)
    assert command("mail", "test", "ada@example.org", "--json").row["answer"] == "Queued"
    (message,) = box.received
    assert message["Subject"] == "A test from Denizen"

    box.refusals["ada@example.org"] = "550 5.1.1 Nobody"
    refused = command("mail", "test", "ada@example.org", "--json").problem
    assert refused["code"] == "mail_not_sent"
    assert "550 5.1.1 Nobody" in refused["detail"]
    assert command("mail", "test", "nobody", "--json").problem["code"] == "email_invalid"
