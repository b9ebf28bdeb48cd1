"""Mails are sent, once as a rule and never not at all, whatever the mail server does. Promise R17."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from datetime import timedelta

import pytest

from denizen.core.accounts import Accounts
from denizen.core.ids import new_id
from denizen.mail import batches, crud, service
from denizen.mail.adapters import smtp
from denizen.mail.batches import LEASE, delay_after, send_due
from tests.conftest import Clock
from tests.mail.conftest import LINK, Post, Postbox, read, until


async def test_a_mail_arrives_with_all_that_it_should_have(accounts: Accounts, postbox: Postbox, post: Post) -> None:
    mail = await post()

    assert await send_due(accounts) == {"sent": 1}

    (message,) = postbox.received
    assert postbox.recipients == ["ada@example.org"]
    assert message["From"] == "Example <accounts@example.com>"
    assert message["To"] == "ada@example.org"
    assert message["Subject"] == "Confirm your e-mail address for Denizen"
    assert message["Message-ID"] == f"<{mail.id}@example.com>"
    assert message["Date"].datetime == mail.created_at.replace(microsecond=0)
    assert message["Auto-Submitted"] == "auto-generated"
    assert message.get_content_type() == "multipart/alternative"
    for kind in ("plain", "html"):
        part = message.get_body((kind,))
        assert part is not None
        assert LINK in part.get_content()


async def test_what_a_mail_said_is_forgotten_once_it_is_sent(accounts: Accounts, postbox: Postbox, post: Post) -> None:
    mail = await post()
    assert LINK.encode() not in (mail.content or b"")  # sealed until then

    await send_due(accounts)

    sent = await read(accounts, mail)
    assert (sent.state, sent.content, sent.claim, sent.attempts) == ("sent", None, None, 1)
    assert sent.sent_at == accounts.clock()
    assert await send_due(accounts) == {}
    assert len(postbox.received) == 1


async def test_one_connection_carries_many_mails(accounts: Accounts, postbox: Postbox, post: Post) -> None:
    for n in range(20):
        await post(f"person{n}@example.org")

    assert await send_due(accounts) == {"sent": 20}
    assert postbox.connections <= batches.LANES
    assert sorted(postbox.recipients) == sorted(f"person{n}@example.org" for n in range(20))


async def test_more_than_a_batch_is_sent_at_once(
    accounts: Accounts, postbox: Postbox, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "BATCH", 3)
    for n in range(8):
        await post(f"person{n}@example.org")

    assert await send_due(accounts) == {"sent": 8}


async def test_addresses_beyond_ascii_are_reached(accounts: Accounts, postbox: Postbox, post: Post) -> None:
    await post("ada@bücher.example.org")
    await post("ädä@bücher.example.org")

    assert await send_due(accounts) == {"sent": 2}
    assert sorted(postbox.recipients) == ["ada@xn--bcher-kva.example.org", "ädä@xn--bcher-kva.example.org"]


async def test_a_server_that_cannot_carry_an_address_gets_no_other(
    accounts: Accounts, postbox: Postbox, post: Post
) -> None:
    postbox.utf8 = False
    mail = await post("ädä@example.org")

    assert await send_due(accounts) == {"failed": 1}
    assert "SMTPUTF8" in ((await read(accounts, mail)).error or "")


# -- refused, stalled, dead -------------------------------------------------------------------------------------------


async def test_a_recipient_whom_nobody_knows_is_given_up_at_once(
    accounts: Accounts, postbox: Postbox, post: Post
) -> None:
    postbox.refusals["ada@example.org"] = "550 5.1.1 No such person"
    mail, other = await post(), await post("grace@example.org")

    assert await send_due(accounts) == {"failed": 1, "sent": 1}

    failed = await read(accounts, mail)
    assert (failed.state, failed.error) == (
        "failed",
        "The mail server did not take this mail: 550 5.1.1 No such person",
    )
    assert (await read(accounts, other)).state == "sent"


async def test_a_recipient_who_is_refused_for_now_is_tried_again(
    accounts: Accounts, postbox: Postbox, post: Post, clock: Clock
) -> None:
    postbox.refusals["ada@example.org"] = "450 4.2.0 Greylisted"
    mail = await post()

    assert await send_due(accounts) == {"later": 1}
    waiting = await read(accounts, mail)
    assert waiting.state == "waiting"
    assert timedelta(seconds=3) < waiting.next_attempt_at - clock() < timedelta(seconds=7)
    assert await send_due(accounts) == {}  # not before its time

    postbox.refusals.clear()
    clock.turn(seconds=7)
    assert await send_due(accounts) == {"sent": 1}


async def test_a_sender_whom_the_server_refuses_can_be_mended_meanwhile(
    accounts: Accounts, postbox: Postbox, post: Post
) -> None:
    postbox.refused_senders = "550 5.7.1 Not your domain"
    mail = await post()

    assert await send_due(accounts) == {"later": 1}
    assert "Not your domain" in ((await read(accounts, mail)).error or "")


async def test_a_server_that_is_down_is_asked_once_and_everything_goes_when_it_is_back(
    accounts: Accounts, postbox: Postbox, post: Post, clock: Clock
) -> None:
    """R17: mail server down: mail sent once it is back."""
    await postbox.stop()
    mails = [await post(f"person{n}@example.org") for n in range(5)]

    assert await send_due(accounts) == {"later": 5}
    assert "cannot be used" in ((await read(accounts, mails[0])).error or "")

    await postbox.start()
    clock.turn(seconds=10)
    assert await send_due(accounts) == {"sent": 5}


async def test_a_server_that_says_nothing_is_left_after_a_while(
    accounts: Accounts, postbox: Postbox, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smtp, "ANSWER_SECONDS", 0.1)
    postbox.stalls = True
    mail = await post()

    assert await send_due(accounts) == {"later": 1}
    assert "Timed out" in ((await read(accounts, mail)).error or "")


async def test_to_sign_up_is_as_fast_while_the_server_stalls(accounts: Accounts, postbox: Postbox, post: Post) -> None:
    """R17: mail server down: sign-up as fast as ever. The sender hangs at the server; who posts does not."""
    postbox.stalls = True
    await post("first@example.org")
    sending = asyncio.create_task(send_due(accounts))
    await until(lambda: postbox.connections)

    began = time.perf_counter()
    for n in range(5):
        await post(f"person{n}@example.org")
    assert time.perf_counter() - began < 2
    assert not sending.done()

    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending


async def test_a_server_that_dies_before_it_answers_gets_the_same_mail_again(
    accounts: Accounts, postbox: Postbox, post: Post, clock: Clock
) -> None:
    """At least once: receivers fold the two by their Message-ID."""
    postbox.cuts = 1
    await post()

    assert await send_due(accounts) == {"later": 1}
    clock.turn(seconds=10)
    assert await send_due(accounts) == {"sent": 1}

    first, second = postbox.received
    assert first["Message-ID"] == second["Message-ID"]
    assert (first["Date"], first["Subject"]) == (second["Date"], second["Subject"])


async def test_a_mail_is_given_up_when_its_time_is_over(
    accounts: Accounts, postbox: Postbox, post: Post, clock: Clock
) -> None:
    await postbox.stop()
    mail, tries = await post(), 0
    async with accounts.writing() as db:
        (await crud.get_mail(db, mail.id)).give_up_at = clock() + timedelta(hours=3)
        await db.flush()
    assert mail.give_up_at - mail.created_at == timedelta(days=2)

    while (found := await read(accounts, mail)).state == "waiting":
        clock.at = max(clock.at, found.next_attempt_at)
        await send_due(accounts)
        tries += 1

    assert found.state == "failed"
    assert timedelta(hours=3) <= clock() - mail.created_at < timedelta(hours=3, minutes=1)
    assert 10 < tries < 25  # at first every few seconds, later twice an hour or so
    assert found.content is not None  # it can be sent all the same: denizen mail retry


def test_waiting_grows_to_half_an_hour_and_is_never_quite_the_same() -> None:
    assert all(3.75 <= delay_after(1).total_seconds() <= 6.25 for _ in range(100))
    assert all(900 <= delay_after(n).total_seconds() <= 1800 for n in range(10, 2000))
    assert len({delay_after(3) for _ in range(10)}) > 1


# -- several processes ------------------------------------------------------------------------------------------------


async def test_two_processes_send_every_mail_once(
    accounts: Accounts, other: Accounts, postbox: Postbox, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R18: two processes on one database."""
    monkeypatch.setattr(batches, "BATCH", 2)
    for n in range(20):
        await post(f"person{n}@example.org")

    done = await asyncio.gather(send_due(accounts), send_due(other))

    assert sum(each["sent"] for each in done) == 20
    assert len(set(postbox.recipients)) == len(postbox.recipients) == 20


