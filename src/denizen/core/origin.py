"""Who does what is being done now, and from where: for whoever writes that down.

It is known to the code that answers a request (our router, and `Db` in a host's routes) and to the command line, and
asked for deep below, so it travels in a context variable: a task that a request starts has it too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from dataclasses import dataclass, replace
from typing import Any, Final, Literal
from uuid import UUID

from denizen.core.auth import Caller
from denizen.core.ids import parse_id

CALLER: Final = "denizen.caller"
"""The key in an ASGI scope under which stands who was recognised."""

REQUEST_ID: Final = "denizen.request_id"
"""The key in an ASGI scope under which a request's id stands."""

_MADE: Final = "denizen.origin"
_MAX_DEVICE_LENGTH: Final = 200


@dataclass(frozen=True, slots=True)
class Origin:
    """Where something comes from.

    Attributes:
        kind: `request`, `command` (of the `denizen` program), `job`, or `host` for code of whoever embeds us.
        caller: who asks, where somebody was recognised.
        user_id: the person, where one is known without being recognised, as when a link was spent.
        address: the client's, in text.
        device: what the client calls itself (`User-Agent`), cut to 200 characters.
        languages: what its reader likes to read (`Accept-Language`).
        request_id: of the request.
        act: what was asked for, as it is documented: `DELETE /users/{user_id}`.
        target: the id of the person whom the path names.
    """

    kind: Literal["request", "command", "job", "host"] = "host"
    caller: Caller | None = None
    user_id: UUID | None = None
    address: str | None = None
    device: str | None = None
    languages: str | None = None
    request_id: str | None = None
    act: str | None = None
    target: UUID | None = None


_current: ContextVar[Origin | dict[str, Any] | None] = ContextVar("denizen_origin", default=None)
"""An origin, or the ASGI scope of a request, of which one is made when somebody asks."""


def enter_request(scope: Any) -> Token[Any]:
    """Say that a request is being answered; undone by `leave`."""
    return _current.set(scope)


def leave(token: Token[Any]) -> None:
    """Undo `enter_request`."""
    _current.reset(token)


@contextmanager
def coming_from(origin: Origin) -> Iterator[None]:
    """Say where what is done within comes from."""
    token = _current.set(origin)
    try:
        yield
    finally:
        _current.reset(token)


def current_origin(*, user_id: UUID | None = None) -> Origin:
    """Tell where what is being done now comes from.

    Args:
        user_id: the person who does it, where the caller of this knows better: a link was spent, a password fitted.
    """
    found = _current.get()
    origin = (found if isinstance(found, Origin) else _of(found)) if found else Origin()
    return origin if user_id is None else replace(origin, user_id=user_id)


def _of(scope: dict[str, Any]) -> Origin:
    """Make it of a request; once, unless more is known of that by now."""
    known = scope.get(CALLER), scope.get("route")
    found: tuple[Any, Origin] | None = scope.get(_MADE)
    if found is None or found[0] != known:
        found = scope[_MADE] = known, _made_of(scope)
    return found[1]


def _made_of(scope: dict[str, Any]) -> Origin:
    client = scope.get("client")
    headers = dict(scope.get("headers", ()))
    device = headers.get(b"user-agent", b"")
    shown = "".join(each for each in device.decode("latin-1") if each.isprintable())[:_MAX_DEVICE_LENGTH]
    caller: Caller | None = scope.get(CALLER)
    return Origin(
        "request",
        caller=caller,
        user_id=caller.user_id if caller is not None else None,
        address=client[0] if client else None,
        device=shown or None,
        languages=headers.get(b"accept-language", b"").decode("latin-1") or None,
        request_id=scope.get(REQUEST_ID),
        act=_act_of(scope),
        target=parse_id(str(scope.get("path_params", {}).get("user_id", ""))),
    )


def _act_of(scope: dict[str, Any]) -> str | None:
    path = getattr(scope.get("route"), "path", None)
    return None if path is None else f"{scope.get('method', 'WEBSOCKET')} {path}"
