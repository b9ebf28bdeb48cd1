"""What the router does for every room: slashes, query parameters, installs, the OpenAPI document."""

from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, Query, Request
from fastapi.responses import StreamingResponse
from httpx import ASGITransport, AsyncClient
from pydantic import BaseModel
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from denizen.core.errors import Conflict, NotFound, TooMany, Unauthorized, Unavailable
from denizen.core.problems import add_handlers, responses
from denizen.core.routing import MAX_BODY_SIZE, Router, any_query, with_query


class Thing(BaseModel):
    name: str


class Filters(BaseModel):
    colour: str | None = None
    size__gte: int | None = None


async def paging(skip: int = 0, limit: int = 10) -> tuple[int, int]:
    return skip, limit


def things() -> Router:
    router = Router(prefix="/things", tags=["things"])

    @router.get("/")
    async def list_things(
        page: Annotated[tuple[int, int], Depends(paging)],
        filters: Annotated[Filters, Query()],
        ids: Annotated[list[str] | None, Query(alias="id__in")] = None,
    ) -> list[int]:
        return [*page, len(ids or [])]

    @router.post("/", status_code=201, responses=responses(Conflict, Unauthorized, TooMany, Unavailable))
    async def create_thing(thing: Thing) -> Thing:
        return thing

    @router.get("/stream")
    async def stream_things() -> StreamingResponse:
        return StreamingResponse(iter([b"one", b"two"]), headers={"content-length": "6"})

    @router.get("/broken")
    async def be_broken() -> None:
        raise RuntimeError("broken")

    @router.get("/mine", name="mine")
    async def read_mine(request: Request) -> str:
        return str(request.scope.get("owner"))

    @router.get("/anything")
    @any_query
    async def read_anything() -> str:
        return "ok"

    @router.get("/by-hand")
    @with_query("q", repeatable=("tag",))
    async def read_by_hand(request: Request, limit: int = 1) -> list[str]:
        return request.query_params.getlist("tag")

    @router.get("/{thing_id}")
    async def read_thing(thing_id: str) -> Thing:
        raise NotFound("No such thing")

    return router


def client_of(app: FastAPI) -> AsyncClient:
    return AsyncClient(transport=ASGITransport(app), base_url="http://test")


@pytest.fixture
def app() -> FastAPI:
    made = FastAPI(redirect_slashes=False)
    made.include_router(things().bound({"owner": "one"}))
    add_handlers(made, whole=True)
    return made


@pytest.mark.parametrize("path", ["/things", "/things/", "/things?limit=10", "/things/?limit=10"])
async def test_both_forms_of_a_collection_answer_directly(app: FastAPI, path: str) -> None:
    async with client_of(app) as client:
        assert (await client.get(path)).json() == [0, 10, 0]


async def test_one_form_is_documented(app: FastAPI) -> None:
    assert [path for path in app.openapi()["paths"] if path.rstrip("/") == "/things"] == ["/things/"]


async def test_405_names_every_method_of_the_address(app: FastAPI) -> None:
    async with client_of(app) as client:
        answer = await client.put("/things")

    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD, POST"
    assert answer.json()["code"] == "method_not_allowed"


async def test_head_is_answered_as_get_without_the_body(app: FastAPI) -> None:
    async with client_of(app) as client:
        for path in ("/things", "/things/?limit=3", "/things/mine", "/things/stream", "/things/7", "/things/?limt=3"):
            same = {"X-Request-Id": "0123456789abcdef"}
            got, head = await client.get(path, headers=same), await client.head(path, headers=same)

            assert (head.status_code, head.content) == (got.status_code, b""), path
            assert head.headers.multi_items() == got.headers.multi_items()
            assert int(head.headers["content-length"]) == len(got.content) > 0


async def test_head_is_taken_where_get_is_and_nowhere_else(app: FastAPI) -> None:
    posts = Router()

    @posts.post("/posts")
    async def create_post() -> None: ...

    app.include_router(posts)
    async with client_of(app) as client:
        refused = await client.head("/posts")
        assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
        assert (await client.head("/nothing")).status_code == 404
        assert (await client.post("/things/mine")).headers["allow"] == "GET, HEAD"