async def test_what_a_killed_process_was_sending_another_sends(
    accounts: Accounts, other: Accounts, postbox: Postbox, post: Post, clock: Clock
) -> None:
    await post()
    at = clock()
    async with accounts.writing() as db:  # claimed, and then nothing more is heard of it
        claimed = await crud.claim_mails(
            db, new_id(), at=at, beyond=at + timedelta(hours=2), until=at + LEASE, limit=10
        )
    assert len(claimed) == 1

    assert await send_due(other) == {}
    clock.turn(seconds=LEASE.total_seconds())
    assert await send_due(other) == {"sent": 1}


async def test_who_lost_his_claim_writes_nothing_more(
    accounts: Accounts, other: Accounts, postbox: Postbox, post: Post, clock: Clock
) -> None:
    mail = await post()
    at = clock()
    claim = new_id()
    async with accounts.writing() as db:
        await crud.claim_mails(db, claim, at=at, beyond=at + timedelta(hours=2), until=at + LEASE, limit=10)
    clock.turn(seconds=LEASE.total_seconds())
    await send_due(other)

    async with accounts.writing() as db:
        assert not await crud.update_claimed(db, mail.id, claim, state="failed")
    assert (await read(accounts, mail)).state == "sent"


async def test_an_orderly_stop_gives_back_what_was_not_sent(
    accounts: Accounts, other: Accounts, postbox: Postbox, post: Post
) -> None:
    postbox.stalls = True
    await post()
    sending = asyncio.create_task(send_due(accounts))
    await until(lambda: postbox.connections)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending

    postbox.stalls = False
    assert await send_due(other) == {"sent": 1}


