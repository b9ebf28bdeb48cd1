"""The router and the route class of every room: what reaches an endpoint has been checked here.

Bodies are bounded and strict JSON in UTF-8, query parameters are known ones and not repeated, and what is wrong
becomes one of our errors without the input. All of it belongs to the route, so that it holds inside a host's
application as well.
"""

import difflib
import re
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, aclosing
from copy import copy
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final, Self, TypeVar

from fastapi import APIRouter
from fastapi._compat import field_annotation_is_sequence
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import _get_flat_fields_from_params, _get_param_aliases
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute, _effective_route_context_var
from fastapi.utils import create_model_field
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from denizen.core.bodies import BoundedRequest, check_json_type, is_form
from denizen.core.direct import direct
from denizen.core.errors import (
    DenizenError,
    Invalid,
    Malformed,
    RepeatedParameter,
    TooLarge,
    UnknownParameter,
    UnsupportedMedia,
)
from denizen.core.home import homes_of
from denizen.core.origin import enter_request, leave
from denizen.core.problems import DenizenProblem, invalid, is_name, responses

ACCOUNTS: Final = "denizen.accounts"
"""The key in an ASGI scope under which our own routes find their install; see `Router.bound`."""

MAX_BODY_SIZE: Final = "denizen.max_body_size"
"""The key in an ASGI scope under which an install's limit stands, in bytes; see `Router.bound`."""

PLAIN: Final = "denizen.plain"
"""A key in an ASGI scope under which anything makes a request go FastAPI's way; see `core.direct`."""

_FIRST_WORD: Final = re.compile(r"/[\w.-]+(?=/|$)")
_HEAD: Final = "denizen.head"
"""A key in an ASGI scope that says that only the head of the answer will be sent, whatever is said of the method."""

DEFAULT_MAX_BODY_SIZE: Final = 1024 * 1024

Handler = Callable[[Request], Coroutine[Any, Any, Response]]
Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


# ---------------------------------------------------------------------------------------------------- query parameters


