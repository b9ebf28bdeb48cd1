"""Which endpoints are reached directly, and that this changes nothing that anybody could see."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, Header, Query, Request, Response
from fastapi.dependencies.utils import get_dependant
from httpx import ASGITransport, AsyncClient
from pydantic import BaseModel, Field

from denizen.core.direct import direct
from denizen.core.routing import Router


class Filters(BaseModel):
    colour: str | None = None
    tag: list[str] = []


class Aliased(BaseModel):
    colour: Annotated[str | None, Field(alias="color")] = None


async def caller(request: Request) -> str:
    return request.headers.get("x-caller", "nobody")


async def named_otherwise(who: Request) -> str:
    return who.method


async def by_keyword(*, request: Request) -> str:
    return request.method


async def of_a_caller(known: Annotated[str, Depends(caller)]) -> str:
    return known


async def opened(request: Request) -> AsyncIterator[str]:
    yield request.method


def in_a_thread(request: Request) -> str:
    return request.method


async def empty() -> Response:
    return Response()


async def whole(
    request: Request,
    who: Annotated[str, Depends(caller)],
    how: Annotated[str, Depends(named_otherwise)],
    thing_id: int,
    filters: Annotated[Filters, Query()],
) -> Response:
    return Response(f"{who} {how} {thing_id} {filters.colour} {filters.tag} {request.method}")


async def gives_a_model(thing_id: int) -> Filters:
    return Filters()


def is_no_coroutine(thing_id: int) -> Response:
    return Response()


async def takes_a_body(filters: Filters) -> Response:
    return Response()


async def takes_a_header(mark: Annotated[str, Header()]) -> Response:
    return Response()


async def takes_one_query(limit: int = 1) -> Response:
    return Response()


async def takes_aliases(filters: Annotated[Aliased, Query()]) -> Response:
    return Response()


async def takes_tasks(tasks: BackgroundTasks) -> Response:
    return Response()


async def takes_the_response(response: Response) -> Response:
    return Response()


async def depends_by_keyword(how: Annotated[str, Depends(by_keyword)]) -> Response:
    return Response()


async def depends_deeply(who: Annotated[str, Depends(of_a_caller)]) -> Response:
    return Response()


async def depends_on_an_opened(how: Annotated[str, Depends(opened)]) -> Response:
    return Response()


async def depends_on_a_thread(how: Annotated[str, Depends(in_a_thread)]) -> Response:
    return Response()


async def depends_twice(one: Annotated[str, Depends(caller)], two: Annotated[str, Depends(caller)]) -> Response:
    return Response()


@pytest.mark.parametrize("endpoint", [empty, whole])
def test_some_are_reached_directly(endpoint: Any) -> None:
    assert direct(get_dependant(path="/things/{thing_id}", call=endpoint)) is not None


@pytest.mark.parametrize(
    "endpoint",
    [
        gives_a_model,
        is_no_coroutine,
        takes_a_body,
        takes_a_header,
        takes_one_query,
        takes_aliases,
        takes_tasks,
        takes_the_response,
        depends_by_keyword,
        depends_deeply,
        depends_on_an_opened,
        depends_on_a_thread,
        depends_twice,
    ],
)
def test_others_are_left_to_fastapi(endpoint: Any) -> None:
    assert direct(get_dependant(path="/things/{thing_id}", call=endpoint)) is None


@pytest.fixture
def app() -> FastAPI:
    router = Router()
    router.get("/things/{thing_id}")(whole)
    app = FastAPI()
    app.include_router(router)
    return app


async def ask(app: FastAPI, path: str) -> str:
    async with AsyncClient(transport=ASGITransport(app), base_url="http://test") as client:
        return (await client.get(path, headers={"x-caller": "ada"})).text


async def test_every_parameter_arrives(app: FastAPI) -> None:
    assert await ask(app, "/things/7?colour=red&tag=a&tag=b") == "ada GET 7 red ['a', 'b'] GET"
    assert await ask(app, "/things/7") == "ada GET 7 None [] GET"


async def test_a_host_can_override_a_dependency_in_its_tests(app: FastAPI) -> None:
    async def somebody_else() -> str:
        return "grace"

    app.dependency_overrides[caller] = somebody_else
    assert (await ask(app, "/things/7")).startswith("grace ")
    app.dependency_overrides.clear()
    assert (await ask(app, "/things/7")).startswith("ada ")