async def test_a_mail_put_off_by_a_clock_that_was_ahead_is_sent(
    accounts: Accounts, postbox: Postbox, post: Post, clock: Clock
) -> None:
    """R14: the clock jumps, and nothing waits for a year."""
    clock.turn(days=365)
    await post()
    clock.turn(days=-365)

    assert await send_due(accounts) == {"sent": 1}


# -- what must not happen ---------------------------------------------------------------------------------------------


async def test_one_mail_that_cannot_be_written_keeps_no_other_waiting(
    accounts: Accounts, postbox: Postbox, post: Post
) -> None:
    broken, good = await post(), await post("grace@example.org")
    async with accounts.writing() as db:
        (await crud.get_mail(db, broken.id)).content = b"sealed by nobody, long enough"
        await db.flush()

    assert await send_due(accounts) == {"failed": 1, "sent": 1}
    assert (await read(accounts, good)).state == "sent"
    assert "DENIZEN_SECRET_KEY" in ((await read(accounts, broken)).error or "")


async def test_a_mail_goes_with_the_account_and_is_rolled_back_with_it(accounts: Accounts, postbox: Postbox) -> None:
    values = {"link": LINK, "hours": 1}
    with suppress(RuntimeError):
        async with accounts.writing() as db:
            await service.post(accounts, db, "verify", to="ada@example.org", at=accounts.clock(), values=values)
            raise RuntimeError

    assert await send_due(accounts) == {}
    assert postbox.received == []


async def test_logs_name_neither_addresses_nor_links(
    accounts: Accounts, postbox: Postbox, post: Post, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    postbox.refusals["grace@example.org"] = "550 5.1.1 <grace@example.org> is unknown"
    await post()
    await post("grace@example.org")

    await send_due(accounts)

    said = " ".join(record.getMessage() for record in caplog.records if record.name.startswith("denizen"))
    assert "mail_sent" in said
    assert "mail_failed" in said
    assert "@example.org" not in said
    assert "token=" not in said


async def test_an_idle_sender_asks_one_thing_by_an_index(accounts: Accounts) -> None:
    await send_due(accounts)
    ran: list[str] = []
    accounts.database.observers.append(ran.append)

    await send_due(accounts)

    assert len(ran) == 1
    async with accounts.writing() as db:
        connection = await db.connection()
        compiled = crud._ANY_DUE.on(connection.dialect)
        values = compiled.parameters({"at": accounts.clock(), "beyond": accounts.clock()})
        if accounts.database.kind == "postgresql":
            await connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        explain = "EXPLAIN " if accounts.database.kind == "postgresql" else "EXPLAIN QUERY PLAN "
        plan = str((await connection.exec_driver_sql(explain + compiled.sql, values)).all())
    assert "ix_denizen_mails_state_next_attempt_at" in plan
    assert "SCAN denizen_mails" not in plan