@dataclass(frozen=True, slots=True)
class QueryNames:
    """The query parameters of a route.

    Attributes:
        single: those with one value.
        repeatable: those that may be given more than once.
        own_fields: whether there is one more for each own field that accounts of an install are found by.
    """

    single: frozenset[str]
    repeatable: frozenset[str] = frozenset()
    own_fields: bool = False

    @classmethod
    def of(cls, dependant: Dependant) -> Self:
        """Collect what an endpoint and its dependencies declare."""
        single, repeatable, waiting, own_fields = set[str](), set[str](), [dependant], False
        while waiting:
            current = waiting.pop()
            waiting.extend(current.dependencies)
            own_fields |= any(
                getattr(each.field_info.annotation, "takes_own_fields", False) for each in current.query_params
            )
            for field in _get_flat_fields_from_params(current.query_params):
                names = {name for _, name in _get_param_aliases(field)}
                many = field_annotation_is_sequence(field.field_info.annotation)
                (repeatable if many else single).update(names)
        return cls(frozenset(single), frozenset(repeatable), own_fields)

    def of_install(self, scope: Scope) -> Self:
        """Give these and those that the install of a request adds."""
        profile = getattr(scope.get(ACCOUNTS), "profile", None) if self.own_fields else None
        return self if profile is None else replace(self, single=self.single | profile.filters)

    def check(self, sent: QueryParams) -> None:
        """Refuse parameters that are not declared, and single ones that are repeated.

        Raises:
            UnknownParameter: with the name, where it looks like one, and never the value.
            RepeatedParameter: two values, of which one would be ignored silently.
        """
        seen = set[str]()
        for name, _ in sent.multi_items():
            if name in self.repeatable:
                continue
            if name not in self.single:
                raise self._unknown(name)
            if name in seen:
                raise RepeatedParameter(f"The query parameter {name} may be given once.", field=name)
            seen.add(name)

    def _unknown(self, name: str) -> UnknownParameter:
        if not is_name(name):
            return UnknownParameter("There is a query parameter that is not known here.")
        close = difflib.get_close_matches(name, self.single | self.repeatable, n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        return UnknownParameter(f"The query parameter {name} is not known here.{hint}", field=name)


_ANY_QUERY: Final = "_denizen_any_query"
_QUERY: Final = "_denizen_query"
_FORMS: Final = "_denizen_forms"


def any_query(endpoint: Endpoint) -> Endpoint:
    """Let an endpoint take query parameters that it does not declare."""
    setattr(endpoint, _ANY_QUERY, True)
    return endpoint


def with_query(*single: str, repeatable: tuple[str, ...] = ()) -> Callable[[Endpoint], Endpoint]:
    """Name the query parameters of an endpoint that reads them from the `Request` by hand, beside the declared ones."""

    def mark(endpoint: Endpoint) -> Endpoint:
        setattr(endpoint, _QUERY, QueryNames(frozenset(single), frozenset(repeatable)))
        return endpoint

    return mark


def with_forms(endpoint: Endpoint) -> Endpoint:
    """Let an endpoint take the form of a page as well as JSON: an object whose values are strings."""
    setattr(endpoint, _FORMS, True)
    return endpoint


async def _read(request: BoundedRequest, *, forms: bool) -> None:
    if forms and is_form(request.headers):
        await request.take_form()
    else:
        check_json_type(request.headers)
        await request.json()


def _names_of(endpoint: Callable[..., Any], dependant: Dependant) -> QueryNames | None:
    if getattr(endpoint, _ANY_QUERY, False):
        return None
    declared = QueryNames.of(dependant)
    by_hand: QueryNames | None = getattr(endpoint, _QUERY, None)
    if by_hand is None:
        return declared
    single, repeatable = declared.single | by_hand.single, declared.repeatable | by_hand.repeatable
    return replace(declared, single=single, repeatable=repeatable)


# -------------------------------------------------------------------------------------------------------------- routes


class Route(APIRoute):
    """One path and method.

    Args:
        max_body_size: bytes; in place of the install's limit.
    """

    def __init__(
        self, path: str, endpoint: Callable[..., Any], *, max_body_size: int | None = None, **options: Any
    ) -> None:
        # Starlette's limiter would answer in a form of its own; this limit is ours alone.
        self._own_limit = max_body_size
        super().__init__(path, endpoint, **options)

    def get_route_handler(self) -> Handler:
        """Wrap FastAPI's handler; called once here and once for every inclusion of the router."""
        # FastAPI hands the included route over in this variable and nowhere else; `super()` reads it too.
        included = _effective_route_context_var.get()
        route: Any = included if included is not None and included.original_route is self else self
        _document_errors(route)
        handle = super().get_route_handler()
        names = _names_of(self.endpoint, route.dependant)
        body = route.body_field
        is_json = body is not None and getattr(body.field_info, "media_type", "") == "application/json"
        own_limit = self._own_limit
        forms = getattr(self.endpoint, _FORMS, False)
        straight = direct(route.dependant)
        overridable = route.dependency_overrides_provider

        route.dependant = _described(route, self.path)  # for OpenAPI alone: what answers has the plain one

        async def answer(plain: Request) -> Response:
            scope = plain.scope
            limit = own_limit if own_limit is not None else scope.get(MAX_BODY_SIZE, DEFAULT_MAX_BODY_SIZE)
            request = BoundedRequest(scope, plain.receive, plain._send, limit=limit)  # noqa: SLF001  (no other way)
            if names is not None and scope["query_string"]:
                names.of_install(scope).check(request.query_params)
            if body is not None and await request.body() and is_json:
                await _read(request, forms=forms)
            try:
                if straight is None or PLAIN in scope or getattr(overridable, "dependency_overrides", None):
                    response = await handle(request)
                else:
                    response = await straight(request)
            except RequestValidationError as error:
                raise invalid(error.errors()) from None
            except DenizenError as error:
                if (accounts := scope.get(ACCOUNTS)) is not None:
                    await _undo(scope, error)
                    await accounts.refused(error)
                raise
            response.headers.setdefault("cache-control", "no-store")
            return response

        return answer


async def _undo(scope: Scope, error: DenizenError) -> None:
    """End what the request holds, its transaction above all, as if the error had left the route already.

    FastAPI does that after us. Whoever hears of a refusal writes in a transaction of his own, which would wait for this
    one: on SQLite until its deadline, on PostgreSQL for a connection.
    """
    stack: AsyncExitStack | None = scope.get("fastapi_function_astack")
    if stack is not None:
        await stack.__aexit__(type(error), error, error.__traceback__)


def _document_errors(route: Any) -> None:
    """Document what any route may refuse, and bring the schema that the references mean into the document."""
    for status, answer in _refusals(route.body_field is not None).items():
        route.responses.setdefault(status, dict(answer))
    route.response_fields.setdefault("problem", _problem_field())


@lru_cache
def _refusals(with_body: bool) -> dict[int | str, dict[str, Any]]:
    return responses(*([Invalid, Malformed, TooLarge, UnsupportedMedia] if with_body else [Invalid]))


@lru_cache
def _problem_field() -> Any:
    return create_model_field(name="Problem", type_=DenizenProblem, mode="serialization")


def _described(route: Any, path: str) -> Dependant:
    """Give what a route depends on, and beside each scheme of credentials the other ones that do as well.

    FastAPI documents a scheme for each dependency. A second dependency would be solved for every request, only to be
    shown in `/docs`; so it stands in a copy that nobody solves.
    """
    prefix = route.path.removesuffix(path)
    plain: Dependant = route.dependant
    # FastAPI knows the path of a proxy or of a mount only when it is asked, and puts it into `servers` alone.
    reached = _reached_at(route.dependency_overrides_provider, prefix)
    schemes = [beside(prefix, reached) for each in plain.dependencies if (beside := getattr(each.call, "beside", None))]
    besides = [Dependant(call=scheme) for scheme in schemes]
    return replace(plain, dependencies=[*plain.dependencies, *besides]) if besides else plain


def _reached_at(app: Any, prefix: str) -> str:
    """Give the path of the address at which people reach `app`, as its install knows it."""
    homes = homes_of(app) if app is not None else []
    path: str = next((getattr(home, "base_path", "") for home in homes if home.prefix == prefix), "")
    return path


class Router(APIRouter):
    """The router of a room.

    A path that ends in a slash also answers without it: a redirect costs a round trip, and some clients drop the body
    or the Authorization header on it. The second form stays out of OpenAPI.

    Whatever answers GET answers HEAD, without the body (RFC 9110 section 9.3.2): the same route runs, which sees a GET.
    A route of its own for HEAD would be one more to walk past for every request.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"route_class": Route, "redirect_slashes": False, **options})
        self._given: Mapping[str, object] = {}
        self._words: tuple[int, tuple[str, ...]] = 0, ()

    def bound(self, given: Mapping[str, object]) -> Self:
        """Give the same routes for one install: what `given` says stands in the ASGI scope of each request.

        Two installs in one process, or in one application, include two bound routers and never meet.
        `{MAX_BODY_SIZE: 65536}` sets the limit of bodies.
        """
        twin = copy(self)
        twin._given = {**self._given, **given}  # noqa: SLF001  (one of us)
        twin.middleware_stack = twin.app
        return twin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request as an application of its own."""
        await self._answer(super().__call__, scope, receive, send)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Tell whether a route takes the request.

        An application asks one room after the other, and each of its routes. So a path that has none of the words that
        the room's paths begin with is told first.
        """
        words, path = self._first_words(), scope["path"]
        if words and not any(word in path for word in words):
            return Match.NONE, {}
        return super().matches({**scope, "method": "GET"} if scope.get("method") == "HEAD" else scope)

    def _first_words(self) -> tuple[str, ...]:
        """Give one of `/users`, `/keys` ... for each of its routes; nothing where one of them begins otherwise."""
        count, words = self._words
        if count != len(self.routes):
            found = {_FIRST_WORD.match(getattr(route, "path", "")) for route in self.routes}
            words = () if None in found else tuple(sorted({each[0] for each in found if each is not None}))
            self._words = len(self.routes), words
        return words

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that an application matched."""
        await self._answer(super().handle, scope, receive, send)

    async def _answer(self, answer: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        scope.update(self._given)
        origin = enter_request(scope)
        try:
            if scope.get("method") == "HEAD":
                await _answer_head(answer, scope, receive, send)
            else:
                await answer(scope, receive, send)
        finally:
            leave(origin)

    def add_api_route(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        """Add a route, and its form without the slash."""
        super().add_api_route(path, endpoint, **options)
        if path.endswith("/") and len(self.prefix + path) > 1:
            super().add_api_route(path[:-1], endpoint, **{**options, "include_in_schema": False})


async def _answer_head(answer: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer HEAD as GET is answered, headers and all, and drop the body here: not every server does.

    The scope is copied, not changed: the server looks into its own for the method when the answer comes.
    """
    as_get = {**scope, "method": "GET", _HEAD: True}

    async def send_head(message: Message) -> None:
        await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

    try:
        await answer(as_get, receive, send_head)
    finally:
        scope.update(as_get, method="HEAD")  # middleware reads which route it was


class Stream(StreamingResponse):
    """An answer in pieces, each made when the one before has been taken; made by `of`.

    What is raised between two pieces is let through, so that the server breaks the connection off: a file that is torn
    must not end as a whole one does. The pieces are closed whenever the answer ends, and for HEAD at once.
    """

    _pieces: AsyncGenerator[bytes]

    @classmethod
    async def of(cls, pieces: AsyncGenerator[bytes], *, headers: Mapping[str, str]) -> Self:
        """Wait for the first piece, so that what is raised until then is answered as any error is."""
        first = await anext(pieces, b"")
        answer = cls(_led_by(first, pieces), headers=headers)
        answer._pieces = pieces
        return answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        async with aclosing(self._pieces):
            if _HEAD in scope:
                self.body_iterator = _led_by(b"", None)
            await super().__call__(scope, receive, send)


async def _led_by(first: bytes, others: AsyncGenerator[bytes] | None) -> AsyncGenerator[bytes]:
    yield first
    if others is not None:
        async for piece in others:
            yield piece