async def test_head_stays_out_of_the_document(app: FastAPI) -> None:
    methods = {method for operations in app.openapi()["paths"].values() for method in operations}

    assert methods == {"get", "post"}


async def test_head_reaches_the_right_one_of_nested_and_mounted_routers() -> None:
    host, outer = FastAPI(), Router()
    outer.include_router(things())
    host.mount("/mounted", outer.bound({"owner": "mounted"}))
    host.include_router(outer.bound({"owner": "included"}), prefix="/included")
    async with client_of(host) as client:
        for name in ("mounted", "included"):
            head = await client.head(f"/{name}/things/mine")
            assert (head.status_code, head.content) == (200, b"")
            assert head.headers["content-length"] == str(len(f'"{name}"'))


async def test_middleware_around_sees_the_method_and_the_route(app: FastAPI) -> None:
    seen: list[tuple[str, str]] = []

    class Watch:
        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            async def watched(message: Message) -> None:
                seen.append((scope["method"], message["type"]))
                await send(message)

            try:
                await self.app(scope, receive, watched)
            finally:
                seen.append((scope["method"], scope["route"].path))

    app.add_middleware(Watch)
    async with AsyncClient(transport=ASGITransport(app, raise_app_exceptions=False), base_url="http://test") as client:
        await client.head("/things/mine")
        assert (await client.head("/things/broken")).status_code == 500

    assert seen == [
        ("HEAD", "http.response.start"),
        ("HEAD", "http.response.body"),
        ("HEAD", "/things/mine"),
        ("HEAD", "/things/broken"),
    ]


async def test_declared_parameters_pass(app: FastAPI) -> None:
    async with client_of(app) as client:
        answer = await client.get("/things?skip=1&limit=2&colour=red&size__gte=3&id__in=a&id__in=b&id__in=a")

    assert answer.json() == [1, 2, 3]


@pytest.mark.parametrize(
    ("query", "code", "field"),
    [
        ("limt=2", "unknown_parameter", "limt"),
        ("LIMIT=2", "unknown_parameter", "LIMIT"),
        ("colour__like=secret", "unknown_parameter", "colour__like"),
        ("filters=secret", "unknown_parameter", "filters"),
        ("=secret", "unknown_parameter", None),
        ("%00=secret", "unknown_parameter", None),
        ("a%0d%0ab=secret", "unknown_parameter", None),
        ("limit=1&limit=secret", "repeated_parameter", "limit"),
        ("colour=1&colour=secret", "repeated_parameter", "colour"),
    ],
)
async def test_parameter_that_would_be_ignored_is_refused(
    app: FastAPI, query: str, code: str, field: str | None
) -> None:
    async with client_of(app) as client:
        answer = await client.get(f"/things/?{query}")

    assert answer.status_code == 422
    assert answer.json()["code"] == code
    assert answer.json().get("field") == field
    assert "secret" not in answer.text


async def test_misspelt_parameter_gets_a_hint(app: FastAPI) -> None:
    async with client_of(app) as client:
        answer = await client.get("/things/?limt=2")

    assert answer.json()["detail"] == "The query parameter limt is not known here. Did you mean limit?"


async def test_endpoint_may_take_any_parameter_or_name_its_own(app: FastAPI) -> None:
    async with client_of(app) as client:
        assert (await client.get("/things/anything?x=1&x=2")).status_code == 200
        assert (await client.get("/things/by-hand?q=1&tag=a&tag=b&limit=1")).json() == ["a", "b"]
        assert (await client.get("/things/by-hand?q=1&q=2")).json()["code"] == "repeated_parameter"
        assert (await client.get("/things/by-hand?other=1")).json()["code"] == "unknown_parameter"


async def test_parameters_of_a_hosts_dependency_are_known() -> None:
    async def tenant(tenant: str) -> str:
        return tenant

    host = FastAPI()
    host.include_router(things(), dependencies=[Depends(tenant)])
    add_handlers(host, whole=False)
    async with client_of(host) as client:
        assert (await client.get("/things/?tenant=a")).status_code == 200
        assert (await client.get("/things/")).json()["errors"][0]["field"] == "tenant"


