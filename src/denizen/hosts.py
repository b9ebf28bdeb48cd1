"""How Denizen goes into an application that is somebody else's: its routes cost those of the host nothing, and what the
host did wrong is told at start-up with the route, and not by the first request that meets it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts
from sqlalchemy.engine import URL
from starlette._utils import get_route_path
from starlette.routing import Match, Mount
from starlette.types import Receive, Scope, Send

from denizen.core.accounts import Accounts
from denizen.core.deps import ELSEWHERE, TOO_LONG, asks_home, asks_session, asks_tables, installs_of, why_none
from denizen.core.home import Home, homes_of
from denizen.core.profile_documents import Described, Operation, with_profiles
from denizen.core.routing import QueryNames, Router
from denizen.settings import Settings

_SOCKET: Final = "WEBSOCKET"
"""What stands in the place of the method of a route for WebSockets."""
_PREFIX: Final = "_denizen_prefix"
"""The attribute of what was included that says where."""

_DESCRIBES: Final = "_denizen_describes_profiles"
"""The attribute of an application's `openapi` that says that it is ours."""

_TAKEN: Final = "denizen.room"
"""The key in an ASGI scope under which stands the room that takes a request, between its match and its handling."""


def include(app: FastAPI, routers: Sequence[Router], *, prefix: str) -> None:
    """Put the routes of all rooms into an application as one route of its, which passes by whatever begins otherwise.

    A host's routes often stand behind ours. FastAPI would try each of ours for each request of theirs, which took three
    times as long as their answer (ADR 0034).
    """
    whole = Router()
    for router in routers:
        whole.include_router(router)
    app.include_router(whole, prefix=prefix)
    included: Any = app.router.routes[-1]
    rooms = [
        (_heads(prefix, router.routes), room)
        for router, room in zip(routers, included.effective_candidates(), strict=True)
    ]
    heads = tuple(head for of_room, _ in rooms for head in of_room)

    def matches(scope: Scope) -> tuple[Match, Scope]:
        path: str = get_route_path(scope) if scope.get("root_path") else scope["path"]
        partial: Any = None
        if path.startswith(heads):
            for of_room, room in rooms:
                if path.startswith(of_room):
                    match, _ = room.matches(scope)
                    if match is Match.FULL:
                        return match, {_TAKEN: room}
                    if match is Match.PARTIAL and partial is None:
                        partial = room
        return (Match.NONE, {}) if partial is None else (Match.PARTIAL, {_TAKEN: partial})

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        await scope.pop(_TAKEN).handle(scope, receive, send)

    included.matches, included.handle = matches, handle
    setattr(included, _PREFIX, prefix)


def _heads(prefix: str, routes: Sequence[Any]) -> tuple[str, ...]:
    """Give what the paths of routes begin with, up to their first parameter; none that begins with another."""
    heads = sorted({(prefix + getattr(route, "path", "{")).partition("{")[0] for route in routes})
    return tuple(head for number, head in enumerate(heads) if not head.startswith(tuple(heads[:number])))


def check_arguments(app: object, prefix: object, settings: object) -> None:
    """Refuse what cannot be installed in, under, or with.

    Raises:
        TypeError: no `FastAPI`, no text, no `Settings`.
        ValueError: a prefix that begins with no slash.
    """
    if not isinstance(app, FastAPI):
        raise TypeError(
            f"Denizen is installed in a FastAPI application, and this is of {type(app).__qualname__}. A router has no "
            "lifespan and no error handlers: install in the application, with `prefix`."
        )
    if not isinstance(prefix, str):
        raise TypeError(f"A prefix is text, such as '/accounts', and not {prefix!r}.")
    if prefix and not prefix.startswith("/"):
        raise ValueError(f"A prefix begins with a slash: {'/' + prefix!r}, not {prefix!r}")
    if settings is not None and not isinstance(settings, Settings):
        raise TypeError(
            f"Settings are a denizen.Settings, and this is of {type(settings).__qualname__}: "
            "`Settings(database_url=...)`, or leave them out for those of the environment."
        )


def check_databases(installs: Sequence[Accounts]) -> None:
    """Refuse two installs on one database: each would take the other's callers for its own, and mail everybody twice.

    Raises:
        ValueError: it is two, under different prefixes.
    """
    seen: dict[object, Accounts] = {}
    for each in installs:
        other = seen.setdefault(_place(each.database.url), each)
        if other.prefix != each.prefix:  # of one prefix the second is refused for that
            raise ValueError(
                f"Denizen is installed under {other.prefix or '/'!r} and under {each.prefix or '/'!r} on one database "
                f"({each.database.describe()}). Two installs want two databases: give each its own `database_url`, or "
                "install once; routes of your own under any path use the one install."
            )


