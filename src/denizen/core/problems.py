"""Errors as HTTP tells them: RFC 9457 problem documents.

The only file that knows which status a kind of error has. `type` is a URN made of the `code`, so that it is the same
behind every prefix and needs no server to be kept for it; clients test `code`.
"""

import json
import math
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import Scope
from starlette.websockets import WebSocket, WebSocketClose, WebSocketState

from denizen.core import errors as kinds
from denizen.core.errors import DenizenError, FieldError, Invalid
from denizen.core.logs import logger, report
from denizen.core.origin import REQUEST_ID

log = logger(__name__)

MEDIA_TYPE: Final = "application/problem+json"

FACE: Final = "denizen.face"
"""The key in an ASGI scope under which stands what gives another answer to an error of ours than a document: a page."""

STATUS: Final[Mapping[type[DenizenError], int]] = {
    kinds.Invalid: 422,
    kinds.Malformed: 400,
    kinds.TooLarge: 413,
    kinds.UnsupportedMedia: 415,
    kinds.Unauthorized: 401,
    kinds.Forbidden: 403,
    kinds.NotFound: 404,
    kinds.Conflict: 409,
    kinds.Stale: 412,
    kinds.TooMany: 429,
    kinds.Unavailable: 503,
    kinds.StorageFull: 507,
}

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{8,64}")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,39}")
_LISTED: Final = 100


# ----------------------------------------------------------------------------------------------------------- documents


class DenizenFieldError(BaseModel):
    """One thing wrong with one field."""

    field: str = Field(description="Where it is, with dots: `operations.0.email`.", examples=["email"])
    code: str = Field(description="What is wrong, for programs.", examples=["missing"])
    message: str = Field(
        description="What is wrong, for people. Never repeats what was sent.", examples=["Field required"]
    )


class DenizenProblem(BaseModel):
    """What every error looks like (RFC 9457)."""

    model_config = ConfigDict(json_schema_extra={"description": "What every error looks like (RFC 9457)."})

    type: str = Field(description="A URN made of the code.", examples=["urn:denizen:error:not_found"])
    title: str = Field(description="What kind of error it is; the same for every error of this code.")
    status: int = Field(description="The HTTP status.", ge=400, le=599)
    detail: str = Field(description="What happened this time, in one sentence.")
    code: str = Field(description="What clients test.", examples=["not_found"])
    request_id: str = Field(description="The id of the request, as in the header `X-Request-Id` and in the logs.")
    field: str | None = Field(default=None, description="The field at fault, where it is one.")
    errors: list[DenizenFieldError] | None = Field(default=None, description="Every field at fault.")


Problem = DenizenProblem


class ProblemResponse(Response):
    """A problem document. ASCII, so that no string can fail to be encoded."""

    media_type = MEDIA_TYPE

    def render(self, content: Any) -> bytes:
        """Encode the document."""
        return json.dumps(content, separators=(",", ":")).encode("ascii")


def status_of(error: DenizenError | type[DenizenError]) -> int:
    """Give the status of an error: that of the nearest kind it descends from, 500 for none."""
    cls = error if isinstance(error, type) else type(error)
    return next((STATUS[kind] for kind in cls.__mro__ if kind in STATUS), 500)


def document(*, status: int, code: str, title: str, detail: str, request_id: str) -> dict[str, Any]:
    """Give the members that every problem document has."""
    return {
        "type": f"urn:denizen:error:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": request_id,
    }


def document_of(error: DenizenError, request_id: str) -> dict[str, Any]:
    """Give the document that tells of `error`."""
    content = document(
        status=status_of(error), code=error.code, title=error.title, detail=error.detail, request_id=request_id
    )
    if error.field is not None:
        content["field"] = error.field
    if error.errors:
        content["errors"] = [asdict(item) for item in error.errors]
    return content


def problem(error: DenizenError, request_id: str) -> Response:
    """Give the answer to a request that ended in `error`."""
    content = document_of(error, request_id)
    status = content["status"]
    return ProblemResponse(content, status_code=status, headers=_headers_of(error, status))


def _headers_of(error: DenizenError, status: int) -> dict[str, str]:
    headers = {"cache-control": "no-store"}
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    if error.retry_after is not None or status in (429, 503):
        wait = max(1, math.ceil(error.retry_after or 1))
        headers["retry-after"] = str(wait)
        if isinstance(error, kinds.TooMany) and (quota := error.quota) is not None:
            # draft-ietf-httpapi-ratelimit-headers-10, sections 3 and 4
            headers["ratelimit-policy"] = f'"{quota.name}";q={quota.most};w={quota.per}'
            headers["ratelimit"] = f'"{quota.name}";r=0;t={wait}'
    return headers


def unexpected(request_id: str) -> dict[str, Any]:
    """Give the document for what nobody expected: it is in the logs, under the id of the request."""
    return document(
        status=500,
        code="internal_error",
        title="Internal error",
        detail="Something went wrong here. The logs tell more under this request id.",
        request_id=request_id,
    )