async def test_two_installs_in_one_application_keep_apart() -> None:
    shared, host = things(), FastAPI()
    host.include_router(shared.bound({MAX_BODY_SIZE: 10, "owner": "a"}), prefix="/a")
    host.include_router(shared.bound({MAX_BODY_SIZE: 100, "owner": "b"}), prefix="/b")
    add_handlers(host, whole=False)
    body = {"name": "x" * 20}
    async with client_of(host) as client:
        assert (await client.post("/a/things/", json=body)).status_code == 413
        assert (await client.post("/b/things/", json=body)).status_code == 201
        assert [(await client.get(f"/{one}/things/mine")).json() for one in "ab"] == ["a", "b"]


async def test_router_that_is_an_application_itself_is_bound_too() -> None:
    host = FastAPI()
    outer = Router()
    outer.include_router(things())
    host.mount("/accounts", outer.bound({"owner": "mounted"}))
    async with client_of(host) as client:
        assert (await client.get("/accounts/things/mine")).json() == "mounted"


async def test_hosts_errors_keep_their_shape() -> None:
    host = FastAPI()
    host.include_router(things())
    add_handlers(host, whole=False)

    @host.get("/own/{number}")
    async def read_own(number: int) -> int:
        return number

    async with client_of(host) as client:
        assert (await client.get("/nothing")).json() == {"detail": "Not Found"}
        assert isinstance((await client.get("/own/x")).json()["detail"], list)
        assert (await client.get("/things/7")).json()["code"] == "not_found"


@pytest.mark.parametrize("host", [False, True])
def test_every_documented_error_is_a_problem_document_that_is_defined(host: bool) -> None:
    app = FastAPI()
    app.include_router(things(), prefix="/accounts" if host else "")
    document = app.openapi()

    answers: dict[str, Any] = {}
    for operations in document["paths"].values():
        for operation in operations.values():
            answers |= {status: a for status, a in operation["responses"].items() if status >= "400"}
    assert set(answers) == {"400", "401", "409", "413", "415", "422", "429", "503"}
    for answer in answers.values():
        ((kind, content),) = answer["content"].items()
        assert kind == "application/problem+json"
        assert content["schema"] == {"$ref": "#/components/schemas/DenizenProblem"}
        assert all(example["value"]["code"] == code for code, example in content["examples"].items())
    assert "HTTPValidationError" not in document["components"]["schemas"]
    assert "request_id" in document["components"]["schemas"]["DenizenProblem"]["properties"]


async def test_rooms_are_told_apart_by_the_words_that_their_paths_begin_with() -> None:
    """A room without such a word is passed by at once; one whose paths begin with anything is asked each time."""
    app = FastAPI()
    nearly, anything, late = Router(), Router(), Router()

    @nearly.get("/thing/{name}")
    async def read_thing(name: str) -> str:
        return f"thing {name}"

    @anything.get("/{first}/at-all")
    async def read_anything(first: str) -> str:
        return f"anything {first}"

    @late.get("/things.json")
    async def list_late() -> str:
        return "late"

    for router in (nearly, anything, late):
        app.include_router(router, prefix="/in")
    add_handlers(app, whole=True)

    @late.get("/later/{name:path}")
    async def read_later(name: str) -> str:
        return f"later {name}"

    app.include_router(late, prefix="/again")
    host = FastAPI()
    host.mount("/mounted", app)
    async with AsyncClient(transport=ASGITransport(host), base_url="http://test") as client:
        for path, answer in {
            "/in/thing/one": "thing one",
            "/in/%74hing/one": "thing one",
            "/in/thing/at-all": "thing at-all",
            "/in/things/at-all": "anything things",
            "/in/things.json": "late",
            "/again/later/a/b": "later a/b",
        }.items():
            assert (await client.get(f"/mounted{path}")).json() == answer, path
        assert (await client.get("/mounted/in/nowhere")).status_code == 404
        assert (await client.post("/mounted/in/thing/one")).status_code == 405
