"""What happened, told to the rooms that care, in the transaction in which it happened.

Lower rooms reach higher ones through events only: `users` records `UserCreated` and knows nothing of whoever listens.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final, Protocol, TypeVar
from uuid import UUID

from sqlalchemy import Connection
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
    Where it joined the transaction of a connection (`AsyncSession(bind=connection)`), that is asked: see `_Outer`.
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
            listen(db.sync_session, "after_rollback", held.has_undone_apart)
        return held

    def keep(self, session: Session, event: Event) -> None:
        """Let an event wait."""
        self.events.append((event, session.get_nested_transaction() or session.get_transaction()))

    def has_undone(self, _: Session, undone: SessionTransaction) -> None:
        """Forget what happened in a transaction or a savepoint, and in those inside it."""
        whole = undone.parent is None
        self.events = [] if whole else [each for each in self.events if undone not in _outwards(each[1])]

    def has_undone_apart(self, session: Session) -> None:
        """Forget what happened where SQLAlchemy's session has no transaction: on a short way (`core.writes`)."""
        if not session.in_transaction():
            self.events = []

    def has_committed(self, session: Session) -> None:
        """Tell what was committed; a savepoint that is released may still be undone with what is around it.

        What a transaction left that was given up without a word (`close`) has another root, and is forgotten.
        """
        if session.in_nested_transaction():
            return
        committed, events, self.events = session.get_transaction(), self.events, []
        told = [event for event, within in events if within is None or any(it is committed for it in _outwards(within))]
        if not told:
            return
        outer = _still_open(committed)
        if outer is None:
            self.install.tell(told)
        else:
            _Outer.of(outer).keep(outer, self.install, told)


def _outwards(transaction: SessionTransaction | None) -> Iterator[SessionTransaction]:
    while transaction is not None:
        yield transaction
        transaction = transaction.parent


def _still_open(committed: SessionTransaction | None) -> Connection | None:
    """Give the connection of a session whose commit was none of the database's: its host began before the session."""
    used = () if committed is None else committed._connections.values()  # noqa: SLF001  (nobody else knows all of them)
    return next((connection for connection, *_ in used if connection.in_transaction()), None)


class _Outer:
    """What sessions have committed inside the transaction of a connection, which is their host's to commit.

    It stands in the place of what commits on that one connection. SQLAlchemy's own event (`commit`) comes before the
    statement, and the database may refuse that.
    """

    def __init__(self, commit: Callable[[], None]) -> None:
        self._commit = commit
        self._held: list[tuple[Install, Sequence[Event], frozenset[str]]] = []

    @classmethod
    def of(cls, connection: Connection) -> _Outer:
        """Give that of a connection, which is listened to from now on."""
        found = vars(connection).get("_commit_impl")
        if isinstance(found, cls):
            return found
        made = cls(connection._commit_impl)  # noqa: SLF001  (see the class; a test tells when it is called no more)
        connection._commit_impl = made  # type: ignore[method-assign]  # noqa: SLF001  (of this connection alone)
        listen(connection, "rollback", made.has_undone)
        listen(connection, "rollback_savepoint", made.has_undone_to)
        return made

    def keep(self, connection: Connection, install: Install, events: Sequence[Event]) -> None:
        """Let events wait, with the savepoints that are around them."""
        self._held.append((install, events, frozenset(_savepoints_of(connection))))

    def has_undone(self, _: Connection) -> None:
        """Forget all of it."""
        self._held = []

    def has_undone_to(self, _: Connection, name: str, context: None) -> None:
        """Forget what happened in a savepoint."""
        self._held = [each for each in self._held if name not in each[2]]

    def __call__(self) -> None:
        """Commit, and tell what was committed with it; nothing, where that fails."""
        held, self._held = self._held, []
        self._commit()
        for install, events, _ in held:
            install.tell(events)


def _savepoints_of(connection: Connection) -> Iterator[str]:
    """Give the names of the savepoints that a connection is in, from the inmost outwards."""
    within = connection.get_nested_transaction()
    while within is not None:
        yield within._savepoint  # noqa: SLF001  (as events of SQLAlchemy call it)
        within = within._previous_nested  # noqa: SLF001  (nothing public leads outwards)