def _place(url: URL) -> object:
    """Give what tells one database from another; who signs in to it does not."""
    if url.get_backend_name() == "sqlite":
        return Path(url.database or "").absolute()
    query = {name: url.query[name] for name in ("host", "port", "service") if name in url.query}
    return (url.host, url.port or 5432, url.database or url.username, tuple(sorted(query.items())))


def check_routes(app: FastAPI) -> None:
    """Refuse routes of the host that ask for an install which nobody could tell, as far down as applications are
    mounted in it, and two installs on one database in all of them.

    Raises:
        LookupError: with the routes, and what to write instead.
        ValueError: as `check_databases`.
    """
    trees = list(_applications(app, ""))
    found = [line for each, path in trees for line in _unclear(each, path)]
    if found:
        raise LookupError("These routes ask for something of Denizen that nobody can give them.\n" + "\n".join(found))
    check_databases([install for each, _ in trees for install in installs_of(each)])


def _applications(app: FastAPI, path: str) -> Iterator[tuple[FastAPI, str]]:
    """Give an application and those mounted in it, each with where it is; others than FastAPI's keep to themselves."""
    yield app, path
    for route in app.routes:
        if isinstance(route, Mount) and isinstance(route.app, FastAPI):
            yield from _applications(route.app, path + route.path)


def _unclear(app: FastAPI, path: str) -> Iterator[str]:
    homes, told = homes_of(app), dict[str, str]()
    for where, call in asked_by(app, path):
        lives_on = TOO_LONG if asks_session(call) and where.startswith(_SOCKET) else None
        why = _why_unclear(call, homes) or lives_on
        if why is not None:
            told.setdefault(where, why)
    yield from (f"{where}: {why}" for where, why in told.items())


def asked_by(app: FastAPI, path: str = "") -> Iterator[tuple[str, Any]]:
    """Give what the host's own routes call before they run: each with the name of its route."""
    for route in app.routes:
        if isinstance(getattr(route, "original_router", None), Router):
            continue  # ours, which know their install
        for context in iter_route_contexts([route]):
            dependant: Dependant | None = getattr(context, "dependant", None)
            if dependant is not None:
                yield from ((f"{_methods(context)} {path}{context.path}", call) for call in _calls(dependant, app))


def _calls(dependant: Dependant, app: FastAPI) -> Iterator[Any]:
    """Give whatever is called before a route, but for what a test has put something else in the place of."""
    for each in dependant.dependencies:
        if each.call not in app.dependency_overrides:
            yield each.call
            yield from _calls(each, app)


def _why_unclear(call: Any, homes: Sequence[Home]) -> str | None:
    if not asks_home(call):
        return None
    which = call.which
    if which is not None and not isinstance(which, str):
        return None
    found = homes if which is None else [each for each in homes if each.prefix == which]
    if len(found) != 1:
        return why_none(homes, which)
    return ELSEWHERE if asks_tables(call) and not isinstance(found[0], Accounts) else None


def _methods(context: Any) -> str:
    methods = getattr(context, "methods", None)
    return "|".join(sorted(methods)) if methods else _SOCKET


# --- What is told of own fields ------------------------------------------------------------------------


def describe_profiles(app: FastAPI) -> None:
    """Let the document of an application say what own fields accounts have, where an install has some.

    A host may put a function of its own in the place of `app.openapi`, before or after; so this is done again at the
    start, around whatever is there then.
    """
    inner: Any = app.openapi
    if getattr(inner, _DESCRIBES, False) or all(each.profile is None for each in installs_of(app)):
        return
    kept: list[Any] = []

    def openapi() -> dict[str, Any]:
        plain, installs = inner(), len(installs_of(app))
        if not kept or kept[0] is not plain or kept[1] != installs:
            kept[:] = plain, installs, with_profiles(plain, list(_described(app)))
        described: dict[str, Any] = kept[2]
        return described

    setattr(openapi, _DESCRIBES, True)
    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way to extend the document


def _described(app: FastAPI) -> Iterator[Described]:
    places = {getattr(route, _PREFIX): route for route in app.routes if hasattr(route, _PREFIX)}
    for install in installs_of(app):
        operations, lists = set[Operation](), set[Operation]()
        for context in iter_route_contexts([places[install.prefix]]) if install.prefix in places else ():
            dependant: Dependant | None = getattr(context, "dependant", None)
            for verb in getattr(context, "methods", None) or ():
                operation = str(context.path), str(verb).lower()
                operations.add(operation)
                if dependant is not None and QueryNames.of(dependant).own_fields:
                    lists.add(operation)
        word = re.sub(r"\W+", "_", install.prefix).strip("_")
        suffix = f"_{word}" if word else ""
        yield Described(install.profile, suffix, frozenset(operations), frozenset(lists))
