"""Bodies that were sent to hurt: inside our own application and inside a host's."""

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Annotated, Any, Literal

import pytest
from fastapi import Body, FastAPI, Query, Request
from httpx import ASGITransport, AsyncClient, Response
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from denizen.core.bodies import parse_json
from denizen.core.errors import Malformed
from denizen.core.problems import add_handlers
from denizen.core.routing import MAX_BODY_SIZE, Router
from denizen.core.text import Integer, Text

LIMIT = 20_000
PASSWORD = "correct horse battery"


def _refuse_and_quote(text: str) -> str:
    if text != "fine":
        raise ValueError(f"{text} is not fine")
    return text


class Cat(BaseModel):
    kind: Literal["cat"]


class Dog(BaseModel):
    kind: Literal["dog"]


class Person(BaseModel):
    model_config = ConfigDict(extra="forbid")

    email: Text
    password: Annotated[Text, Field(min_length=8)] = "long enough"
    age: Integer = 0
    role: Literal["admin", "user"] = "user"
    weight: float = 0.0
    quoting: Annotated[str, AfterValidator(_refuse_and_quote)] = "fine"
    pet: Annotated[Cat | Dog, Field(discriminator="kind")] | None = None
    more: dict[str, Any] = {}


def compose(*, host: bool) -> FastAPI:
    router = Router(prefix="/people")

    @router.post("/", status_code=201)
    async def create_person(person: Person) -> dict[str, str]:
        return {"email": person.email}

    @router.post("/raw")
    async def read_raw(request: Request) -> Any:
        return len(await request.body())

    @router.post("/by-hand")
    async def read_by_hand(request: Request) -> Any:
        return await request.json()

    @router.post("/larger", max_body_size=3 * LIMIT)
    async def take_more(items: Annotated[list[str], Body()]) -> int:
        return len(items)

    @router.get("/")
    async def list_people(age: Annotated[Integer, Query()] = 0) -> int:
        return age

    app = FastAPI()
    app.include_router(router.bound({MAX_BODY_SIZE: LIMIT}), prefix="/accounts" if host else "")
    add_handlers(app, whole=not host)
    return app


