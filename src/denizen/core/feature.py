"""All that a room offers to the application, as one value."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from denizen.core.accounts import Accounts, Authenticator
from denizen.core.events import Listener


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
        name: for the logs.
        every: seconds between the end of one run and the start of the next.
        run: one run; what it raises is logged and the next run comes all the same.
        last: run once more when the install is closed, as it is when the application stops.
    """

    name: str
    every: float
    run: Callable[[Accounts], Awaitable[None]]
    last: bool = False


@dataclass(frozen=True, slots=True)
class Feature:
    """A room's contribution.

    Attributes:
        name: the room's name.
        routers: give FastAPI routers, called once when the application is composed.
        ahead: its routes are looked at before those of other rooms, who would take `/users/export` for an account.
        authenticators: recognise bearers of the tokens that this room issues.
        listeners: are told every event, in its transaction.
        commands: of the `denizen` program.
        jobs: run beside the application, and not beside a command.
    """

    name: str
    routers: Callable[[], tuple[Any, ...]] = tuple
    ahead: bool = False
    authenticators: tuple[Authenticator, ...] = ()
    listeners: tuple[Listener, ...] = ()
    commands: tuple[CommandGroup, ...] = ()
    jobs: tuple[Job, ...] = ()
