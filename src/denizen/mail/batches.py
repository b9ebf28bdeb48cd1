"""Sending what waits in the outbox, a batch at a time (ADR 0027).

A mail is sent at least once: a server that breaks off between taking it and saying so gets it again, under the same
`Message-ID`. Two processes never send one at the same time, since each batch is claimed by one statement, and a process
that dies leaves claims that run out.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Final
from uuid import UUID

from denizen.core import logs
from denizen.core.accounts import Accounts
from denizen.core.errors import Unavailable
from denizen.core.ids import new_id
from denizen.core.secret import Unreadable
from denizen.mail import crud
from denizen.mail.adapters.message import compose
from denizen.mail.adapters.smtp import LETTER_SECONDS, Connection, MailServer
from denizen.mail.crud import Claimed
from denizen.mail.errors import MailNotSent
from denizen.mail.models import MAX_ERROR_LENGTH
from denizen.mail.values import Letter

log = logs.logger(__name__)

BATCH: Final = 40
LANES: Final = 4
"""Connections to the mail server at once, of one process."""

LEASE: Final = timedelta(minutes=5)
"""How long a claim holds. No letter is begun when less of it is left than one may take."""

FIRST_DELAY: Final = 5.0
MAX_DELAY: Final = 1800.0
_MARKING_TRIES: Final = 3
_JITTER: Final = secrets.SystemRandom()


async def send_due(accounts: Accounts) -> Counter[str]:
    """Send what is due until nothing is, or the server cannot be used.

    Returns:
        How many mails were `sent`, put off (`later`) or given up (`failed`).

    Raises:
        MailServerMissing: none is set.
    """
    server = MailServer.of(accounts.settings)
    done: Counter[str] = Counter()
    while True:
        at = accounts.clock()
        beyond = at + LEASE + timedelta(seconds=2 * MAX_DELAY)
        if not await crud.is_any_due(accounts.database.read, at=at, beyond=beyond):
            return done
        claim = new_id()
        async with accounts.writing() as db:
            mails = await crud.claim_mails(db, claim, at=at, beyond=beyond, until=at + LEASE, limit=BATCH)
        batch = _Batch(accounts, server, claim, mails)
        await batch.send()
        done += batch.done
        if batch.away is not None or not mails:
            return done


class _Batch:
    """The mails of one claim.

    Attributes:
        away: why the server cannot be used, once that is known: the rest of the batch is put off without trying.
        done: what became of how many.
    """

    def __init__(self, accounts: Accounts, server: MailServer, claim: UUID, mails: list[Claimed]) -> None:
        self._accounts = accounts
        self._server = server
        self._claim = claim
        self._left = {mail.id: mail for mail in mails}
        self._ends = asyncio.get_running_loop().time() + LEASE.total_seconds() - LETTER_SECONDS
        self.away: MailNotSent | None = None
        self.done: Counter[str] = Counter()

    async def send(self) -> None:
        """Send them over a few connections; what is not tried in the end is given back."""
        waiting = iter(list(self._left.values()))
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(LANES, len(self._left))):
                    group.create_task(self._lane(waiting))
        finally:
            if self._left:
                with suppress(Unavailable):  # then the claims run out by themselves
                    async with self._accounts.writing() as db:
                        await crud.let_go(db, list(self._left), self._claim, until=self._accounts.clock())

    async def _lane(self, waiting: Iterator[Claimed]) -> None:
        connection = Connection(self._server)
        try:
            for mail in waiting:
                if asyncio.get_running_loop().time() > self._ends:
                    return
                await self._try(connection, mail)
        finally:
            await connection.close()

    async def _try(self, connection: Connection, mail: Claimed) -> None:
        """Send one mail, and write down what became of it."""
        if self.away is not None:
            await self._failed(mail, self.away)
            return
        try:
            letter = Letter.unpacked(self._accounts.secret.unseal("mail", mail.content or b""))
            envelope = compose(
                letter,
                mail_id=mail.id,
                to=mail.address,
                written_at=mail.created_at,
                settings=self._accounts.settings,
            )
            await connection.send(envelope)
        except MailNotSent as error:
            if error.fault == "server" and self.away is None:
                self.away = error
                log.warning("mail_server_away", server=self._server.where, reply=error.reply)
            await self._failed(mail, error)
        except Unreadable as error:
            await self._failed(mail, MailNotSent(error.detail, private=error.detail, fault="letter"))
        except Exception as error:  # noqa: BLE001  (one letter that cannot be written must not keep the others waiting)
            logs.report(log, "mail_broken", error, mail_id=str(mail.id), template=mail.template)
            sentence = f"Something went wrong with this mail here ({type(error).__name__}). The logs tell more."
            await self._failed(mail, MailNotSent(sentence, private=sentence, fault="chance"))
        else:
            at = self._accounts.clock()
            await self._mark(mail, "sent", state="sent", sent_at=at, content=None, error=None)

    async def _failed(self, mail: Claimed, error: MailNotSent) -> None:
        at, said = self._accounts.clock(), str(error)[:MAX_ERROR_LENGTH]
        if error.fault == "letter" or at >= mail.give_up_at:
            log.warning("mail_failed", mail_id=str(mail.id), template=mail.template, reply=error.reply)
            await self._mark(mail, "failed", state="failed", error=said)
        else:
            then = min(at + delay_after(mail.attempts), max(mail.give_up_at, at + timedelta(seconds=FIRST_DELAY)))
            await self._mark(mail, "later", next_attempt_at=then, error=said)

    async def _mark(self, mail: Claimed, outcome: str, **values: object) -> None:
        """Write down what became of a mail. A database that is away for a moment is waited for: were it forgotten that
        a mail was sent, it would be sent again.
        """
        del self._left[mail.id]
        for n in range(_MARKING_TRIES):
            if n:
                await asyncio.sleep(1)
            with suppress(Unavailable):
                async with self._accounts.writing() as db:
                    held = await crud.update_claimed(db, mail.id, self._claim, **values)
                break
        else:
            held = False
        if not held:
            log.warning("mail_claim_lost", mail_id=str(mail.id), outcome=outcome)
            return
        self.done[outcome] += 1
        self._accounts.count("mails", outcome)
        if outcome == "sent":
            log.info("mail_sent", mail_id=str(mail.id), template=mail.template, attempts=mail.attempts)


def delay_after(attempts: int) -> timedelta:
    """Give how long to wait after so many tries: 5 s, twice as long after each, at most half an hour; a quarter more or
    less, so that those that failed together do not come back together.
    """
    seconds = FIRST_DELAY * 2.0 ** min(attempts - 1, 20)
    return timedelta(seconds=min(seconds * _JITTER.uniform(0.75, 1.25), MAX_DELAY))
