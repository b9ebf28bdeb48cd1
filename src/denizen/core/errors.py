"""What can go wrong, said once for every face that has to say it.

Rooms raise subclasses of these kinds; the faces (HTTP problem documents, exit codes, later SCIM and OAuth)
translate the *kind*. That is why no status number stands here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong with one input field. `message` never repeats what was sent."""

    field: str
    code: str
    message: str


class DenizenError(Exception):
    """Base of everything Denizen raises on purpose.

    Args:
        detail: one sentence for the person who reads it, without secrets and without the input.
        field: the input field that is to blame, where there is one.
        errors: every field at fault, for validation errors.
        retry_after: whole seconds after which trying again makes sense.
        private: the sentence for the operator instead, for logs and the command line: it may name files. It is what
            `str()` gives.

    Attributes:
        user_id: whom it is about, where that is known and whoever asks must not be told: for the audit.
        request_id: of the request to another server that was refused with it, for that server's logs.
        from_elsewhere: another server said it, to this process and not to whoever asks this process.
    """

    code: ClassVar[str] = "error"
    title: ClassVar[str] = "Error"

    def __init__(
        self,
        detail: str,
        *,
        field: str | None = None,
        errors: Sequence[FieldError] = (),
        retry_after: int | None = None,
        private: str | None = None,
    ) -> None:
        super().__init__(private or detail)
        self.detail = detail
        self.field = field
        self.errors = tuple(errors)
        self.retry_after = retry_after
        self.user_id: UUID | None = None
        self.request_id: str | None = None
        self.from_elsewhere = False


class Invalid(DenizenError):
    """The request cannot be understood or breaks a rule that its sender could have known."""

    code = "invalid"
    title = "Invalid request"


class TooLarge(Invalid):
    """The request body is larger than `DENIZEN_MAX_BODY_SIZE`."""

    code = "body_too_large"
    title = "Body too large"


class Malformed(Invalid):
    """The body is not the UTF-8 JSON it should be, so that no field of it could be looked at."""

    code = "malformed_body"
    title = "Malformed body"


class UnsupportedMedia(Invalid):
    """The body is of a kind that this address does not take: JSON in UTF-8, uncompressed, is what it takes."""

    code = "unsupported_media_type"
    title = "Unsupported media type"


class UnknownParameter(Invalid):
    """A query parameter that is not known here. Left alone, a misspelt filter would give everyone."""

    code = "unknown_parameter"
    title = "Unknown query parameter"


class RepeatedParameter(Invalid):
    """A query parameter that has one value was given more than once."""

    code = "repeated_parameter"
    title = "Repeated query parameter"


class Unauthorized(DenizenError):
    """Nobody recognised the caller."""

    code = "unauthorized"
    title = "Not authenticated"


class Forbidden(DenizenError):
    """The caller is known and lacks the right."""

    code = "forbidden"
    title = "Not allowed"


class NotFound(DenizenError):
    """There is no such thing, or none that this caller may know of."""

    code = "not_found"
    title = "Not found"


class Conflict(DenizenError):
    """It clashes with what is stored."""

    code = "conflict"
    title = "Conflict"


class Stale(Conflict):
    """The thing has changed since the caller read it (`If-Match` does not hold)."""

    code = "stale"
    title = "Changed meanwhile"


@dataclass(frozen=True, slots=True)
class Quota:
    """A limit on how often, as clients are told of it.

    Attributes:
        name: of the limit, lower-case ASCII: `guesses`.
        most: how many.
        per: in so many seconds.
    """

    name: str
    most: int
    per: int


class TooMany(DenizenError):
    """A limit on how often is used up; `retry_after` says for how long.

    Args:
        detail: as of `DenizenError`.
        retry_after: whole seconds, at least 1.
        quota: the limit, where clients are to know it.
    """

    code = "too_many_requests"
    title = "Too many requests"

    def __init__(self, detail: str, *, retry_after: int | None = None, quota: Quota | None = None) -> None:
        super().__init__(detail, retry_after=retry_after)
        self.quota = quota


class Unavailable(DenizenError):
    """Something this needs is away, frozen, busy or shutting down; trying again later may do."""

    code = "unavailable"
    title = "Temporarily unavailable"


class StorageFull(Unavailable):
    """The disk under the database has no room left; reads go on."""

    code = "storage_full"
    title = "Storage full"