def new_request_id() -> str:
    """Make an id for a request: 32 random hexadecimal digits."""
    return secrets.token_hex(16)


def is_request_id(text: str) -> bool:
    """Tell whether a client's `X-Request-Id` may go into answers and logs: 8 to 64 of `A-Za-z0-9._-`."""
    return _REQUEST_ID.fullmatch(text) is not None


def request_id_of(scope: Scope) -> str:
    """Give the id of a request; inside a host, where our middleware is not, from its header or made now."""
    known = scope.get(REQUEST_ID)
    if isinstance(known, str):
        return known
    sent = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"x-request-id"), "")
    scope[REQUEST_ID] = made = sent if is_request_id(sent) else new_request_id()
    return made


def is_name(text: str) -> bool:
    """Tell whether a name from a client may be repeated to it: short, of ASCII letters and digits."""
    return _NAME.fullmatch(text) is not None


# ---------------------------------------------------------------------------------------------------------- validation


def invalid(found: Sequence[Any]) -> Invalid:
    """Give our error for what Pydantic found, without anything of the input.

    Args:
        found: the dictionaries of `ValidationError.errors()`, with FastAPI's `("body", ...)` in front of the place.
    """
    errors = field_errors(found)
    if len(found) == 1:
        first = errors[0]
        return Invalid(f"{first.field}: {first.message}.", field=first.field, errors=errors)
    return Invalid(f"{len(found)} fields are not valid.", errors=errors)


def field_errors(found: Sequence[Any]) -> list[FieldError]:
    """Say the same field by field; of very many the first."""
    return [_field_error(item) for item in found[:_LISTED]]


_OUR_WORDS: Final = {
    "date_from_datetime_parsing": "Input should be a valid date",
    "date_parsing": "Input should be a valid date",
    "datetime_from_date_parsing": "Input should be a valid date and time, as in RFC 3339",
    "datetime_parsing": "Input should be a valid date and time, as in RFC 3339",
    "json_invalid": "Input should be valid JSON",
    "json_type": "Input should be valid JSON",
    "time_delta_parsing": "Input should be a valid duration",
    "time_parsing": "Input should be a valid time",
    "timezone_offset": "Input has another time zone than it should",
    "union_tag_invalid": "Input is of a kind that is not known here",
    "url_parsing": "Input should be a valid URL",
    "uuid_parsing": "Input should be a valid UUID",
}
"""Messages in which Pydantic would quote what was sent."""
_QUOTING: Final = frozenset({"error", "input_value", "tag", "tz_actual"})


def _field_error(item: Mapping[str, Any]) -> FieldError:
    return FieldError(_place(item["loc"]), str(item["type"]), _message(item))


def _place(loc: Sequence[Any]) -> str:
    """Give the place of an error; a name that came from the client is told only if it looks like a name."""
    parts = [str(part) for part in (loc[1:] if len(loc) > 1 else loc)]
    return ".".join(part if part.isdecimal() or is_name(part) else "?" for part in parts)[:200] or "body"


def _message(item: Mapping[str, Any]) -> str:
    kind, message, sent = item["type"], str(item["msg"]), item.get("input")
    if kind in _OUR_WORDS:
        return _OUR_WORDS[kind]
    if kind in ("value_error", "assertion_error"):
        message = message.partition(", ")[2] or message
        quotes = any(mark in message for mark in "'\"`") or (isinstance(sent, int | float) and str(sent) in message)
    else:
        quotes = not _QUOTING.isdisjoint(item.get("ctx") or ())
    if quotes or (isinstance(sent, str) and len(sent) > 3 and sent in message):
        return "Input is not valid"
    return message.rstrip(".")


# ------------------------------------------------------------------------------------------------------------ handlers


def add_handlers(app: FastAPI, *, whole: bool) -> None:
    """Answer errors with problem documents.

    Args:
        app: the application.
        whole: also what the framework raises (404, 405, validation) and what nobody expected (500). `False` inside a
            host: its errors keep their shape.
    """
    app.add_exception_handler(DenizenError, _answer_ours)
    if whole:
        app.add_exception_handler(HTTPException, _answer_framework)
        app.add_exception_handler(RequestValidationError, _answer_validation)
        app.add_exception_handler(Exception, _answer_unexpected)


def _of_this_service(error: DenizenError) -> kinds.Unavailable:
    """Give what is told to somebody whose request failed since another server refused this one: a 401 of its would be
    taken for his own, and end his sign-in.
    """
    log.warning("refused_elsewhere", code=error.code, detail=str(error), request_id_there=error.request_id)
    return kinds.Unavailable("Another service refused what this needs.", retry_after=error.retry_after)


async def _answer_ours(request: Any, error: Exception) -> Any:  # a `Request` or a `WebSocket`: two types to Starlette
    assert isinstance(error, DenizenError)  # noqa: S101  (what Starlette calls it for)
    if error.from_elsewhere:
        error = _of_this_service(error)
    if isinstance(request, WebSocket) and not _is_deniable(request):
        return _closing(request, error)
    return _answer_to(request, error)


