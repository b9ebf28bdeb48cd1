"""What can go wrong with requests that are sent again."""

from __future__ import annotations

from denizen.core.errors import Conflict, Invalid


class IdempotencyKeyInvalid(Invalid):
    """The Idempotency-Key is not 1 to 255 printable characters of ASCII, or was sent twice."""

    code = "idempotency_key_invalid"
    title = "Idempotency-Key not valid"


class IdempotencyKeyReused(Invalid):
    """The Idempotency-Key was sent before, with another body."""

    code = "idempotency_key_reused"
    title = "Idempotency-Key used for something else"


class IdempotencyKeyInFlight(Conflict):
    """A request with this Idempotency-Key is being worked on."""

    code = "idempotency_key_in_flight"
    title = "Request in flight"
