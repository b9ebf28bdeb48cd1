"""One installed Denizen: its settings, its database and what its rooms share. Nothing of it lives at module level."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.auth import Caller, CredentialsInvalid
from denizen.core.database import Database
from denizen.core.errors import DenizenError
from denizen.core.events import INSTALL, Afterthought, E, Event, Guard, Hook, Listener, check_hook, check_session
from denizen.core.hashing import HashPool
from denizen.core.ids import new_id
from denizen.core.logs import logger, report
from denizen.core.paging import CursorSigner
from denizen.core.passwords import PasswordPolicy
from denizen.core.profiles import Profile
from denizen.core.rates import RateLimiter
from denizen.core.secret import Secret
from denizen.settings import Settings

log = logger(__name__)


def utc_now() -> datetime:
    """Give this instant, in UTC."""
    return datetime.now(UTC)  # noqa: TID251  (the one source of time; the rest takes it as an argument)


MAX_TOKEN_LENGTH = 4096


def bearer_token(authorization: str) -> str:
    """Give the token of an `Authorization` header.

    Raises:
        CredentialsInvalid: another scheme than Bearer, no token, or one longer than any of ours.
    """
    scheme, _, token = authorization.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token or len(token) > MAX_TOKEN_LENGTH:
        raise CredentialsInvalid("Send `Authorization: Bearer` and a token.")
    return token


Meter = Callable[[str, str, float], None]
"""Is told what was done, of what kind, and how many; see `Accounts.count`."""

Watcher = Callable[[Any, int, float], None]
"""Is told of a request that was answered: its ASGI scope, the status, and the seconds it took."""


@dataclass(slots=True, weakref_slot=True, kw_only=True, eq=False)
class Accounts:
    """What `install` gives back.

    Attributes:
        settings: as the operator set them.
        database: this install's own.
        hashing: the threads that hash passwords.
        passwords: what a password must be.
        cursors: signs the cursors of lists.
        secret: derives what else only this install can make.
        sign_up_limits: how often one address, and everybody together, may sign up without credentials.
        authenticators: recognise callers, in order.
        listeners: told every event.
        hooked: whether some function of a host's is one of them; what that does in a transaction, nobody knows.
        afterthoughts: told of a kind of events once they are committed; see `after`.
        telling: those that are being told just now.
        guards: may refuse a change of somebody else's account.
        refusals: told what was refused.
        user_finder: gives the account of a caller, for `find_user`.
        sign_up: takes over from strangers who sign up while they have to prove their address first; `None` for nobody.
        cleaners: delete what has expired; housekeeping calls them (each is a `Cleaner` of `core.feature`).
        profile: the own fields of its accounts; `None` for none.
        holdings: what the rooms store about a person (each is a `Holding` of `core.feature`).
        prefix: where the routes are, `""` or `/accounts`.
        clock: gives the present; tests turn it.
        process: names this install in this process, for what only one of all processes may do.
        noticed: last uses of credentials that wait to be written: by kind (`key`, `session`), then by id.
        kept: what rooms hold in memory of what the database says, by room: bounded, and read anew after seconds.
        batching: held by the one batch that may be written at a time, so that others come in between.
        wakers: end the pause of a job of that name, where one runs; see `wake`.
        meters: are told what `count` is told.
        watchers: told of each request of the standalone server.
        figures: what the room `metrics` keeps.
        uploads: the files that are being imported over HTTP and lie on this machine's disk meanwhile.
        closing: awaited by `close`, the last first, while everything is still open.
    """

    settings: Settings
    database: Database
    hashing: HashPool
    passwords: PasswordPolicy
    cursors: CursorSigner
    secret: Secret
    sign_up_limits: tuple[RateLimiter, RateLimiter]
    authenticators: tuple[Authenticator, ...]
    listeners: tuple[Listener, ...] = ()
    hooked: bool = False
    afterthoughts: tuple[tuple[type[Event], Afterthought[Any]], ...] = ()
    guards: tuple[Guard, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    cleaners: tuple[Any, ...] = ()
    user_finder: UserFinder | None = None
    sign_up: SignUp | None = None
    holdings: tuple[Any, ...] = ()
    profile: Profile | None = None
    prefix: str = ""
    clock: Callable[[], datetime] = utc_now
    process: UUID = field(default_factory=new_id)
    noticed: defaultdict[str, dict[UUID, datetime]] = field(default_factory=lambda: defaultdict(dict))
    kept: dict[str, Any] = field(default_factory=dict, repr=False)
    batching: asyncio.Lock = field(default_factory=asyncio.Lock)
    wakers: dict[str, Callable[[], None]] = field(default_factory=dict)
    meters: list[Meter] = field(default_factory=list)
    watchers: list[Watcher] = field(default_factory=list)
    figures: Any = None
    uploads: set[object] = field(default_factory=set)
    closing: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    telling: set[asyncio.Task[None]] = field(default_factory=set, repr=False)

    def wake(self, job: str) -> None:
        """Let a job run now, and not when its pause is over. Nothing happens in a process where it does not run."""
        waker = self.wakers.get(job)
        if waker is not None:
            waker()

    def count(self, what: str, kind: str, number: float = 1) -> None:
        """Tell whoever keeps figures that something was done: `count("mails", "sent")`.

        Args:
            what: of which figure.
            kind: one of a few, written down in the code; never what somebody sent.
            number: how many.
        """
        for meter in self.meters:
            meter(what, kind, number)

    def public_url(self, path: str) -> str:
        """Give the address of `path` as people reach it: from `DENIZEN_BASE_URL`, never from a request."""
        return f"{self.settings.base_url.rstrip('/')}{self.prefix}{path}"

    @property
    def base_path(self) -> str:
        """The path in `DENIZEN_BASE_URL`: where people reach the application, `""` or `/api`."""
        return urlsplit(self.settings.base_url).path.rstrip("/")

    @asynccontextmanager
    async def writing(self, *, timeout: float | None = None) -> AsyncIterator[AsyncSession]:
        """Open a transaction whose events reach this install's listeners; see `Writer.begin`."""
        async with self.database.write.begin(timeout=timeout) as db:
            self.adopt(db)
            yield db

    def adopt(self, db: AsyncSession) -> None:
        """Bind a session that the caller made himself to this install, for as long as it lives.

        What `change_user`, `erase_user` and the rest do in it is then told to this install's listeners, which write
        into the same transaction: undone with it, and committed by whoever made the session, never by us. Sessions from
        `writing` and `Db` are bound, and `create_account` binds the one it is given. To bind twice changes nothing.

        Args:
            db: a session on this install's database, which is not checked.

        Raises:
            ValueError: it is bound to another install.
            TypeError: it is no `AsyncSession`.
        """
        check_session(db)
        bound = db.info.setdefault(INSTALL, self)
        if bound is not self:
            raise ValueError(
                f"This session belongs to the install under {bound.prefix!r}, not to the one under {self.prefix!r}: "
                "in one transaction there is one install."
            )

    def on(self, kind: type[E]) -> Callable[[Hook[E]], Hook[E]]:
        """Let a function hear of every event of a kind, in its transaction and before the commit.

        It gets the session and the event, may write in that session, and by raising undoes all that was done in it: a
        `DenizenError` is answered as one, anything else as any error of the application.

        Args:
            kind: such as `UserCreated`; `Event` for all there are.

        Raises:
            TypeError: `kind` is no class of events, or the function is not `async def`.
        """

        def register(hook: Hook[E]) -> Hook[E]:
            check_hook(kind, hook)

            async def hear(db: AsyncSession, event: Event) -> None:
                if isinstance(event, kind):
                    await hook(db, event)

            self.listeners, self.hooked = (*self.listeners, hear), True
            return hook

        return register

    def after(self, kind: type[E]) -> Callable[[Afterthought[E]], Afterthought[E]]:
        """Let a function hear of every event of a kind once it is committed, and never of one that was undone.

        It runs beside the request, which does not wait for it; what it raises is logged. It is told once at most: if
        the process ends in between, never.

        Args:
            kind: such as `UserCreated`; `Event` for all there are.

        Raises:
            TypeError: `kind` is no class of events, or the function is not `async def`.
        """

        def register(hook: Afterthought[E]) -> Afterthought[E]:
            check_hook(kind, hook)
            self.afterthoughts = (*self.afterthoughts, (kind, hook))
            return hook

        return register

    def heeds(self, event: Event) -> bool:
        """Whether somebody wants to know of an event once it is committed."""
        return any(isinstance(event, kind) for kind, _ in self.afterthoughts)

    def tell(self, events: Sequence[Event]) -> None:
        """Begin to tell those who registered by `after` of what was committed, one after the other."""
        task = asyncio.create_task(self._tell(events), name="after a commit")
        self.telling.add(task)
        task.add_done_callback(self.telling.discard)

    async def _tell(self, events: Sequence[Event]) -> None:
        for event in events:
            for kind, hook in self.afterthoughts:
                if isinstance(event, kind):
                    try:
                        await hook(event)
                    except Exception as error:  # noqa: BLE001  (it is done and answered, whatever they make of it)
                        report(log, "hook_failed", error, hook=getattr(hook, "__qualname__", ""), action=event.action)

    async def told(self) -> None:
        """Wait until those who registered by `after` have been told of all that is committed by now."""
        while self.telling:
            await asyncio.wait(self.telling)

    def check_password(self, password: str, *context: str | None) -> None:
        """Refuse a bad password; what the site is called counts as context too. The same on every path that sets one.

        Raises:
            PasswordRefused: one of its subclasses.
        """
        host = urlsplit(self.settings.base_url).hostname
        self.passwords.check(password, context=(self.settings.site_name, host, *context))

    async def recognise(self, authorization: str | None, at: datetime) -> Caller | None:
        """Find the caller that an `Authorization` header names.

        Args:
            authorization: the header's value; `None` where there is none.
            at: the instant to judge expiry by, in UTC.

        Returns:
            The caller, or `None` where there is no header.

        Raises:
            CredentialsInvalid: another scheme than Bearer, or a token that opens nothing.
        """
        if authorization is None:
            return None
        token = bearer_token(authorization)
        for authenticator in self.authenticators:
            caller = await authenticator(self, token, at)
            if caller is not None:
                return caller
        raise CredentialsInvalid("These credentials are unknown, expired or revoked.")

    async def find_user(self, caller: Caller) -> Mapping[str, Any] | None:
        """Give the account of a caller who is a person, as the fields that `GET /users/me` answers with; `None` where
        there is none any more.
        """
        return None if self.user_finder is None else await self.user_finder(self, caller)

    @property
    def reauthentication_timeout(self) -> float:
        """Seconds for which somebody who proved who he is may do what `FreshSession` guards."""
        return self.settings.reauthentication_timeout

    async def write_noticed(
        self, kind: str, store: Callable[[AsyncSession, Mapping[UUID, datetime]], Awaitable[None]]
    ) -> None:
        """Write the last uses of one kind of credentials that requests have noticed, in one transaction.

        What cannot be written waits for the next time; what was noticed meanwhile is later, and wins.
        """
        uses = self.noticed.pop(kind, {})
        if not uses:
            return
        try:
            async with self.writing() as db:
                await store(db, uses)
        except BaseException:
            self.noticed[kind] = uses | self.noticed[kind]
            raise

    async def refused(self, error: DenizenError) -> None:
        """Tell those who want to know that a request ended in `error`; its transaction has been undone by now."""
        for hear in self.refusals:
            await hear(self, error)

    async def refused_within(self, errors: Iterable[DenizenError]) -> None:
        """Tell them what was refused within something that was done as a whole, and has been committed by now."""
        for number, error in enumerate(errors, 1):
            await self.refused(error)
            if number % 50 == 0:
                await asyncio.sleep(0)  # there may be thousands, and the event loop has others to serve

    async def _let_finish(self) -> None:
        here = {task for task in self.telling if task.get_loop() is asyncio.get_running_loop()}
        if here:
            _, late = await asyncio.wait(here, timeout=_FINISH_SECONDS)
            for task in late:
                task.cancel()

    async def close(self) -> None:
        """Let jobs do what they do last, then let go of threads and connections. The next use opens them anew."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.database.close)
            stack.callback(self.hashing.close)
            for act in self.closing:
                stack.push_async_callback(act)
            stack.push_async_callback(self._let_finish)
        self.batching = asyncio.Lock()  # a lock belongs to the event loop that waited for it


_FINISH_SECONDS: Final = 5.0
"""How long `close` waits for hooks after a commit, which may wait for the network themselves."""

Refusal = Callable[[Accounts, DenizenError], Awaitable[None]]
"""Is told that a request ended in an error, after its transaction was undone; writes in one of its own."""

UserFinder = Callable[[Accounts, Caller], Awaitable[Mapping[str, Any] | None]]
"""Gives the account of a caller as fields by name; reads on the hot path."""

SignUp = Callable[[Accounts, AsyncSession, Any], Awaitable[None]]
"""Takes what a stranger wants his account to be, in a writing session that has not begun; makes no account yet."""

Authenticator = Callable[[Accounts, str, datetime], Awaitable[Caller | None]]
"""Recognises the bearer of a token at an instant (UTC).

Gives `None` for a token that is not of its kind (by prefix alone, without asking the database), raises
`CredentialsInvalid` for one that is and opens nothing. Reads on the reading connections only: a write lock must not be
held while a caller is recognised.
"""
