"""What each test would make anew and is the same every time, made once for all of them.

Each test has an application of its own on a database of its own. What FastAPI finds out about our routes and what
SQLAlchemy compiles of our statements does not depend on either, and takes half of the time of all tests.
"""

from __future__ import annotations

import weakref
from collections import defaultdict
from dataclasses import replace
from typing import Any

import fastapi.routing
from fastapi import FastAPI
from fastapi.routing import APIRoute, _EffectiveRouteContext
from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.util import LRUCache

from denizen.core.routing import Route

SHARING: weakref.WeakSet[FastAPI] = weakref.WeakSet()
"""Applications that `create_app` made, which include our routes under no prefix or their own and override nothing."""


def share_what_is_made_once() -> None:
    """Keep it from now on, in this process."""
    _share_dependants()
    _share_routes()
    _share_statements()


def _share_dependants() -> None:
    """Let FastAPI find out once what an endpoint of ours asks for."""
    look = fastapi.routing._build_dependant_with_parameterless_dependencies
    seen: dict[tuple[str, Any], Any] = {}

    def look_once(*, path: str, call: Any, dependencies: Any) -> Any:
        if dependencies or not call.__module__.startswith("denizen."):
            return look(path=path, call=call, dependencies=dependencies)
        if (path, call) not in seen:
            seen[path, call] = look(path=path, call=call, dependencies=dependencies)
        return seen[path, call]

    fastapi.routing._build_dependant_with_parameterless_dependencies = look_once


def _share_routes() -> None:
    """Let FastAPI make a route of ours ready once for each prefix, however many applications include it."""
    make = _EffectiveRouteContext.from_api_route.__func__  # type: ignore[attr-defined]  # of the class method
    made: dict[tuple[int, str], Any] = {}  # by identity, and each holds its route: routes have no hash

    def make_once(cls: Any, *, original_route: APIRoute, include_context: Any) -> Any:
        app = include_context.dependency_overrides_provider
        if app not in SHARING or not isinstance(original_route, Route):
            return make(cls, original_route=original_route, include_context=include_context)
        key = (id(original_route), include_context.prefix)
        if key not in made:
            of_none = replace(include_context, dependency_overrides_provider=None)
            made[key] = make(cls, original_route=original_route, include_context=of_none)
        return made[key]

    _EffectiveRouteContext.from_api_route = classmethod(make_once)  # type: ignore[assignment]  # the same, kept


def _share_statements() -> None:
    """Let SQLAlchemy compile a statement once for each database, however many engines run it."""
    caches: defaultdict[type, LRUCache[Any, Any]] = defaultdict(lambda: LRUCache(2_000))

    @event.listens_for(Engine, "engine_connect")
    def use_that_of_all(connection: Connection) -> None:
        connection.engine._compiled_cache = caches[type(connection.dialect)]

    # Dialects are part of the cache's keys; those of one class are set up alike here.
    DefaultDialect.__eq__ = lambda self, other: type(self) is type(other)  # type: ignore[method-assign]  # see above
    DefaultDialect.__hash__ = lambda self: hash(type(self))  # type: ignore[method-assign]  # see above
