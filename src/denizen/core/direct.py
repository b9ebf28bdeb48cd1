"""The direct way to an endpoint: its parameters found without FastAPI's solving of dependencies.

For a request that reads one row, solving is half of the work: it walks the tree of dependencies, keeps a cache and two
stacks, and reads four kinds of parameters, whether there are any or not. Most endpoints need none of that: they ask for
the caller, the hot path and an id. What they need is known when the route is made, so it is found out then (ADR 0013).

An endpoint is reached directly if it is a coroutine that gives a `Response` and asks only for

- dependencies that are coroutines over the request alone (`Here`, `Reads`, `Now`, `CurrentCaller`, `requires(...)`),
- or generators over it that end before the answer is sent (`Db`),
- parameters of the path,
- at most one model of query parameters, without aliases,
- at most one model that the body has to be, in JSON,
- the request.

Every other goes FastAPI's way, and so do all while `app.dependency_overrides` has an entry. The signature stays the
only description, for OpenAPI too; a test sends both ways the same requests and compares the answers byte by byte.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self, get_type_hints

from fastapi._compat import ModelField, field_annotation_is_sequence, get_missing_field_error
from fastapi.dependencies.models import Dependant, _is_async_gen_callable, _is_coroutine_callable
from fastapi.params import Body
from pydantic import BaseModel
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from denizen.core.problems import invalid

Endpoint = Callable[[Request], Coroutine[Any, Any, Response]]


def direct(dependant: Dependant) -> Endpoint | None:
    """Give the direct way to the endpoint of `dependant`, or `None` where there is none.

    It raises what the dependencies and the endpoint raise, and `Invalid` for parameters that are not valid.
    """
    call = dependant.call
    if (
        call is None
        or not _is_plain(dependant)
        or dependant.http_connection_param_name
        or not inspect.iscoroutinefunction(call)
    ):
        return None
    returned = get_type_hints(call).get("return")
    if not (inspect.isclass(returned) and issubclass(returned, Response)):
        return None
    dependencies = [_Dependency.of(each) for each in dependant.dependencies if _is_over_request_alone(each)]
    if len(dependencies) < len(dependant.dependencies) or len({id(each.call) for each in dependant.dependencies}) < len(
        dependencies
    ):
        return None
    query, body = _QueryModel.of(dependant.query_params), _body_of(dependant.body_params)
    if (query is None and dependant.query_params) or (body is None and dependant.body_params):
        return None
    return _way(call, dependencies, dependant, query=query, body=body)


def _way(
    call: Callable[..., Awaitable[Response]],
    dependencies: list[_Dependency],
    dependant: Dependant,
    *,
    query: _QueryModel | None,
    body: ModelField | None,
) -> Endpoint:
    path, request_name = dependant.path_params, dependant.request_param_name

    async def answer(request: Request, opened: AsyncExitStack | None = None) -> Response:
        values: dict[str, Any] = {}
        errors: list[Any] = []
        for dependency in dependencies:
            found = await dependency.solve(request, opened)
            if dependency.name is not None:
                values[dependency.name] = found
        for field in path:
            alias = field.alias
            values[field.name], wrong = field.validate(request.path_params[alias], values, loc=("path", alias))
            errors += wrong
        if query is not None:
            values[query.field.name], wrong = query.read(request.query_params)
            errors += wrong
        if body is not None:
            values[body.name], wrong = await _read_body(body, request)
            errors += wrong
        if errors:
            raise invalid(errors)
        if request_name is not None:
            values[request_name] = request
        return await call(**values)

    async def answer_and_close(request: Request) -> Response:
        async with AsyncExitStack() as opened:
            return await answer(request, opened)

    return answer_and_close if any(each.opens for each in dependencies) else answer


def _is_plain(dependant: Dependant) -> bool:
    """Whether it asks for nothing that only FastAPI knows how to give."""
    return not (
        dependant.header_params
        or dependant.cookie_params
        or dependant.websocket_param_name
        or dependant.response_param_name
        or dependant.background_tasks_param_name
        or dependant.security_scopes_param_name
        or dependant.concurrency
    )


def _is_over_request_alone(dependency: Dependant) -> bool:
    return (
        _is_plain(dependency)
        and not (dependency.dependencies or dependency.path_params or dependency.query_params or dependency.body_params)
        and (dependency.request_param_name or dependency.http_connection_param_name) is not None
        and _takes_it_by_place(dependency.call)
        and (_is_coroutine_callable(dependency.call) or _is_opened(dependency))
    )


def _is_opened(dependency: Dependant) -> bool:
    return dependency.scope == "function" and _is_async_gen_callable(dependency.call)


def _takes_it_by_place(call: Any) -> bool:
    only = list(inspect.signature(call).parameters.values())
    return len(only) == 1 and only[0].kind in {only[0].POSITIONAL_ONLY, only[0].POSITIONAL_OR_KEYWORD}


@dataclass(frozen=True, slots=True)
class _Dependency:
    """Something asked for by a dependency over the request alone.

    Attributes:
        name: of the parameter; `None` for one that is only there to refuse.
        call: gives an awaitable of it, or a context in which it is there.
        opens: whether it is a context.
    """

    name: str | None
    call: Callable[[Request], Any]
    opens: bool

    @classmethod
    def of(cls, dependency: Dependant) -> Self:
        """Find out how it is got."""
        call: Any = dependency.call
        opens = _is_opened(dependency)
        return cls(dependency.name, asynccontextmanager(call) if opens else call, opens)

    async def solve(self, request: Request, opened: AsyncExitStack | None) -> Any:
        """Get it; a context ends with `opened`."""
        found = self.call(request)
        return await (opened.enter_async_context(found) if opened is not None and self.opens else found)


def _body_of(fields: list[ModelField]) -> ModelField | None:
    """Take the one there is, if it is a model that the whole body has to be, in JSON."""
    info: Any = fields[0].field_info if len(fields) == 1 else None
    if type(info) is not Body or info.embed or info.media_type != "application/json" or not info.is_required():
        return None
    return fields[0] if inspect.isclass(info.annotation) and issubclass(info.annotation, BaseModel) else None


async def _read_body(field: ModelField, request: Request) -> tuple[Any, list[Any]]:
    """Give the model, or what is wrong. That it is JSON and declared so, the route has seen."""
    if not await request.body():
        return None, [get_missing_field_error(("body",))]
    return field.validate(await request.json(), {}, loc=("body",))


@dataclass(frozen=True, slots=True)
class _QueryModel:
    """A model whose fields are query parameters.

    Attributes:
        field: of the endpoint.
        many: the names that may be given more than once.
    """

    field: ModelField
    many: frozenset[str]

    @classmethod
    def of(cls, fields: list[ModelField]) -> Self | None:
        """Take the one there is, if it can be read by its names."""
        model = fields[0].field_info.annotation if len(fields) == 1 else None
        if not (inspect.isclass(model) and issubclass(model, BaseModel)):
            return None
        if any(info.alias or info.validation_alias for info in model.model_fields.values()):
            return None
        many = (name for name, info in model.model_fields.items() if field_annotation_is_sequence(info.annotation))
        return cls(fields[0], frozenset(many))

    def read(self, sent: QueryParams) -> tuple[Any, list[dict[str, Any]]]:
        """Give the model, or what is wrong. That no other name is sent, and no single one twice, the route has seen."""
        values: dict[str, Any] = {name: sent.getlist(name) if name in self.many else sent[name] for name in sent}
        return self.field.validate(values, {}, loc=("query",))
