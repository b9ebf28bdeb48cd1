"""Every error that a server sends becomes a class in the program that asked."""

from __future__ import annotations

import json

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient

from denizen.client import AnswerInvalid, Client, ServerFailed, UserRead
from denizen.client.calls import parse, part
from denizen.client.errors import class_of, error_of
from denizen.core.errors import Conflict, DenizenError, Forbidden, Invalid, NotFound, TooMany, Unavailable
from denizen.core.problems import add_handlers, document_of, status_of
from tests.openapi.test_document_errors import classes, rows

FOR_OPERATORS = {"no_database", "schema_not_ready", "sealed_under_another_secret"}
FOR_BROWSERS = {"csrf_failed", "cookie_refused"}
AT_THE_CLIENT = {"unreachable", "answer_invalid"}


def test_every_error_that_is_sent_comes_back_as_its_class() -> None:
    documented = rows()
    for error in classes():
        if documented[error.code].status == "-" or error.code in FOR_OPERATORS | FOR_BROWSERS | AT_THE_CLIENT:
            continue
        cls = class_of(error.code, status_of(error))
        told = json.dumps(document_of(error("A sentence."), "0123456789abcdef")).encode()
        again = error_of(status_of(error), {"retry-after": "7"}, told)

        assert cls.code == again.code == error.code
        assert type(again) is cls
        assert (str(again), again.request_id, again.retry_after) == ("A sentence.", "0123456789abcdef", 7)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (403, Forbidden),
        (404, NotFound),
        (409, Conflict),
        (422, Invalid),
        (429, TooMany),
        (500, ServerFailed),
        (503, Unavailable),
    ],
)
def test_an_error_of_a_later_release_is_of_its_kind(status: int, kind: type[DenizenError]) -> None:
    told = {"code": "moon_full", "title": "The moon is full", "detail": "Wait.", "status": status, "errors": [{}, 1]}

    error = error_of(status, {"retry-after": "soon"}, json.dumps(told).encode())

    assert type(error) is kind
    assert (error.code, error.title, error.detail) == ("moon_full", "The moon is full", "Wait.")
    assert kind.code != "moon_full"


@pytest.mark.parametrize("content", [b"<html>", b"[" * 100_000, b'{"code": 7}', b"\xff", b""])
def test_what_proxies_say_is_an_error_too(content: bytes) -> None:
    assert isinstance(error_of(504, {"x-request-id": "abcdefgh"}, content), Unavailable)
    assert error_of(504, {"x-request-id": "abcdefgh"}, content).request_id == "abcdefgh"
    assert isinstance(error_of(302, {}, content), AnswerInvalid)


def test_an_answer_that_cannot_be_read_is_not_repeated() -> None:
    with pytest.raises(AnswerInvalid) as raised:
        parse(UserRead, b'{"id": "secret"}')

    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_no_name_leads_to_another_path(name: str) -> None:
    with pytest.raises(Invalid):
        part(name)
    assert part("a/../b") == "a%2F..%2Fb"


@pytest.mark.parametrize(
    "url", ["ftp://example.org", "example.org", "https://ada:pw@example.org", "https://example.org/?a=b"]
)
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="URL of a Denizen"):
        Client(url)


@pytest.mark.parametrize("token", ["a b", "ä", "a\nb", ""])
def test_a_token_that_is_none_is_refused_without_repeating_it(token: str) -> None:
    with pytest.raises(ValueError, match=r"^A token is one word of printable ASCII\.$"):
        Client("https://example.org", token)


async def test_what_another_server_refuses_a_service_is_not_told_to_its_callers_as_theirs() -> None:
    """A key of the service that is no good would end the sign-ins of all who ask it."""
    app = FastAPI()
    add_handlers(app, whole=False)

    @app.get("/")
    async def ask_another() -> None:
        told = {"code": "credentials_invalid", "detail": "These credentials are unknown, expired or revoked."}
        raise error_of(401, {}, json.dumps(told).encode())

    async with AsyncClient(transport=ASGITransport(app), base_url="http://host") as client:
        answer = await client.get("/")

    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert "www-authenticate" not in answer.headers
    assert "credentials" not in answer.text
