"""Cursors: where a list goes on, opaque and signed.

A cursor names the last row of a page by its sort values and id, and the list it belongs to (order and filters). It is
signed, so that nobody can make one, read other rows by editing one, or use one with another list and take what comes
for an answer.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any, Final
from urllib.parse import urlencode

from denizen.core.errors import Invalid

SIGNATURE_BYTES = 16
_OF_ONE_PAGE: Final = frozenset({"cursor", "skip", "count"})
"""Query parameters that the next page is not asked for with."""

NEXT_PAGE: Final[dict[str, dict[str, Any]]] = {
    "Link": {"schema": {"type": "string"}, "description": '`<...>; rel="next"`, while there is more.'},
    "X-Next-Cursor": {"schema": {"type": "string"}, "description": "The `cursor` of the next page."},
}
"""What OpenAPI says of `next_page`."""


class CursorInvalid(Invalid):
    """The cursor was not made here, or is of another list."""

    code = "cursor_invalid"
    title = "Cursor not valid"


class CursorSigner:
    """Makes and reads cursors.

    Args:
        secret: gives `DENIZEN_SECRET_KEY`, from which the signing key is derived for this one purpose. Asked at the
            first use, since on SQLite the secret is made beside a database that may not be there yet.
    """

    def __init__(self, secret: Callable[[], bytes]) -> None:
        self._secret = secret

    @cached_property
    def _key(self) -> bytes:
        return hmac.digest(self._secret(), b"denizen cursor 1", "sha256")

    def check(self) -> None:
        """Get the secret now, so that a bad one is told at the start and not by the first list."""
        self._sign(b"")

    def _sign(self, payload: bytes) -> bytes:
        return hmac.digest(self._key, payload, "sha256")[:SIGNATURE_BYTES]

    def make(self, listing: str, values: Sequence[Any]) -> str:
        """Give the cursor of the place behind a row.

        Args:
            listing: names the list: its order and filters, in one canonical text.
            values: of the row, in JSON's types.
        """
        payload = json.dumps([fingerprint(listing), *values], separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(self._sign(payload) + payload).rstrip(b"=").decode()

    def read(self, listing: str, cursor: str) -> list[Any]:
        """Give the values that `make` was given.

        Raises:
            CursorInvalid: altered, made under another secret, or of another list.
        """
        try:
            raw = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        except (ValueError, binascii.Error):
            raise CursorInvalid(
                "This is no cursor. Use the one of the last answer, as it stands.", field="cursor"
            ) from None
        signature, payload = raw[:SIGNATURE_BYTES], raw[SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, self._sign(payload)):
            raise CursorInvalid("This is no cursor. Use the one of the last answer, as it stands.", field="cursor")
        made_for: str
        values: list[Any]
        made_for, *values = json.loads(payload)
        if made_for != fingerprint(listing):
            raise CursorInvalid("This cursor belongs to a list with another order or other filters.", field="cursor")
        return values


def fingerprint(listing: str) -> str:
    """Shorten the canonical text of a list to 16 characters."""
    return hashlib.sha256(listing.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def next_page(address: str, asked: Iterable[tuple[str, str]], cursor: str | None) -> dict[str, str]:
    """Give the headers that lead on to the next page; none at the end of the list.

    Args:
        address: of the list, on the configured base: the `Host` of a request is not to be believed.
        asked: the query parameters that this page was asked for with.
        cursor: where the list goes on; `None` at its end.

    Source: RFC 8288, relation type `next`.
    """
    if cursor is None:
        return {}
    kept = [(name, value) for name, value in asked if name not in _OF_ONE_PAGE]
    link = f'<{address}?{urlencode([*kept, ("cursor", cursor)])}>; rel="next"'
    return {"X-Next-Cursor": cursor, "Link": link}
