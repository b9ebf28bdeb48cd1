from typing import Any

import pytest
from fastapi import FastAPI, Request
from httpx import ASGITransport, AsyncClient

from denizen.core import errors
from denizen.core.errors import DenizenError, FieldError, NotFound
from denizen.core.problems import add_handlers, invalid, is_request_id, problem, status_of

REQUEST_ID = "0123456789abcdef"


class UserMissing(NotFound):
    code = "user_not_found"
    title = "No such user"


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (errors.Invalid, 422),
        (errors.Malformed, 400),
        (errors.TooLarge, 413),
        (errors.UnsupportedMedia, 415),
        (errors.Unauthorized, 401),
        (errors.Forbidden, 403),
        (errors.NotFound, 404),
        (UserMissing, 404),
        (errors.Conflict, 409),
        (errors.Stale, 412),
        (errors.TooMany, 429),
        (errors.Unavailable, 503),
        (errors.StorageFull, 507),
        (DenizenError, 500),
    ],
)
def test_kind_has_its_status(kind: type[DenizenError], status: int) -> None:
    assert status_of(kind) == status_of(kind("x")) == status


def document_of(error: DenizenError) -> tuple[dict[str, Any], Any]:
    import json

    answer = problem(error, REQUEST_ID)
    return json.loads(bytes(answer.body)), answer.headers


def test_document_has_every_member() -> None:
    content, headers = document_of(UserMissing("User not found", field="id"))

    assert content == {
        "type": "urn:denizen:error:user_not_found",
        "title": "No such user",
        "status": 404,
        "detail": "User not found",
        "code": "user_not_found",
        "field": "id",
        "request_id": REQUEST_ID,
    }
    assert headers["content-type"] == "application/problem+json"
    assert headers["cache-control"] == "no-store"


def test_document_lists_fields_at_fault() -> None:
    content, _ = document_of(errors.Invalid("Two.", errors=[FieldError("a", "missing", "Field required")]))

    assert content["errors"] == [{"field": "a", "code": "missing", "message": "Field required"}]
    assert "field" not in content


@pytest.mark.parametrize(("given", "told"), [(None, "1"), (0, "1"), (7, "7")])
@pytest.mark.parametrize("kind", [errors.TooMany, errors.Unavailable])
def test_retry_after_is_a_whole_number(kind: type[DenizenError], given: int | None, told: str) -> None:
    assert document_of(kind("Later.", retry_after=given))[1]["retry-after"] == told


def test_401_asks_for_a_bearer() -> None:
    assert document_of(errors.Unauthorized("No."))[1]["www-authenticate"] == "Bearer"


def test_detail_that_cannot_be_encoded_is_no_error() -> None:
    assert document_of(errors.Conflict("\ud800 é"))[0]["detail"] == "\ud800 é"


@pytest.mark.parametrize(
    ("kind", "context"),
    [
        ("value_error", {"error": ValueError("the part 'x' is wrong")}),
        ("uuid_parsing", {"error": "invalid character: found `z` at 1"}),
        ("union_tag_invalid", {"tag": "zzz", "expected_tags": "'a'"}),
        ("url_parsing", {"error": "relative"}),
        ("something_new", {"error": "quotes"}),
    ],
)
def test_messages_that_quote_are_replaced(kind: str, context: dict[str, Any]) -> None:
    message = "Value error, the part 'x' is wrong z"

    found = invalid([{"type": kind, "loc": ("body", "a"), "msg": message, "input": "zzzz", "ctx": context}])

    assert "'x'" not in found.errors[0].message
    assert found.errors[0].message.startswith("Input ")


def test_number_that_was_sent_is_not_in_the_words() -> None:
    found = invalid(
        [{"type": "value_error", "loc": ("body", "pin"), "msg": "Value error, 4711 is taken", "input": 4711}]
    )

    assert found.errors[0].message == "Input is not valid"


def test_words_of_our_own_validators_are_kept() -> None:
    found = invalid([{"type": "value_error", "loc": ("query", "a"), "msg": "Value error, must be even.", "input": 3}])

    assert found.errors == (FieldError("a", "value_error", "must be even"),)
    assert found.detail == "a: must be even."


def test_hundreds_of_errors_are_counted_and_not_all_listed() -> None:
    found = invalid([{"type": "missing", "loc": ("body", n), "msg": "Field required", "input": {}} for n in range(500)])

    assert len(found.errors) == 100
    assert found.detail.startswith("500 ")


@pytest.mark.parametrize(
    ("text", "well"),
    [
        ("abcdefgh", True),
        ("A.b_c-9" * 9, True),
        ("short", False),
        ("x" * 65, False),
        ("abcdefgh\n", False),
        ("abcd efgh", False),
    ],
)
def test_request_id_of_a_client_is_judged(text: str, well: bool) -> None:
    assert is_request_id(text) is well


@pytest.fixture
def app() -> FastAPI:
    made = FastAPI()
    add_handlers(made, whole=True)

    @made.get("/broken")
    async def be_broken() -> None:
        raise RuntimeError("password=hunter2")

    @made.get("/number/{number}")
    async def read_number(number: int) -> int:
        return number

    @made.get("/away")
    async def be_away(request: Request) -> None:
        raise errors.Unavailable("The database is away.", retry_after=3)

    return made


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("DELETE", "/broken", 405, "method_not_allowed"),
        ("GET", "/broken", 500, "internal_error"),
        ("GET", "/number/x", 422, "invalid"),
        ("GET", "/away", 503, "unavailable"),
    ],
)
async def test_every_error_of_a_whole_application_is_a_problem(
    app: FastAPI, method: str, path: str, status: int, code: str
) -> None:
    transport = ASGITransport(app, raise_app_exceptions=False)
    async with AsyncClient(transport=transport, base_url="http://test") as client:
        answer = await client.request(method, path, headers={"x-request-id": REQUEST_ID})

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == code
    assert answer.json()["request_id"] == REQUEST_ID
    assert "hunter2" not in answer.text


async def test_unexpected_error_is_logged_with_the_request_id(app: FastAPI, caplog: pytest.LogCaptureFixture) -> None:
    transport = ASGITransport(app, raise_app_exceptions=False)
    async with AsyncClient(transport=transport, base_url="http://test") as client:
        await client.get("/broken")

    records = [record for record in caplog.records if record.name.startswith("denizen")]  # HTTPX says things too
    assert [record.message for record in records] == ["unexpected_error method=GET route=/broken"]
    assert records[0].exc_info is not None
