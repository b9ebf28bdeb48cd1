"""What came with a request: bounded, and read strictly as JSON or, where a route takes it, as the form of a page."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final, NoReturn
from urllib.parse import parse_qsl

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope, Send

from denizen.core.errors import Malformed, TooLarge, UnsupportedMedia
from denizen.core.json import MAX_DEPTH, MAX_ITEMS, MAX_MEMBERS, Flaw, JsonRefused, read_json

FORM: Final = "application/x-www-form-urlencoded"
_NUMBER_LENGTH: Final = 64
_MOST: Final = 50


_MALFORMED: Final = {
    Flaw.ENCODING: "The body is not UTF-8.",
    Flaw.SYNTAX: "The body is not JSON: line {line}, column {column}.",
    Flaw.CONSTANT: "The body has NaN or Infinity, which are not JSON.",
    Flaw.INTEGER: "The body has an integer beyond 64 bits.",
    Flaw.NUMBER: "The body has a number that no double holds.",
    Flaw.KEY_TWICE: "An object in the body has a key twice.",
    Flaw.DEPTH: f"The body is nested more than {MAX_DEPTH} levels deep.",
    Flaw.MEMBERS: f"An object in the body has more than {MAX_MEMBERS} members.",
    Flaw.ITEMS: f"An array in the body has more than {MAX_ITEMS} items.",
}


def parse_json(body: bytes) -> Any:
    """Read a body as `core.json` reads JSON.

    Raises:
        Malformed: with what is wrong, and never with the input.
    """
    try:
        return read_json(body)
    except JsonRefused as error:
        raise Malformed(_MALFORMED[error.flaw].format(line=error.line, column=error.column)) from None


def parse_form(body: bytes) -> dict[str, str]:
    """Read a body as a form in UTF-8: each field once.

    Raises:
        Malformed: with what is wrong, and never with the input.
    """
    try:
        text = body.decode("ascii")
        fields = parse_qsl(text, keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=_MOST)
    except ValueError:  # UnicodeDecodeError is one
        raise Malformed(f"The body is not a form in UTF-8 with at most {_MOST} fields.") from None
    found = dict(fields)
    if len(found) < len(fields):
        raise Malformed("The form has a field twice.")
    return found


def is_form(headers: Headers) -> bool:
    """Whether the body is declared as a form."""
    return headers.get("content-type", "").partition(";")[0].strip().lower() == FORM


def check_json_type(headers: Headers) -> None:
    """Refuse a body that is not declared as uncompressed JSON in UTF-8.

    Raises:
        UnsupportedMedia: the type is another one, or missing: a page on another site may send that without asking.
    """
    declared = headers.get("content-type", "")
    if declared != "application/json":
        kind, *parameters = declared.split(";")
        kind = kind.strip().lower()
        charsets = [
            value.strip(" \t\"'").lower()
            for name, _, value in (p.partition("=") for p in parameters)
            if name.strip().lower() == "charset"
        ]
        is_json = kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))
        if not is_json or any(charset not in {"utf-8", "utf8"} for charset in charsets):
            raise UnsupportedMedia("Send the body as `Content-Type: application/json`, in UTF-8.")
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise UnsupportedMedia("Send the body uncompressed.")


# ------------------------------------------------------------------------------------------------------------- request


class BoundedRequest(Request):
    """A request whose body is limited and, asked for as JSON, read strictly."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, *, limit: int) -> None:
        super().__init__(scope, receive, send)
        self._limit = limit

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """Give the body piece by piece.

        Raises:
            TooLarge: it is declared, or turns out, longer than the limit; not a byte is read if it is declared.
            Malformed: the client went away before it was complete.
        """
        if not hasattr(self, "_body"):
            self._refuse_declared()
        seen = 0
        try:
            async with aclosing(super().stream()) as chunks:
                async for chunk in chunks:
                    seen += len(chunk)
                    if seen > self._limit:
                        self._refuse()
                    yield chunk
        except ClientDisconnect:
            raise Malformed("The body ended before it was complete.") from None

    async def json(self) -> Any:
        """Give the body as JSON; see `parse_json`."""
        if not hasattr(self, "_json"):
            self._json = parse_json(await self.body())
        return self._json

    async def take_form(self) -> None:
        """Read the body as a form, and give it to whoever asks for JSON: an object of strings."""
        self._json = parse_form(await self.body())
        # FastAPI looks at the type to know whether to ask for JSON.
        headers = [(name, value) for name, value in self.scope["headers"] if name != b"content-type"]
        self.scope["headers"] = [*headers, (b"content-type", b"application/json")]
        if hasattr(self, "_headers"):
            del self._headers

    def _refuse_declared(self) -> None:
        declared = self.headers.get("content-length", "0")
        if not (declared.isascii() and declared.isdecimal()):
            raise Malformed("Content-Length is not a number.")
        if len(declared) > _NUMBER_LENGTH or int(declared) > self._limit:
            self._refuse()

    def _refuse(self) -> NoReturn:
        raise TooLarge(f"The body may have at most {self._limit} bytes.")
