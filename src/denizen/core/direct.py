"""The direct way to an endpoint: its parameters found without FastAPI's solving of dependencies.

For a request that reads one row, solving is half of the work: it walks the tree of dependencies, keeps a cache and two
stacks, and reads four kinds of parameters, whether there are any or not. Most endpoints that only read need none of
that: they ask for the caller, the hot path and an id. What they need is known when the route is made, so it is found
out then (ADR 0013).

An endpoint is reached directly if it is a coroutine that gives a `Response` and asks only for

- dependencies that are coroutines over the request alone (`Here`, `Reads`, `Now`, `CurrentCaller`, `requires(...)`),
- parameters of the path,
- at most one model of query parameters, without aliases,
- the request.

Every other goes FastAPI's way, and so do all while `app.dependency_overrides` has an entry. The signature stays the
only description, for OpenAPI too; a test sends both ways the same requests and compares the answers byte by byte.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Self, get_type_hints

from fastapi._compat import ModelField, field_annotation_is_sequence
from fastapi.dependencies.models import Dependant, _is_coroutine_callable
from pydantic import BaseModel
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from denizen.core.problems import invalid

Endpoint = Callable[[Request], Coroutine[Any, Any, Response]]
Dependency = Callable[[Request], Awaitable[Any]]


def direct(dependant: Dependant) -> Endpoint | None:
    """Give the direct way to the endpoint of `dependant`, or `None` where there is none.

    It raises what the dependencies and the endpoint raise, and `Invalid` for parameters that are not valid.
    """
    call = dependant.call
    if call is None or not _is_plain(dependant) or not inspect.iscoroutinefunction(call):
        return None
    returned = get_type_hints(call).get("return")
    if not (inspect.isclass(returned) and issubclass(returned, Response)):
        return None
    dependencies = [(each.name, each.call) for each in dependant.dependencies if _is_over_request_alone(each)]
    if len(dependencies) < len(dependant.dependencies) or len({id(each) for _, each in dependencies}) < len(
        dependencies
    ):
        return None
    query = _QueryModel.of(dependant.query_params)
    if query is None and dependant.query_params:
        return None
    return _way(call, dependencies, dependant.path_params, query, dependant.request_param_name)


def _way(
    call: Callable[..., Awaitable[Response]],
    dependencies: list[tuple[str | None, Any]],
    path: list[ModelField],
    query: _QueryModel | None,
    request_name: str | None,
) -> Endpoint:
    async def answer(request: Request) -> Response:
        values: dict[str, Any] = {}
        errors: list[Any] = []
        for name, dependency in dependencies:
            found = await dependency(request)
            if name is not None:
                values[name] = found
        for field in path:
            alias = field.alias
            values[field.name], wrong = field.validate(request.path_params[alias], values, loc=("path", alias))
            errors += wrong
        if query is not None:
            values[query.field.name], wrong = query.read(request.query_params)
            errors += wrong
        if errors:
            raise invalid(errors)
        if request_name is not None:
            values[request_name] = request
        return await call(**values)

    return answer


def _is_plain(dependant: Dependant) -> bool:
    """Whether it asks for nothing that only FastAPI knows how to give."""
    return not (
        dependant.header_params
        or dependant.cookie_params
        or dependant.body_params
        or dependant.http_connection_param_name
        or dependant.websocket_param_name
        or dependant.response_param_name
        or dependant.background_tasks_param_name
        or dependant.security_scopes_param_name
        or dependant.concurrency
    )


def _is_over_request_alone(dependency: Dependant) -> bool:
    return (
        _is_plain(dependency)
        and not (dependency.dependencies or dependency.path_params or dependency.query_params)
        and dependency.request_param_name is not None
        and _takes_it_by_place(dependency.call)
        and _is_coroutine_callable(dependency.call)
    )


def _takes_it_by_place(call: Any) -> bool:
    only = list(inspect.signature(call).parameters.values())
    return len(only) == 1 and only[0].kind in {only[0].POSITIONAL_ONLY, only[0].POSITIONAL_OR_KEYWORD}


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