def _answer_to(request: HTTPConnection, error: DenizenError) -> Response:
    stamped = REQUEST_ID in request.scope
    request_id = request_id_of(request.scope)
    face: Callable[[DenizenError], Response] | None = request.scope.get(FACE)
    if face is None:
        answer = problem(error, request_id)
    else:
        answer = face(error)
        answer.headers.update(_headers_of(error, answer.status_code))
    if not stamped:
        answer.headers["x-request-id"] = request_id
    if answer.status_code >= 500:
        log.warning("request_refused", status=answer.status_code, code=error.code, detail=str(error))
    return answer


def _is_deniable(socket: WebSocket) -> bool:
    """Whether a WebSocket that is not accepted yet may be answered as a request is (an extension of ASGI)."""
    is_new = socket.application_state is WebSocketState.CONNECTING
    return is_new and "websocket.http.response" in socket.scope.get("extensions", {})


def _closing(socket: WebSocket, error: DenizenError) -> WebSocketClose | None:
    """Give the end of a WebSocket that an error came up in; one that is not accepted yet becomes a 403 by that.

    Source: RFC 6455 section 7.4.1; 1013, "Try again later", is of IANA's registry.
    """
    if WebSocketState.DISCONNECTED in {socket.application_state, socket.client_state}:
        return None
    return WebSocketClose(1013 if status_of(error) in {429, 503} else 1008, reason=error.code)


_FRAMEWORK: Final = {
    400: ("malformed_request", "Malformed request", "The request cannot be read."),
    404: ("not_found", "Not found", "There is nothing at this address."),
    405: ("method_not_allowed", "Method not allowed", "This address does not take this method."),
    413: (kinds.TooLarge.code, kinds.TooLarge.title, "The body is too large."),
}


async def _answer_framework(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  (what Starlette calls it for)
    status = error.status_code
    headers = {"cache-control": "no-store", **{name.lower(): value for name, value in (error.headers or {}).items()}}
    if status < 400:
        return Response(status_code=status, headers=headers)
    code, title, detail = _FRAMEWORK.get(status, (f"http_{status}", f"Error {status}", "The request was refused."))
    if status == 405:
        headers["allow"] = ", ".join(sorted(_methods_at(request)))
    content = document(status=status, code=code, title=title, detail=detail, request_id=request_id_of(request.scope))
    return ProblemResponse(content, status_code=status, headers=headers)


async def _answer_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101  (what Starlette calls it for)
    return problem(invalid(error.errors()), request_id_of(request.scope))


async def _answer_unexpected(request: Request, error: Exception) -> Response:
    report(log, "unexpected_error", error, method=request.method, route=_route_of(request.scope))
    content = unexpected(request_id_of(request.scope))
    return ProblemResponse(content, status_code=500, headers={"cache-control": "no-store"})


def _route_of(scope: Scope) -> str | None:
    return getattr(scope.get("route"), "path", None)


def _methods_at(request: Request) -> set[str]:
    """Give all methods that the address takes: Starlette names those of the first route alone."""
    path, found = request.scope["path"].removeprefix(request.scope.get("root_path", "")), set[str]()
    for route in iter_route_contexts(request.app.routes):
        pattern = getattr(route, "path_regex", None)
        if pattern is not None and pattern.match(path):
            found |= route.methods or set()
    return found | {"HEAD"} if "GET" in found else found  # which no route of ours names: see `core.routing.Router`


# ------------------------------------------------------------------------------------------------------- documentation


ANY: Final = (Invalid, kinds.UnknownParameter, kinds.Unavailable)
WRITING: Final = (*ANY, kinds.StorageFull)
"""What any route may refuse, and what one may that writes."""


def responses(*errors: type[DenizenError]) -> dict[int | str, dict[str, Any]]:
    """Give a route's `responses=`: every error class with an example, grouped by status.

    The schema is a reference: our route class (`core.routing`) sees to it that the document defines it.
    """
    found: dict[int | str, dict[str, Any]] = {}
    for error in errors:
        status = status_of(error)
        answer = found.setdefault(
            status, {"description": "", "content": {MEDIA_TYPE: {"schema": _SCHEMA, "examples": {}}}}
        )
        answer["description"] = " / ".join(dict.fromkeys([*filter(None, [answer["description"]]), error.title]))
        answer["content"][MEDIA_TYPE]["examples"][error.code] = {
            "summary": error.title,
            "value": _example(error, status),
        }
        if status == 401:
            answer["headers"] = {"WWW-Authenticate": {"schema": {"type": "string"}, "example": "Bearer"}}
        elif status in (429, 503):
            answer["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}
    return found


_SCHEMA: Final = {"$ref": f"#/components/schemas/{DenizenProblem.__name__}"}


def _example(error: type[DenizenError], status: int) -> dict[str, Any]:
    detail = " ".join((error.__doc__ or error.title).split("\n\n", maxsplit=1)[0].split())
    return document(
        status=status, code=error.code, title=error.title, detail=detail, request_id="4bf92f3577b34da6a3ce929d0e0e4736"
    )
