"""Which endpoints are reached directly, and that this changes nothing that anybody could see."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest
from fastapi import BackgroundTasks, Body, Depends, FastAPI, Header, Query, Request, Response
from fastapi.dependencies.utils import get_dependant
from httpx import ASGITransport, AsyncClient
from pydantic import BaseModel, Field

from denizen.core.direct import direct
from denizen.core.errors import Conflict
from denizen.core.problems import add_handlers
from denizen.core.routing import PLAIN, Router


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


SAME = {"x-request-id": "the-same-for-both"}
ENDED: list[str] = []


class Dull(Conflict):
    """What an endpoint raises."""

    code = "dull"
    title = "Dull"


async def opened(request: Request) -> AsyncIterator[str]:
    try:
        yield request.method
    except Dull:
        ENDED.append("undone")
        raise
    ENDED.append("done")


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


async def takes_a_body(
    filters: Filters, opened: Annotated[str, Depends(opened, scope="function")], request: Request
) -> Response:
    if filters.colour == "grey":
        raise Dull("There is no colour in it.")
    return Response(f"{opened} {filters.colour} {filters.tag} {ENDED}")


async def takes_half_a_body(filters: Annotated[Filters, Body(embed=True)]) -> Response:
    return Response()


async def takes_two_bodies(one: Filters, two: Filters) -> Response:
    return Response()


async def may_take_a_body(filters: Filters | None = None) -> Response:
    return Response()


async def takes_a_list(filters: list[Filters]) -> Response:
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


@pytest.mark.parametrize("endpoint", [empty, whole, takes_a_body])
def test_some_are_reached_directly(endpoint: Any) -> None:
    assert direct(get_dependant(path="/things/{thing_id}", call=endpoint)) is not None


@pytest.mark.parametrize(
    "endpoint",
    [
        gives_a_model,
        is_no_coroutine,
        takes_half_a_body,
        takes_two_bodies,
        may_take_a_body,
        takes_a_list,
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
    router.post("/things/")(takes_a_body)
    app = FastAPI()
    add_handlers(app, whole=True)
    app.include_router(router)
    return app


async def ask(app: FastAPI, path: str) -> str:
    async with AsyncClient(transport=ASGITransport(app), base_url="http://test") as client:
        return (await client.get(path, headers={"x-caller": "ada"})).text


async def test_every_parameter_arrives(app: FastAPI) -> None:
    assert await ask(app, "/things/7?colour=red&tag=a&tag=b") == "ada GET 7 red ['a', 'b'] GET"
    assert await ask(app, "/things/7") == "ada GET 7 None [] GET"


BODIES = [
    b'{"colour": "red", "tag": ["a"]}',
    b"{}",
    b"",
    b"null",
    b"[]",
    b'"red"',
    b'{"colour": 7}',
    b'{"colour": "red", "tag": [1, 2]}',
    b'{"colour": "red", "colour": "blue"}',
    b'{"colour": "grey"}',
    b"{",
    b"\xff",
]


async def test_a_body_is_read_and_refused_as_fastapi_does(app: FastAPI) -> None:
    async def plain(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, PLAIN: True}, receive, send)

    statuses = []
    for body in BODIES:
        for kind in ("application/json", "application/json; charset=utf-8", "text/plain"):
            seen = []
            for way in (app, plain):
                ENDED.clear()
                async with AsyncClient(transport=ASGITransport(way), base_url="http://test") as client:
                    answer = await client.post("/things/", content=body, headers={"content-type": kind} | SAME)
                seen.append((answer.status_code, answer.headers.multi_items(), answer.content, [*ENDED]))
            assert seen[0] == seen[1], (body, kind)
            statuses.append(seen[0][0])
    assert set(statuses) == {200, 400, 409, 415, 422}


async def test_what_is_opened_ends_before_the_answer_is_sent(app: FastAPI) -> None:
    async with AsyncClient(transport=ASGITransport(app), base_url="http://test") as client:
        ENDED.clear()
        assert (await client.post("/things/", json={"colour": "red"})).text == "POST red [] []"
        assert ENDED == ["done"]
        assert (await client.post("/things/", json={"colour": "grey"})).status_code == 409
        assert ENDED == ["done", "undone"]


async def test_a_host_can_override_a_dependency_in_its_tests(app: FastAPI) -> None:
    async def somebody_else() -> str:
        return "grace"

    app.dependency_overrides[caller] = somebody_else
    assert (await ask(app, "/things/7")).startswith("grace ")
    app.dependency_overrides.clear()
    assert (await ask(app, "/things/7")).startswith("ada ")
