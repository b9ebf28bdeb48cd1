"""All that a room offers to the application, as one value."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Self
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from denizen.core.accounts import Accounts, Authenticator, Refusal, SignUp, UserFinder
from denizen.core.events import Guard, Listener


@dataclass(frozen=True, slots=True)
class CommandGroup:
    """Commands of the `denizen` program. Groups of one name, from several rooms, are shown as one.

    Attributes:
        name: `users` in `denizen users list`.
        load: gives the Typer app; called when the command line is built, so that a server never imports it.
    """

    name: str
    load: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Job:
    """Something done again and again while an installed application has its database open.

    Attributes:
        name: for the logs, and for `Accounts.wake`.
        every: seconds between the end of one run and the start of the next.
        run: one run; what it raises is logged and the next run comes all the same.
        last: run once more when the install is closed, as it is when the application stops.
    """

    name: str
    every: float
    run: Callable[[Accounts], Awaitable[None]]
    last: bool = False


@dataclass(frozen=True, slots=True)
class Cleaner:
    """Deletes what has expired of one table; housekeeping calls it, one process at a time, until it gives 0.

    Attributes:
        name: of what is deleted, in the plural, for the logs and `denizen housekeeping`: `expired sign-ins`.
        run: deletes a batch, at most so many rows, in the transaction it is given; gives how many that were. It takes
            the rows by an index and skips those that others hold.
    """

    name: str
    run: Callable[[Accounts, AsyncSession, datetime, int], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class Holding:
    """What a room stores about one person, for when he asks for all of it.

    Attributes:
        name: what he finds it under: `sessions`.
        read: gives it, as what JSON can be made of: all there is of that person, and no secret, digests included.
    """

    name: str
    read: Callable[[AsyncSession, UUID], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Feature:
    """A room's contribution.

    Attributes:
        name: the room's name.
        routers: give FastAPI routers, called once when the application is composed.
        ahead: its routes are looked at before those of other rooms, who would take `/users/export` for an account.
        authenticators: recognise bearers of the tokens that this room issues.
        listeners: are told every event, in its transaction.
        guards: may refuse that somebody changes somebody else's account, in the transaction of the change.
        refusals: are told what was refused, after the rollback and before the answer.
        user_finder: gives the account of a caller, for `CurrentUser`; of one room alone.
        sign_up: takes over from strangers who sign up while they have to prove their address first; of one room alone.
        cleaners: delete what has expired.
        holdings: what is stored about a person.
        commands: of the `denizen` program.
        jobs: run beside the application, and not beside a command.
        attach: are called with an install once an application has it; not for a command.
    """

    name: str
    routers: Callable[[], tuple[Any, ...]] = tuple
    ahead: bool = False
    authenticators: tuple[Authenticator, ...] = ()
    listeners: tuple[Listener, ...] = ()
    guards: tuple[Guard, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    user_finder: UserFinder | None = None
    sign_up: SignUp | None = None
    cleaners: tuple[Cleaner, ...] = ()
    holdings: tuple[Holding, ...] = ()
    commands: tuple[CommandGroup, ...] = ()
    jobs: tuple[Job, ...] = ()
    attach: tuple[Callable[[Accounts], None], ...] = ()

    def without_routes(self) -> Self:
        """Give the same for an application that leaves it out: nobody comes in through it."""
        return replace(self, routers=tuple, authenticators=(), sign_up=None)