@pytest.fixture(params=[False, True], ids=["standalone", "host"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[AsyncClient]:
    base = "http://test/accounts" if request.param else "http://test"
    async with AsyncClient(transport=ASGITransport(compose(host=request.param)), base_url=base) as opened:
        yield opened


async def post(client: AsyncClient, body: bytes, path: str = "/people/", **headers: str) -> Response:
    return await client.post(path, content=body, headers={"content-type": "application/json", **headers})


def assert_problem(answer: Response, status: int, code: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == code
    assert answer.json()["status"] == status
    assert answer.json()["request_id"]


MALFORMED: dict[str, bytes] = {
    "not JSON": b"{",
    "two documents": b"{}{}",
    "nothing but a space": b" ",
    "single quotes": b"{'email': 'a'}",
    "trailing comma": b'{"email":"a",}',
    "comment": b'{"email":"a"} // no',
    "raw control character": b'{"email":"a\x01"}',
    "raw newline": b'{"email":"a\n"}',
    "NUL bytes": b"\x00\x00\x00",
    "byte order mark": b'\xef\xbb\xbf{"email":"a"}',
    "UTF-16": '{"email":"a"}'.encode("utf-16"),
    "UTF-16 without a mark": '{"email":"a"}'.encode("utf-16-le"),
    "UTF-32": '{"email":"a"}'.encode("utf-32"),
    "Latin-1": b'{"email":"\xe9"}',
    "overlong UTF-8": b'{"email":"\xc0\xaf"}',
    "surrogate in UTF-8": b'{"email":"\xed\xa0\x80"}',
    "NaN": b'{"email":"a","weight":NaN}',
    "Infinity": b'{"email":"a","weight":-Infinity}',
    "1e999": b'{"email":"a","weight":1e999}',
    "a number of a thousand digits after the point": b'{"email":"a","weight":0.' + b"1" * 1000 + b"}",
    "integer over 64 bits": b'{"email":"a","age":9223372036854775808}',
    "integer of 5,000 digits": b'{"email":"a","age":' + b"9" * 5000 + b"}",
    "integer of 5,000 digits, negative": b'{"email":"a","age":-' + b"9" * 5000 + b"}",
    "key twice": b'{"email":"a","email":"b"}',
    "key twice, escaped": b'{"email":"a","\\u0065mail":"b"}',
    "key twice, deep": b'{"email":"a","more":{"x":[{"y":1,"y":2}]}}',
    "65 levels of arrays": b'{"email":"a","more":{"x":' + b"[" * 65 + b"]" * 65 + b"}}",
    "thousands of levels": b"[" * 9000 + b"]" * 9000,
    "thousands of levels, not closed": b"[" * 19_000,
    "thousands of levels of objects": b'{"a":' * 3000 + b"1" + b"}" * 3000,
    "more members than one would write": b'{"more":{' + b",".join(b'"%d":1' % n for n in range(1500)) + b"}}",
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED.keys())
async def test_malformed_body_is_400(client: AsyncClient, body: bytes) -> None:
    assert_problem(await post(client, body), 400, "malformed_body")


INVALID: dict[str, tuple[bytes, str, str]] = {
    "lone surrogate": (b'{"email":"\\ud800"}', "email", "string_unacceptable"),
    "lone surrogate in a key": (b'{"email":"a","\\udfff":1}', "body", "string_unicode"),
    "NUL": (b'{"email":"\\u0000"}', "email", "string_unacceptable"),
    "null": (b"null", "body", "model_attributes_type"),
    "array": (b"[]", "body", "model_attributes_type"),
    "missing": (b"{}", "email", "missing"),
    "beyond 2^53": (b'{"email":"a","age":9007199254740993}', "age", "less_than_equal"),
    "unknown": (b'{"email":"a","is_admin":true}', "is_admin", "extra_forbidden"),
    "unknown, hardly a name": (b'{"email":"a","<script>alert(1)":true}', "?", "extra_forbidden"),
}


@pytest.mark.parametrize(("body", "field", "code"), INVALID.values(), ids=INVALID.keys())
async def test_invalid_body_names_the_field(client: AsyncClient, body: bytes, field: str, code: str) -> None:
    answer = await post(client, body)

    assert_problem(answer, 422, "invalid")
    assert [(error["field"], error["code"]) for error in answer.json()["errors"]] == [(field, code)]
    assert answer.json()["field"] == field


async def test_empty_body_is_missing(client: AsyncClient) -> None:
    answer = await post(client, b"")

    assert_problem(answer, 422, "invalid")
    assert answer.json()["errors"] == [{"field": "body", "code": "missing", "message": "Field required"}]


@pytest.mark.parametrize(
    "field",
    ["password", "role", "quoting", "age", "weight", "more"],
)
async def test_input_is_never_echoed(client: AsyncClient, field: str) -> None:
    sent = {
        "password": "hunt3r2",
        "role": PASSWORD,
        "quoting": PASSWORD,
        "age": PASSWORD,
        "weight": PASSWORD,
        "more": PASSWORD,
    }

    answer = await client.post("/people/", json={"email": "a", field: sent[field]})

    assert_problem(answer, 422, "invalid")
    assert sent[field] not in answer.text
    assert answer.json()["errors"][0]["field"] == field


async def test_kind_that_is_not_known_is_not_echoed(client: AsyncClient) -> None:
    answer = await client.post("/people/", json={"email": "a", "pet": {"kind": PASSWORD}})

    assert_problem(answer, 422, "invalid")
    assert PASSWORD not in answer.text


async def test_whole_body_of_another_shape_is_not_echoed(client: AsyncClient) -> None:
    answer = await client.post("/people/", json=PASSWORD)

    assert_problem(answer, 422, "invalid")
    assert PASSWORD not in answer.text


@pytest.mark.parametrize(
    "kind",
    [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json; charset=utf-16",
        "application/jsonp",
        "json",
    ],
)
async def test_body_of_another_type_is_415(client: AsyncClient, kind: str) -> None:
    answer = await client.post("/people/", content=b'{"email":"a"}', headers={"content-type": kind} if kind else {})

    assert_problem(answer, 415, "unsupported_media_type")


async def test_compressed_body_is_415(client: AsyncClient) -> None:
    answer = await post(client, b"\x1f\x8b", **{"content-encoding": "gzip"})

    assert_problem(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "kind",
    [
        "application/json",
        "Application/JSON; charset=UTF-8",
        'application/json;charset="utf-8"',
        "application/merge-patch+json",
    ],
)
async def test_json_in_utf_8_is_taken(client: AsyncClient, kind: str) -> None:
    answer = await client.post("/people/", content='{"email":"é😀"}'.encode(), headers={"content-type": kind})

    assert answer.status_code == 201
    assert answer.json() == {"email": "é😀"}


async def test_large_body_is_413(client: AsyncClient) -> None:
    assert_problem(await post(client, b" " * (LIMIT + 1)), 413, "body_too_large")
    assert_problem(await post(client, b" " * (LIMIT + 1), "/people/raw"), 413, "body_too_large")
    assert (await post(client, b" " * LIMIT, "/people/raw")).json() == LIMIT


async def test_large_body_of_unknown_length_is_413(client: AsyncClient) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(LIMIT // 1000 + 1):
            yield b" " * 1000

    answer = await client.post("/people/", content=chunks(), headers={"content-type": "application/json"})

    assert_problem(answer, 413, "body_too_large")


async def test_declared_length_is_judged_before_reading(client: AsyncClient) -> None:
    for length in ("1" * 30, "99999999999999999999999999" * 4):
        assert_problem(await post(client, b"{}", **{"content-length": length}), 413, "body_too_large")


async def test_route_may_take_more(client: AsyncClient) -> None:
    answer = await post(client, b'["' + b"x" * 2 * LIMIT + b'"]', "/people/larger")

    assert answer.json() == 1
    assert_problem(await post(client, b'["' + b"x" * 3 * LIMIT + b'"]', "/people/larger"), 413, "body_too_large")


async def test_array_without_end_is_refused(client: AsyncClient) -> None:
    answer = await post(client, b"[" + b"1," * 12_000 + b"1]", "/people/larger")

    assert_problem(answer, 400, "malformed_body")


async def test_endpoint_that_reads_json_by_hand_gets_the_same_care(client: AsyncClient) -> None:
    assert_problem(await post(client, b'{"a":1,"a":2}', "/people/by-hand"), 400, "malformed_body")
    assert (await post(client, b'{"a":1}', "/people/by-hand")).json() == {"a": 1}


@pytest.mark.parametrize("age", ["9" * 5000, "1e3", "NaN", "%00", "%ff", "%ed%a0%80", "-99999999999999999999"])
async def test_hostile_query_is_422_and_not_echoed(client: AsyncClient, age: str) -> None:
    answer = await client.get(f"/people/?age={age}")

    assert_problem(answer, 422, "invalid")
    assert age not in answer.text.replace(answer.json()["request_id"], "")


async def test_answers_are_not_stored(client: AsyncClient) -> None:
    assert (await client.get("/people/")).headers["cache-control"] == "no-store"
    assert (await client.get("/people/?age=x")).headers["cache-control"] == "no-store"


@given(st.binary(max_size=200))
def test_any_bytes_parse_or_are_refused(body: bytes) -> None:
    with suppress(Malformed):
        parse_json(body)
