"""What happened, told to the rooms that care, in the transaction in which it happened.

Lower rooms reach higher ones through events only: `users` records `UserCreated` and knows nothing of whoever listens.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final, Protocol, TypeVar
from uuid import UUID

from sqlalchemy.event import listen
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, SessionTransaction

from denizen.core.auth import Caller
from denizen.core.profiles import Profile

INSTALL = "denizen_install"
"""The key of `AsyncSession.info` under which stands the install that a session belongs to; see `Accounts.adopt`."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. Subclasses are named in the past tense and carry ids and values, never secrets.

    Attributes:
        action: what, for the audit and for programs: `user.updated`.
        subject: the name of the field that says what it happened to: `user_id`, `key_id` ... Fields that say something
            personal of that user are `before` and `after`; the others must not.
    """

    action: ClassVar[str]
    subject: ClassVar[str] = "user_id"


E = TypeVar("E", bound=Event)
"""A kind of event."""

Listener = Callable[[AsyncSession, Event], Awaitable[None]]

Hook = Callable[[AsyncSession, E], Awaitable[None]]
"""A host's own listener to one kind of event, in the transaction of it; what it raises undoes the whole."""

Afterthought = Callable[[E], Awaitable[None]]
"""What a host does about an event once it is committed."""

Guard = Callable[[AsyncSession, Caller, Sequence[UUID]], Awaitable[None]]
"""Refuses, by raising `BeyondCaller`, that a caller changes one of some accounts."""


class Install(Protocol):
    """As much of an install as events need."""

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """Who is told every event."""
        ...

    @property
    def profile(self) -> Profile | None:
        """The own fields of its accounts."""
        ...

    @property
    def guards(self) -> tuple[Guard, ...]:
        """Who may refuse a change."""
        ...

    def heeds(self, event: Event) -> bool:
        """Whether somebody wants to know once it is committed."""
        ...

    def tell(self, events: Sequence[Event]) -> None:
        """Begin to tell them of what was committed, in this order."""
        ...


async def record(db: AsyncSession, event: Event) -> None:
    """Tell every listener of the install that `db` belongs to about `event`.

    Called after the statement that did it and before the commit: a listener that raises undoes the whole.

    Raises:
        LookupError: it belongs to none, and nobody would hear of it.
    """
    install = _install_of(db, type(event).__name__)
    for listener in install.listeners:
        await listener(db, event)
    if install.heeds(event):
        _Untold.of(db, install).keep(db.sync_session, event)


async def guard(db: AsyncSession, caller: Caller | None, user_ids: Sequence[UUID]) -> None:
    """Let a caller change somebody else's accounts, or say why not; called in the transaction of the change, before it.

    Args:
        db: a session that belongs to an install.
        caller: who wants to; `None` for the operator at the command line, and for a host's own code, who may.
        user_ids: the accounts. His own is his to change.

    Raises:
        BeyondCaller: one of them holds a permission that the caller lacks.
        LookupError: as `record`.
        TypeError: as `check_session`.
    """
    check_session(db)
    others = [user_id for user_id in user_ids if caller is not None and not caller.is_self(user_id)]
    if caller is None or not others:
        return
    for each in _install_of(db, "a change").guards:
        await each(db, caller, others)


def profile_of(db: AsyncSession) -> Profile | None:
    """Give the own fields that accounts have in the install that `db` belongs to.

    Raises:
        LookupError, TypeError: as `record`.
    """
    return _install_of(db, "it").profile


def check_session(db: object) -> None:
    """Refuse what is no `AsyncSession` before anything is asked of it.

    Raises:
        TypeError: it is a synchronous session, an engine, or something else; the text says what to do.
    """
    if not isinstance(db, AsyncSession):
        raise TypeError(
            f"Denizen works in an AsyncSession, and this is a {type(db).__module__}.{type(db).__qualname__}: take "
            "`Db` or `accounts.writing()`, or make one with `async_sessionmaker(create_async_engine(...))`."
        )


def check_hook(kind: object, hook: object) -> None:
    """Refuse what can be no hook, when it is registered and not when it would be called.

    Raises:
        TypeError: `kind` is no class of events, or `hook` is not `async def`.
    """
    if not (isinstance(kind, type) and issubclass(kind, Event)):
        raise TypeError(f"A hook is for a class of events, such as denizen.UserCreated, and not for {kind!r}.")
    if not inspect.iscoroutinefunction(hook):
        raise TypeError(f"A hook is awaited: write `async def` for {getattr(hook, '__qualname__', hook)!r}.")


def _install_of(db: AsyncSession, what: str) -> Install:
    check_session(db)
    install: Install | None = db.info.get(INSTALL)
    if install is None:
        raise LookupError(
            f"This session belongs to no install, so nobody would hear of {what}. For a session of your own say "
            "`accounts.adopt(db)` first; one from `accounts.writing()` or `Db` belongs already."
        )
    return install


# --- After the commit ----------------------------------------------------------------------------------


_UNTOLD: Final = "denizen_untold"
"""The key of `AsyncSession.info` under which events wait for the commit."""


@dataclass(slots=True)
class _Untold:
    """The events of a session that wait for its commit, each with the transaction or savepoint it happened in.

    The session itself is asked what became of them: whoever made it commits it, and nobody else knows of savepoints.
    """

    install: Install
    events: list[tuple[Event, SessionTransaction | None]] = field(default_factory=list)

    @classmethod
    def of(cls, db: AsyncSession, install: Install) -> _Untold:
        """Give that of a session, which is listened to from the first event on."""
        held: _Untold | None = db.info.get(_UNTOLD)
        if held is None:
            held = db.info[_UNTOLD] = cls(install)
            listen(db.sync_session, "after_commit", held.has_committed)
            listen(db.sync_session, "after_soft_rollback", held.has_undone)
        return held

    def keep(self, session: Session, event: Event) -> None:
        """Let an event wait."""
        self.events.append((event, session.get_nested_transaction() or session.get_transaction()))

    def has_undone(self, _: Session, undone: SessionTransaction) -> None:
        """Forget what happened in a transaction or a savepoint, and in those inside it."""
        self.events = [(event, within) for event, within in self.events if undone not in _outwards(within)]

    def has_committed(self, session: Session) -> None:
        """Tell what was committed; a savepoint that is released may still be undone with what is around it.

        What a transaction left that was given up without a word (`close`) has another root, and is forgotten.
        """
        if session.in_nested_transaction():
            return
        committed, events, self.events = session.get_transaction(), self.events, []
        told = [event for event, within in events if within is None or any(it is committed for it in _outwards(within))]
        if told:
            self.install.tell(told)


def _outwards(transaction: SessionTransaction | None) -> Iterator[SessionTransaction]:
    while transaction is not None:
        yield transaction
        transaction = transaction.parent
